import { describe, expect, it } from 'vitest';
import {
  claimPlot,
  conditionTitle,
  detPlot,
  errorRatePlot,
  histogramPlot,
  speechPlot,
} from '../../../src/evaluation/plots/plots.js';
import { probit } from '../../../src/evaluation/plots/probit.js';
import { renderReport } from '../../../src/evaluation/report.js';
import { type ReportedEstimate, resultsSchema } from '../../../src/evaluation/results.js';
import { summarise } from '../../../src/evaluation/summary.js';
import { toyResults } from '../../support/toy-evaluation.js';

const results = toyResults();
const corpus = results.corpora[0]!;
const condition = corpus.conditions[0]!;

/** Tags opened and closed in order: enough to see text that was not escaped and brackets that were forgotten. */
function openTags(markup: string): string[] {
  const open: string[] = [];
  for (const [, close, name, self] of markup.matchAll(/<(\/?)([a-z0-9]+)(?:\s[^<>]*?)?(\/?)>/gi)) {
    if (self || ['meta', 'br'].includes(name!)) continue;
    if (!close) open.push(name!);
    else if (open.pop() !== name) return [`</${name}>`];
  }
  return open;
}

describe('probit', () => {
  it.each([
    [0.5, 0],
    [0.975, 1.959963985],
    [0.025, -1.959963985],
    [0.001, -3.090232306],
    [0.9999, 3.719016485],
    [1e-9, -5.997807015],
  ])('of %d is %d', (p, expected) => expect(probit(p)).toBeCloseTo(expected, 7));

  it('is infinite at the ends and no number beyond', () => {
    expect([probit(0), probit(1)]).toEqual([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]);
    expect([probit(-0.1), probit(1.1), probit(Number.NaN)]).toEqual([Number.NaN, Number.NaN, Number.NaN]);
  });
});

describe('plots', () => {
  const plots = {
    det: detPlot('a', condition),
    histogram: histogramPlot('b', 'Scores', condition.systems[0]!),
    claims: claimPlot('c', 'Claims', [{ label: 'shipped', points: corpus.claims[0]!.points }]),
    speech: speechPlot('d', 'Speech', corpus.live[0]!),
    rates: errorRatePlot('e', 'Rates', corpus.conditions),
  };

  it.each(Object.entries(plots))(
    '%s is well-formed, has words for those who cannot see it, and loads nothing',
    (_, svg) => {
      expect(openTags(svg)).toEqual([]);
      const labels = /aria-labelledby="(\S+) (\S+)"/.exec(svg)!;
      expect(svg).toContain(`<title id="${labels[1]}">`);
      expect(/<desc id="[^"]+">([^<]{20,})</.exec(svg)?.[0]).toContain(labels[2]);
      expect(svg).not.toMatch(/NaN|undefined|Infinity|href|<image|<script/);
    },
  );

  it('stay inside their frames whatever the numbers are', () => {
    for (const svg of Object.values(plots)) {
      const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg)!;
      for (const [, points] of svg.matchAll(/points="([^"]+)"/g)) {
        for (const point of points!.split(' ')) {
          const [x, y] = point.split(',').map(Number);
          expect(x).toBeGreaterThanOrEqual(0);
          expect(x).toBeLessThanOrEqual(Number(width));
          expect(y).toBeGreaterThanOrEqual(0);
          expect(y).toBeLessThanOrEqual(Number(height));
        }
      }
    }
  });

  it('put the ring of the DET curve on the diagonal', () => {
    const diagonal = /<polyline points="([\d.]+),([\d.]+) ([\d.]+),([\d.]+)"/.exec(plots.det)!.slice(1).map(Number);
    const [x0, y0, x1, y1] = diagonal as [number, number, number, number];
    const [, cx, cy] = /<circle cx="([\d.]+)" cy="([\d.]+)"/.exec(plots.det)!.map(Number);
    expect((cx! - x0) / (x1 - x0)).toBeCloseTo((cy! - y0) / (y1 - y0), 2);
  });

  it('put an observed rate that equals its claim on the diagonal', () => {
    const svg = claimPlot('x', 'Claims', [
      { label: 'one', points: [{ claimed: 0.01, observed: { value: 0.01, low: 0.005, high: 0.02 } }] },
    ]);
    const [x0, y0, x1, y1] = /<polyline points="([\d.]+),([\d.]+) ([\d.]+),([\d.]+)"/.exec(svg)!.slice(1).map(Number);
    const [, cx, cy] = /<circle cx="([\d.]+)" cy="([\d.]+)"/.exec(svg)!.map(Number);
    expect((cx! - x0!) / (x1! - x0!)).toBeCloseTo((cy! - y0!) / (y1! - y0!), 2);
  });

  it('say conditions in words', () => {
    expect(conditionTitle({ degradation: 'as-is', enroll: 'first-15', test: 'all' })).toBe(
      'first 15 s against all speech',
    );
    expect(conditionTitle({ degradation: 'gsm', enroll: 'all', test: 'last-3' })).toBe(
      'gsm: all speech against last 3 s',
    );
  });
});

describe('the report', () => {
  const html = renderReport(results);

  it('is one page without scripts and without anything to load', () => {
    expect(openTags(html.replace(/<!doctype html>|<style>[\s\S]*?<\/style>/g, ''))).toEqual([]);
    expect(html).not.toMatch(/<script|<link|<img|url\(|@import|NaN|undefined/);
    expect([...html.matchAll(/https?:\/\/[^"\s<]+/g)].map(([url]) => url)).toEqual(
      [...html.matchAll(/xmlns="([^"]+)"/g)].map(([, url]) => url),
    );
    const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('shows figures with their intervals', () => {
    expect(html).toContain('<td>20 %<br><small>15 to 25</small></td>');
    expect(html).toContain('984 / 20186 trials');
  });

  it('escapes what comes from file names', () => {
    const hostile = { ...results, corpora: [{ ...corpus, name: '<script>alert("x")</script>' }] };
    expect(renderReport(hostile)).not.toContain('<script>');
    expect(renderReport(hostile)).toContain('&#60;script&#62;');
  });

  it('is the same again after the results went through a file', () => {
    expect(renderReport(resultsSchema.parse(JSON.parse(JSON.stringify(results))))).toBe(html);
  });

  it('does without intervals, calibration and played calls', () => {
    const bare = {
      ...results,
      corpora: [
        {
          ...corpus,
          decisions: [],
          claims: [],
          live: [],
          conditions: [
            {
              ...condition,
              systems: [
                {
                  ...condition.systems[0]!,
                  measures: { ...condition.systems[0]!.measures, eer: { value: 0.2, low: null, high: null } },
                },
              ],
            },
          ],
        },
      ],
    };
    const page = renderReport(bare);
    expect(page).toContain('<td>20 %</td>');
    expect(page).not.toMatch(/NaN|undefined|What decisions cost/);
  });
});

describe('every owner counting once', () => {
  const withRate = (eerEachOwner: ReportedEstimate | undefined) => ({
    ...corpus,
    conditions: [
      {
        ...condition,
        systems: condition.systems.map(({ measures: { eerEachOwner: _, ...measures }, ...system }) => ({
          ...system,
          measures: eerEachOwner ? { ...measures, eerEachOwner } : measures,
        })),
      },
    ],
  });

  it('is in the table and in the summary', () => {
    const counted = withRate({ value: 0.123, low: 0.08, high: 0.17 });
    expect(renderReport({ ...results, corpora: [counted] })).toContain('<td>12.3 %<br><small>8 to 17</small></td>');
    expect(summarise(counted).join('\n')).toContain('12.3 % [8 to 17] when every owner counts once');
  });

  it('is left out of results from before it was counted', () => {
    const older = withRate(undefined);
    expect(renderReport({ ...results, corpora: [older] })).not.toContain('undefined');
    expect(summarise(older)[1]).not.toContain('every owner');
  });
});

describe('the summary', () => {
  const textWith = (change: Partial<(typeof corpus.live)[number]['rows'][number]>) =>
    summarise({
      ...corpus,
      live: corpus.live.map((live) => ({ ...live, rows: live.rows.map((row) => ({ ...row, ...change })) })),
    }).join('\n');

  it('says whether the claim is kept', () => {
    expect(textWith({ observed: { value: 0.006, low: 0.002, high: 0.01 } })).toContain(
      'the interval includes the claim',
    );
    expect(textWith({ observed: { value: 0.03, low: 0.02, high: 0.04 } })).toContain('the claim is not kept');
    expect(textWith({ observed: { value: 0.001, low: 0, high: 0.002 } })).toContain('fewer than claimed');
  });

  it('and the table say what the calls were played under, where the results do', () => {
    const live = corpus.live.map((played) => ({ ...played, degradation: 'gsm', enroll: 'first-15' }));
    const named = { ...corpus, live };
    expect(summarise(named).join('\n')).toContain('Whole calls (gsm, enrolled with first 15 s) at the default');
    expect(renderReport({ ...results, corpora: [named] })).toContain(
      '<caption>Calls: gsm, enrolled with first 15 s. Fig',
    );
    expect(summarise(corpus).join('\n')).toContain('Whole calls at the default');
    expect(renderReport(results)).not.toContain('Calls: ');
  });

  it('does not judge a claim by fewer attempts than would show it', () => {
    const few = (nontargets: number, observed: ReportedEstimate) =>
      summarise({
        ...corpus,
        live: corpus.live.map((live) => ({
          ...live,
          nontargets,
          rows: live.rows.map((row) => ({ ...row, observed })),
        })),
      }).join('\n');
    // 1 in 171 claimed: 2.9 and 3.2 false matches expected.
    expect(few(500, { value: 0, low: 0, high: 0.004 })).toContain('observed; too few attempts to tell');
    expect(few(550, { value: 0, low: 0, high: 0.004 })).toContain('observed; fewer than claimed');
    expect(few(500, { value: 0.1, low: 0.05, high: 0.2 })).toContain('the claim is not kept');
  });

  it('and the table leave out owners missed where no stranger would be matched', () => {
    const with99 = {
      ...corpus,
      conditions: [{ ...condition, systems: condition.systems.map((system) => ({ ...system, nontargets: 99 })) }],
    };
    expect(summarise(with99).join('\n')).not.toContain('1 stranger in 100');
    const html = renderReport({ ...results, corpora: [with99] });
    expect(html).toContain('<td>40 %<br><small>30 to 50</small></td><td><span class="none">-</span></td>');
    expect(summarise(corpus).join('\n')).toContain('1 stranger in 100');
  });

  it('does not praise a saving that is too small, or a system that is no use', () => {
    const saving = (value: number, actDcf: number) =>
      summarise({
        ...corpus,
        decisions: corpus.decisions.map((decision) => ({
          ...decision,
          systems: decision.systems.map((system) => ({
            ...system,
            saved: { value, low: value - 0.1, high: value + 0.1 },
            actDcf: { value: actDcf, low: null, high: null },
          })),
        })),
      }).join('\n');
    expect(saving(0.05, 0.8)).toContain('costs 5 % less than by raw cosine');
    expect(saving(0.05, 0.8)).toContain('a saving of 15 % is what it should bring');
    expect(saving(0.3, 0.8)).not.toContain('should bring');
    expect(saving(-0.05, 0.8)).toContain('costs 5 % more');
    expect(saving(0.05, 1.01)).toContain('None of them does better than refusing everybody');
    expect(saving(0.05, 0.8)).not.toContain('None of them');
  });
});
