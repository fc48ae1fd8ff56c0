/** What verbs that work on labelled speech for minutes have in common. */
import { InvalidArgumentError } from 'commander';
import { CommandError } from './command-error.js';

/** Recordings made for evaluation may be longer than those a server takes. */
export const MAX_RECORDING_MS = 3_600_000;

/** Runs `work` with a signal that Ctrl-C and SIGTERM abort with `message`. */
export async function stoppable<T>(message: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const onSignal = () => stop.abort(new CommandError(message));
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  try {
    return await work(stop.signal);
  } finally {
    process.removeListener('SIGINT', onSignal);
    process.removeListener('SIGTERM', onSignal);
  }
}

/** For options: a whole number above 0. Throws `InvalidArgumentError`. */
export function count(text: string): number {
  return wholeNumberAbove(0, text);
}

/** For options: a number of resamples, of which two are the least that make an interval. Throws `InvalidArgumentError`. */
export function resampleCount(text: string): number {
  return wholeNumberAbove(1, text);
}

function wholeNumberAbove(bound: number, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > bound) return value;
  throw new InvalidArgumentError(`A whole number above ${bound} is needed.`);
}

/** A share as people read it: `0.58 %`. */
export function percent(share: number): string {
  const value = 100 * share;
  return `${value >= 10 ? value.toFixed(1) : Number(value.toPrecision(2))} %`;
}
