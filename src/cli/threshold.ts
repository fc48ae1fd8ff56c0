/** `voice-auth threshold`: which threshold stands for a false-match rate, and the other way round. */
import { type Command, InvalidArgumentError } from 'commander';
import { fmrFromScore, scoreFromFmr } from '../domain/scoring/calibration.js';
import { CommandError } from './command-error.js';
import { printResult, table } from './output.js';

interface ThresholdOptions {
  readonly fmr?: number;
  readonly score?: number;
  readonly json?: boolean;
}

/** Rates that people ask for. */
const RATES = [0.1, 0.01, 0.001, 0.0001] as const;
/** What VOICE_THRESHOLD takes. */
const LOWEST = 0.3;
const HIGHEST = 0.9999;

export function registerThreshold(program: Command): void {
  program
    .command('threshold')
    .description('what to set as VOICE_THRESHOLD for a false-match rate: fmr = (1 - score)^3, for every model')
    .option('--fmr <rate>', 'share of other speakers that may be accepted, e.g. 1e-3', rate)
    .option('--score <threshold>', 'the other way round: what a threshold claims', rate)
    .option('--json', 'print one line of JSON')
    .addHelpText(
      'after',
      '\nHow many owners a threshold accepts depends on model and phones: measure it with voice-auth eval.',
    )
    .action((options: ThresholdOptions) => {
      if (options.fmr !== undefined && options.score !== undefined) throw new CommandError('Give --fmr or --score');
      const asked = options.score === undefined ? options.fmr : fmrFromScore(options.score);
      const rows = (asked === undefined ? RATES : [asked]).map((fmr) => ({ fmr, threshold: thresholdOf(fmr) }));
      const lines = rows.map(({ fmr, threshold }) => [String(threshold), oneIn(fmr)]);
      const text = table(['VOICE_THRESHOLD', 'another speaker is accepted'], lines);
      printResult(options.json === true, asked === undefined ? { thresholds: rows } : rows[0]!, text);
    });
}

/** Rounded up, so that no more is claimed than was asked for. */
function thresholdOf(fmr: number): number {
  const threshold = Math.ceil(scoreFromFmr(fmr) * 10_000 - 1e-9) / 10_000;
  if (threshold >= LOWEST && threshold <= HIGHEST) return threshold;
  throw new CommandError(`A threshold of ${threshold} is not between ${LOWEST} and ${HIGHEST}`);
}

function oneIn(fmr: number): string {
  return `1 time in ${Math.round(1 / fmr).toLocaleString('en')}`;
}

function rate(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError('It must lie between 0 and 1.');
  return value;
}
