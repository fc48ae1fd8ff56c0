import { describe, expect, it } from 'vitest';
import {
  BUDGET_THRESHOLDS,
  type CallScores,
  chooseShares,
  judgedThresholds,
  playCall,
  procedureRates,
} from '../../../src/evaluation/call-procedure.js';
import { randomGenerator } from '../../../src/evaluation/random.js';

/** fmr = 10^-normScore, whatever the speech. */
const tails = [{ netSpeechMs: 2000, knots: [0.1, 1, 2, 3, 4].map((x): [number, number] => [x, 10 ** -x]) }];
const calibration = {
  tails,
  sequential: { earlyShare: 0.25, finalShare: 0.75 },
  futility: { minNetSpeechMs: 6000, fmr: 0.3 },
};
const rule = { threshold: 0.9, minSpeechMs: 2000 };

function call(target: boolean, ...normScores: readonly number[]): CallScores {
  return { target, looks: normScores.map((normScore, index) => ({ netSpeechMs: (index + 2) * 1000, normScore })) };
}

describe('a played call', () => {
  it('is accepted by the first look that clears its bar: a quarter of 0.001 early, three quarters at the end', () => {
    expect(playCall(call(true, 3.5, 3.61, 5), calibration, rule)).toEqual({
      accepted: true,
      netSpeechMs: 3000,
      looks: 2,
    });
    expect(playCall(call(true, 3, 3.5, 3.13), calibration, rule)).toMatchObject({ accepted: true, looks: 3 });
    expect(playCall(call(true, 3, 3.5, 3.12), calibration, rule)).toMatchObject({ accepted: false, looks: 3 });
    // The only look has the whole budget.
    expect(playCall(call(true, 3.001), calibration, rule)).toMatchObject({ accepted: true });
  });

  it('is given up where it is hopeless, although it would have been accepted later', () => {
    expect(playCall(call(true, 0, 0, 0, 0, 0.4, 9, 9), calibration, rule)).toEqual({
      accepted: false,
      netSpeechMs: 6000,
      looks: 5,
    });
  });
});

describe('the rates of the procedure', () => {
  it('count owners and strangers apart, and speech of accepted owners only', () => {
    const calls = [
      call(true, 5),
      call(true, 1, 5),
      call(true, 1, 1),
      call(false, 1),
      call(false, 5),
      call(false, 1, 1),
    ];
    expect(procedureRates(calls, calibration, rule)).toEqual({
      threshold: 0.9,
      claimedFmr: expect.closeTo(0.001, 10) as number,
      observedFmr: 1 / 3,
      ownersAccepted: 2 / 3,
      medianNetSpeechMs: 3000,
    });
    expect(() => procedureRates([call(true, 5)], calibration, rule)).toThrow(/nontarget/);
  });

  it('have the median of amounts of speech, not of their digits', () => {
    const acceptedAt = (seconds: number) => call(true, ...new Array<number>(seconds - 2).fill(1), 5);
    const calls = [acceptedAt(10), acceptedAt(2), acceptedAt(9), call(false, 1)];
    expect(procedureRates(calls, calibration, rule)).toMatchObject({ ownersAccepted: 1, medianNetSpeechMs: 9000 });
  });
});

describe('the budget', () => {
  const random = randomGenerator(7);
  /** Strangers whose looks agree by `likeness`: fmr of each look is uniform, as a true tail has it. */
  const strangers = (likeness: number) =>
    Array.from({ length: 40_000 }, () => {
      const common = random();
      const looks = Array.from({ length: 6 }, () => -Math.log10(random() < likeness ? common : random()));
      return call(false, ...looks);
    });
  const owner = call(true, 6);

  it('is larger for early looks the more the looks of a call agree', () => {
    const choose = (likeness: number) =>
      chooseShares([...strangers(likeness), owner], { tails, futility: { minNetSpeechMs: 6000, fmr: 0.999 } }, 2000);
    const [independent, alike] = [choose(0), choose(1)];
    expect(independent.earlyShare).toBeLessThan(0.2);
    expect(alike.earlyShare).toBe(0.5);
    for (const { earlyShare, finalShare } of [independent, alike]) expect(earlyShare).toBeLessThanOrEqual(finalShare);
  });

  it('stays a little below the claim, because it was chosen on these very calls', () => {
    const futility = { minNetSpeechMs: 6000, fmr: 0.999 };
    // 400 strangers, of whom the claim at 0.536 stands for 39.96: with so many that any budget accepts.
    const choose = (matches: number) => {
      const calls = Array.from({ length: 400 }, (_, index) =>
        index < matches ? call(false, 4, 4) : call(false, 1, 1),
      );
      return chooseShares(calls, { tails, futility }, 2000);
    };
    expect(choose(37)).toEqual({ earlyShare: 0.5, finalShare: 0.5 });
    expect(choose(39)).toEqual({ earlyShare: 0.05, finalShare: 0.1 });
  });

  it('is the smallest there is when the calls are too few to judge any claim', () => {
    const futility = { minNetSpeechMs: 6000, fmr: 0.999 };
    const alike = strangers(1);
    expect(judgedThresholds(200)).toEqual([]);
    expect(chooseShares(alike.slice(0, 200), { tails, futility }, 2000)).toEqual({ earlyShare: 0.05, finalShare: 0.1 });
    expect(judgedThresholds(201)).toEqual([0.536]);
    expect(chooseShares(alike.slice(0, 400), { tails, futility }, 2000).earlyShare).toBeGreaterThan(0.3);
  });

  it('keeps the claim of every threshold on the calls it was chosen on', () => {
    const calls = [...strangers(0.7), owner];
    const futility = { minNetSpeechMs: 6000, fmr: 0.999 };
    const sequential = chooseShares(calls, { tails, futility }, 2000);
    for (const threshold of BUDGET_THRESHOLDS) {
      const rates = procedureRates(calls, { tails, futility, sequential }, { threshold, minSpeechMs: 2000 });
      expect(rates.observedFmr).toBeLessThanOrEqual(rates.claimedFmr);
    }
  });
});
