/** Which threshold to set: what each one lets through and whom it keeps waiting, as the cells of a table. */
import { percent, percentDigits } from './plots/chart.js';
import type { CorpusResults, LiveRow, ReportedEstimate } from './results.js';

/** The threshold that the service has unless it is told another. */
export const DEFAULT_THRESHOLD = 0.82;

export interface ThresholdTable {
  readonly header: readonly string[];
  /** Laxest threshold first; as many cells as the header has. */
  readonly rows: readonly (readonly string[])[];
}

type PlayedCalls = CorpusResults['live'][number];

/**
 * The played calls that say most about thresholds: judged by a calibration of other people where there is one, because the
 * shipped one may have been fitted on these. Undefined when no calls were played.
 */
export function judgedCalls({ live }: CorpusResults): PlayedCalls | undefined {
  return live.find(({ calibration }) => calibration === 'cross-validated') ?? live[0];
}

/** What thresholds do to these calls, in words and numbers for people. */
export function thresholdTable(judged: PlayedCalls): ThresholdTable {
  const [first, ...later] = judged.rows[0]?.acceptedAfter.map(({ seconds }) => `${seconds} s`) ?? [];
  return {
    header: [
      'threshold',
      'false matches claimed',
      'observed per impostor attempt',
      'per owner: mean, 9 in 10 at most',
      'owners matched at all',
      ...(first === undefined
        ? []
        : [`owners accepted after ${first} of speech`, ...later.map((time) => `after ${time}`)]),
      'in the end',
      'the same, every owner counting once',
    ],
    rows: [...judged.rows].sort((a, b) => a.threshold - b.threshold).map(cellsOf),
  };
}

/** The table as GitHub renders it, with a line end after every row and nothing around it. */
export function thresholdMarkdown({ header, rows }: ThresholdTable): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`;
  const marked = rows.map(([threshold = '', ...cells]) => [markDefault(threshold), ...cells]);
  return [line(header), `|${'---|'.repeat(header.length)}\n`, ...marked.map(line)].join('');
}

/** False matches per owner as a cell: how many there are on average, and for all but the unluckiest tenth. */
export function perOwnerCell({ mean, ninthTenth }: LiveRow['perOwner']): string {
  return `${percent(mean)}, ${percent(ninthTenth)}`;
}

function cellsOf(row: LiveRow): string[] {
  return [
    String(row.threshold),
    `1 in ${Math.round(1 / row.claimed).toLocaleString('en')}`,
    withInterval(row.observed),
    perOwnerCell(row.perOwner),
    percent(row.perOwner.matched),
    ...row.acceptedAfter.map(({ share }) => withInterval(share)),
    withInterval(row.ownersAccepted),
    row.eachOwnerAccepted ? withInterval(row.eachOwnerAccepted) : '-',
  ];
}

function markDefault(threshold: string): string {
  return Number(threshold) === DEFAULT_THRESHOLD ? `**${threshold}** (default)` : threshold;
}

function withInterval({ value, low, high }: ReportedEstimate): string {
  return low === null || high === null
    ? percent(value)
    : `${percent(value)} (${percentDigits(low)} to ${percentDigits(high)})`;
}
