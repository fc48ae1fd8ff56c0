import { describe, expect, it } from 'vitest';
import { falseMatchesPerOwner } from '../../../src/evaluation/decisions.js';
import { renderReport } from '../../../src/evaluation/report.js';
import { judgedCalls, thresholdMarkdown, thresholdTable } from '../../../src/evaluation/threshold-table.js';
import { toyResults } from '../../support/toy-evaluation.js';

const results = toyResults();
const corpus = results.corpora[0]!;
const judged = judgedCalls(corpus)!;

describe('the table of thresholds', () => {
  it('is Markdown that a document takes as it is', () => {
    expect(thresholdMarkdown(thresholdTable(judged)).split('\n')).toEqual([
      '| threshold | false matches claimed | observed per impostor attempt | per owner: mean, 9 in 10 at most | ' +
        'owners matched at all | owners accepted after 3 s of speech | after 10 s | in the end | the same, every owner counting once |',
      '|---|---|---|---|---|---|---|---|---|',
      '| 0.7 | 1 in 37 | 0.6 % (0.45 to 0.75) | 0.8 %, 2.5 % | 30 % | 20 % (15 to 25) | 30 % (22.5 to 37.5) | 40 % (30 to 50) | 32 % (24 to 40) |',
      '| **0.82** (default) | 1 in 171 | 0.6 % (0.45 to 0.75) | 0.8 %, 2.5 % | 30 % | 20 % (15 to 25) | 30 % (22.5 to 37.5) | 40 % (30 to 50) | 32 % (24 to 40) |',
      '',
    ]);
  });

  it('has no figure for owners counting once in results from before it was counted', () => {
    const [row] = thresholdTable({ ...judged, rows: [{ ...judged.rows[0]!, eachOwnerAccepted: undefined }] }).rows;
    expect(row?.at(-1)).toBe('-');
  });

  it('goes from lax to strict, whatever the order of the results', () => {
    const turned = { ...judged, rows: [...judged.rows].reverse() };
    expect(thresholdTable(turned)).toEqual(thresholdTable(judged));
  });

  it('is of the calibration that was fitted on other people', () => {
    const shipped = { ...judged, calibration: 'shipped' as const };
    expect(judgedCalls({ ...corpus, live: [shipped, judged] })?.calibration).toBe('cross-validated');
    expect(judgedCalls({ ...corpus, live: [shipped] })?.calibration).toBe('shipped');
    expect(judgedCalls({ ...corpus, live: [] })).toBeUndefined();
  });

  it('is in the report', () => {
    const html = renderReport(results);
    expect(html).toContain('Which threshold to set');
    expect(html).toContain('<td>0.8 %, 2.5 %</td><td>30 %</td><td>20 %<br><small>15 to 25</small></td>');
  });
});

describe('false matches per owner', () => {
  it('count every owner the same, however often somebody pretended to be them', () => {
    // Owner 0: 1 of 4 attempts; owners 1 to 9: one attempt each, all refused.
    const owners = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    const accepted = owners.map((_, index) => (index === 2 ? 1 : 0));
    const rates = falseMatchesPerOwner(owners, accepted);
    expect(rates).toMatchObject({ matched: 0.1, owners: 10 });
    expect(rates.mean).toBeCloseTo(0.025, 12);
    // Nine of ten have 0, the tenth 0.25: a tenth of the way from the ninth to the tenth.
    expect(rates.ninthTenth).toBeCloseTo(0.025, 12);
    expect(falseMatchesPerOwner([3, 3], [1, 1])).toEqual({ mean: 1, ninthTenth: 1, matched: 1, owners: 1 });
    expect(() => falseMatchesPerOwner([], [])).toThrow(RangeError);
  });
});
