/** The plots of a report, each one SVG string. */
import type { ConditionResults, CorpusResults, SystemResults } from '../results.js';
import { SYSTEM_TITLES } from '../results.js';
import { type Axis, COLOURS, drawChart, linearAxis, number, percent, polyline } from './chart.js';
import { probit } from './probit.js';

const DET_TICKS = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8];
const DET_RANGE = { from: 0.0005, to: 0.9 };

/** DET curves of one condition, one per system, with a ring where both errors are equal. */
export function detPlot(id: string, condition: ConditionResults): string {
  const { systems } = condition;
  const axis = (label: string): Axis => ({
    label,
    ticks: DET_TICKS.map((at) => ({ at, label: percent(at) })),
    place: (value) => probitPlace(value),
  });
  const description = systems.map(
    ({ system, measures }) => `${SYSTEM_TITLES[system]}: equal error rate ${percent(measures.eer!.value)}`,
  );
  return drawChart(
    {
      id,
      title: conditionTitle(condition),
      description: `False non-matches against false matches as the threshold moves. ${description.join('; ')}.`,
      x: axis('strangers matched (FMR)'),
      y: axis('owners missed (FNMR)'),
      legend: systems.map(({ system }, index) => ({ label: SYSTEM_TITLES[system], colour: COLOURS[index]! })),
      height: 430,
    },
    (frame) =>
      polyline(
        [
          [frame.x(DET_RANGE.from), frame.y(DET_RANGE.from)],
          [frame.x(DET_RANGE.to), frame.y(DET_RANGE.to)],
        ],
        { colour: 'currentColor', width: 1, dash: '2 4', opacity: 0.5 },
      ) +
      systems
        .map(({ det, measures }, index) => {
          const colour = COLOURS[index]!;
          // Beyond the frame there is nothing to see, and the frame would press it flat against its edge.
          const inside = det.filter(
            ([fmr, fnmr]) => fmr >= DET_RANGE.from && fnmr >= DET_RANGE.from && fmr <= DET_RANGE.to,
          );
          const eer = measures.eer!.value;
          return (
            polyline(
              inside.map(([fmr, fnmr]) => [frame.x(fmr), frame.y(fnmr)]),
              { colour },
            ) +
            `<circle cx="${number(frame.x(eer))}" cy="${number(frame.y(eer))}" r="4.5" fill="none" stroke="${colour}" stroke-width="2"/>`
          );
        })
        .join(''),
  );
}

/** How the scores of owners and of strangers are spread. */
export function histogramPlot(id: string, title: string, { system, histogram }: SystemResults): string {
  const { from, to, targets, nontargets } = histogram;
  const most = Math.max(...targets, ...nontargets);
  const top = Math.ceil(most * 50) / 50;
  return drawChart(
    {
      id,
      title,
      description: `Shares of trials by score, owners and strangers apart. The more the two overlap, the more errors any threshold makes.`,
      x: linearAxis(SCORE_LABELS[system], { from, to, steps: 6 }, (value) => String(Math.round(value * 100) / 100)),
      y: linearAxis('share of trials', { from: 0, to: top, steps: 4 }, percent),
      legend: [
        { label: 'strangers (nontarget)', colour: COLOURS[1] },
        { label: 'owners (target)', colour: COLOURS[0] },
      ],
      height: 430,
    },
    (frame) => {
      const area = (shares: readonly number[], colour: string) => {
        const width = (to - from) / shares.length;
        const points = shares.flatMap((share, bin): [number, number][] => [
          [frame.x(from + bin * width), frame.y(share)],
          [frame.x(from + (bin + 1) * width), frame.y(share)],
        ]);
        const outline = [[frame.x(from), frame.y(0)], ...points, [frame.x(to), frame.y(0)]];
        const path = outline.map(([x, y]) => `${number(x!)},${number(y!)}`).join(' ');
        return `<polygon points="${path}" fill="${colour}" fill-opacity="0.35" stroke="${colour}" stroke-width="1.5"/>`;
      };
      return area(nontargets, COLOURS[1]) + area(targets, COLOURS[0]);
    },
  );
}

const CLAIM_RANGE = { from: 0.0003, to: 1 };

/** Observed against claimed false match rates on logarithmic axes; on the diagonal the claim is kept exactly. */
export function claimPlot(id: string, title: string, series: readonly ClaimSeries[]): string {
  const ticks = [0.001, 0.01, 0.1, 1].map((at) => ({ at, label: percent(at) }));
  const place = (value: number) =>
    Math.log(Math.max(value, CLAIM_RANGE.from) / CLAIM_RANGE.from) / Math.log(CLAIM_RANGE.to / CLAIM_RANGE.from);
  return drawChart(
    {
      id,
      title,
      description: series
        .map(({ label, points }) => {
          const said = points.map(
            ({ claimed, observed }) => `${percent(claimed)} claimed, ${percent(observed.value)} observed`,
          );
          return `${label}: ${said.join('; ')}.`;
        })
        .join(' '),
      x: { label: 'claimed FMR', ticks, place },
      y: { label: 'observed FMR, 95 % interval', ticks, place },
      legend: series.map(({ label }, index) => ({ label, colour: COLOURS[index]! })),
      height: 430,
    },
    (frame) => {
      const { from, to } = CLAIM_RANGE;
      const diagonal = [
        [frame.x(from), frame.y(from)],
        [frame.x(to), frame.y(to)],
      ] as const;
      const above =
        `<polygon points="${diagonal.map(([x, y]) => `${number(x)},${number(y)}`).join(' ')} ${frame.left},${frame.top}" fill="${COLOURS[1]}" fill-opacity="0.07"/>` +
        `<text x="${frame.left + 10}" y="${frame.top + 20}" opacity="0.7">more false matches than claimed</text>` +
        `<text x="${frame.right - 10}" y="${frame.bottom - 12}" text-anchor="end" opacity="0.7">claim kept</text>`;
      const data = series.map(({ points }, index) => {
        const colour = COLOURS[index]!;
        // Side by side, so that intervals of two series at the same claim do not hide one another.
        const shift = (index - (series.length - 1) / 2) * 8;
        return points
          .map(({ claimed, observed }) => {
            const x = number(frame.x(claimed) + shift);
            const [low, high] = [observed.low ?? observed.value, observed.high ?? observed.value];
            return (
              `<line x1="${x}" x2="${x}" y1="${number(frame.y(low))}" y2="${number(frame.y(high))}" stroke="${colour}" stroke-width="2"/>` +
              `<circle cx="${x}" cy="${number(frame.y(observed.value))}" r="4" fill="${colour}"/>`
            );
          })
          .join('');
      });
      return (
        above + polyline(diagonal, { colour: 'currentColor', width: 1, dash: '2 4', opacity: 0.6 }) + data.join('')
      );
    },
  );
}

export interface ClaimSeries {
  readonly label: string;
  readonly points: CorpusResults['claims'][number]['points'];
}

/** Share of owners accepted by so many seconds of their speech, one line per threshold. */
export function speechPlot(id: string, title: string, live: CorpusResults['live'][number]): string {
  const rows = [...live.rows].sort((a, b) => a.threshold - b.threshold);
  const label = (row: (typeof rows)[number]) => `${row.threshold} (claims 1 in ${Math.round(1 / row.claimed)})`;
  return drawChart(
    {
      id,
      title,
      description: rows
        .map((row) => `Threshold ${label(row)}: ${percent(row.ownersAccepted.value)} of owners accepted in the end.`)
        .join(' '),
      x: linearAxis('seconds of net speech', { from: 0, to: 30, steps: 6 }, (value) => `${value} s`),
      y: linearAxis('owners accepted by then', { from: 0, to: 1, steps: 5 }, percent),
      legend: rows.map((row, index) => ({ label: label(row), colour: COLOURS[index % COLOURS.length]! })),
      height: 430,
    },
    (frame) =>
      rows
        .map(({ curve }, index) => {
          const points: [number, number][] = [[frame.x(0), frame.y(0)]];
          for (const [seconds, share] of curve) {
            points.push([frame.x(seconds), points.at(-1)![1]], [frame.x(seconds), frame.y(share)]);
          }
          points.push([frame.right, points.at(-1)![1]]);
          return polyline(points, { colour: COLOURS[index % COLOURS.length]! });
        })
        .join(''),
  );
}

/** Equal error rates of all conditions and systems with their intervals, one row per condition. */
export function errorRatePlot(id: string, title: string, conditions: readonly ConditionResults[]): string {
  const highest = Math.max(
    ...conditions.flatMap(({ systems }) => systems.map(({ measures }) => measures.eer!.high ?? measures.eer!.value)),
  );
  const to = Math.max(0.05, Math.ceil(highest * 20) / 20);
  const longest = Math.max(...conditions.map((condition) => conditionTitle(condition).length));
  const shown = conditions[0]!.systems;
  const y: Axis = {
    label: '',
    ticks: conditions.map((condition, index) => ({ at: index, label: conditionTitle(condition) })),
    place: (value) => 1 - (value + 0.5) / conditions.length,
  };
  return drawChart(
    {
      id,
      title,
      description: conditions
        .map(
          (condition) =>
            `${conditionTitle(condition)}: ${condition.systems.map(({ system, measures }) => `${SYSTEM_TITLES[system]} ${percent(measures.eer!.value)}`).join(', ')}.`,
        )
        .join(' '),
      x: linearAxis(
        'equal error rate, 95 % interval (smaller is better)',
        { from: 0, to, steps: to <= 0.5 ? Math.round(to * 20) : 5 },
        percent,
      ),
      y,
      legend: shown.map(({ system }, index) => ({ label: SYSTEM_TITLES[system], colour: COLOURS[index]! })),
      width: 940,
      height: 100 + 54 * conditions.length,
      left: 24 + Math.round(longest * 6.8),
    },
    (frame) =>
      conditions
        .flatMap(({ systems }, row) =>
          systems.map(({ measures }, index) => {
            const { value, low, high } = measures.eer!;
            const at = number(frame.y(row) + (index - (systems.length - 1) / 2) * 13);
            return (
              `<line x1="${number(frame.x(low ?? value))}" x2="${number(frame.x(high ?? value))}" y1="${at}" y2="${at}" stroke="${COLOURS[index]}" stroke-width="2.5" stroke-opacity="0.6"/>` +
              `<circle cx="${number(frame.x(value))}" cy="${at}" r="4.5" fill="${COLOURS[index]}"/>`
            );
          }),
        )
        .join(''),
  );
}

/** A condition in words: `first 15 s against last 3 s`, with the degradation before it when there is one. */
export function conditionTitle({
  degradation,
  enroll,
  test,
}: Pick<ConditionResults, 'degradation' | 'enroll' | 'test'>): string {
  const pair = `${segmentTitle(enroll)} against ${segmentTitle(test)}`;
  return degradation === 'as-is' ? pair : `${degradation}: ${pair}`;
}

/** How calls were played, in words: `gsm, enrolled with first 15 s`; undefined in results that do not say. */
export function playedTitle({
  degradation,
  enroll,
}: Pick<CorpusResults['live'][number], 'degradation' | 'enroll'>): string | undefined {
  if (degradation === undefined || enroll === undefined) return undefined;
  return `${degradation}, enrolled with ${segmentTitle(enroll)}`;
}

function segmentTitle(segment: string): string {
  const [from, seconds] = segment.split('-');
  return seconds === undefined ? 'all speech' : `${from} ${seconds} s`;
}

const SCORE_LABELS: Readonly<Record<SystemResults['system'], string>> = {
  cosine: 'cosine',
  'as-norm': 'normScore',
  calibrated: 'log-likelihood ratio',
};

function probitPlace(value: number): number {
  const [low, high] = [probit(DET_RANGE.from), probit(DET_RANGE.to)];
  return (Math.max(low, Math.min(high, probit(value))) - low) / (high - low);
}
