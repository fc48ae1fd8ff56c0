/** What a question about a call may end by instead of its answer: its time, its asker, or the call's move elsewhere. */
import { VoiceAuthError } from '../errors.js';
import type { TimerWheel } from '../timing/timer-wheel.js';

/** Limits of one question. */
export interface QuestionLimits {
  /** As `performance.now()` counts: what is known then is the answer. */
  readonly deadlineMs: number;
  /** Nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** What the last look may take after the deadline before the answer is an error. */
export const LAST_LOOK_MS = 1_000;

/** How long from now until the answer is an error, in whole milliseconds. */
export function untilOverdueMs({ deadlineMs }: QuestionLimits): number {
  return Math.max(0, Math.ceil(deadlineMs - performance.now() + LAST_LOOK_MS));
}

/** The call is another process's now, which answers the questions about it. */
export class CallMoved extends Error {
  constructor() {
    super('another process has the call');
    this.name = 'CallMoved';
  }
}

/** What a look comes to. Throws `Timeout` when that takes until well after the deadline, and `CallMoved` once `moved` fired. */
export async function inTime<T>(
  look: Promise<T>,
  limits: QuestionLimits,
  { timers, moved }: { readonly timers: TimerWheel; readonly moved: AbortSignal },
): Promise<T> {
  let late: () => void = () => undefined;
  const tooLate = new Promise<never>((_, reject) => {
    late = () => reject(new VoiceAuthError('Timeout', 'The verification took too long'));
  });
  const timer = timers.schedule(untilOverdueMs(limits), late);
  try {
    return await Promise.race([look, tooLate]);
  } catch (error) {
    if (moved.aborted) throw new CallMoved();
    throw error;
  } finally {
    timers.cancel(timer);
  }
}
