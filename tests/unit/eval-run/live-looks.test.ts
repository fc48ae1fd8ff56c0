import { describe, expect, it } from 'vitest';
import type { Calibration } from '../../../src/domain/scoring/calibration.js';
import { type LiveTrial, playCalls } from '../../../src/eval-run/live-looks.js';
import { LOOKS_S } from '../../../src/evaluation/fit-calibration.js';

/** fmr = 10^-normScore, whatever the speech; every look has the whole budget, and nobody is given up early. */
const calibration: Calibration = {
  version: 1,
  modelId: 'toy',
  cohortTop: 2,
  tails: [{ netSpeechMs: 2000, knots: [0.1, 1, 2, 3, 4, 5].map((x): [number, number] => [x, 10 ** -x]) }],
  sequential: { earlyShare: 1, finalShare: 1 },
  futility: { minNetSpeechMs: 1_000_000, fmr: 1 },
  replayCosine: 0.99,
};

/** Scores 9, which every threshold accepts, from look `from` on; 0 before. */
function trial(
  enrollSpeaker: string,
  testSpeaker: string,
  { looks, from }: { looks: number; from: number },
): LiveTrial {
  const normScores = Array.from({ length: looks }, (_, look) => (look >= from ? 9 : 0));
  return { enrollSpeaker, testSpeaker, target: enrollSpeaker === testSpeaker, normScores };
}

describe('played calls', () => {
  const never = { looks: 6, from: 99 };
  const trials = [
    trial('a', 'a', { looks: LOOKS_S.length, from: 0 }),
    trial('a', 'a', { looks: LOOKS_S.length, from: 3 }),
    trial('b', 'b', { looks: LOOKS_S.length, from: 8 }),
    trial('b', 'b', { looks: LOOKS_S.length, from: LOOKS_S.length - 1 }),
    // Over before 3 s, and never accepted: counts as an owner all the same.
    trial('c', 'c', { looks: 1, from: 99 }),
    trial('a', 'b', { looks: 6, from: 0 }),
    trial('a', 'c', never),
    trial('b', 'a', never),
    trial('c', 'a', never),
    trial('c', 'b', never),
  ];
  const played = playCalls('shipped', trials, {
    calibrationFor: () => calibration,
    bootstrap: { resamples: 50, seed: 1 },
  })!;

  it('say how many owners are accepted after so much speech, as the curve does', () => {
    for (const { acceptedAfter, curve, ownersAccepted, eachOwnerAccepted } of played.rows) {
      expect(acceptedAfter.map(({ seconds, share }) => [seconds, share.value])).toEqual([
        [3, 1 / 5],
        [5, 2 / 5],
        [10, 3 / 5],
      ]);
      const onCurve = new Map(curve);
      for (const { seconds, share } of acceptedAfter) expect(onCurve.get(seconds)).toBe(share.value);
      expect(ownersAccepted.value).toBe(4 / 5);
      // All calls of a and b, and none of c, who has one.
      expect(eachOwnerAccepted?.value).toBeCloseTo(2 / 3, 12);
    }
  });

  it('count false matches per attempt and per owner', () => {
    expect(played).toMatchObject({ targets: 5, nontargets: 5, owners: 3 });
    for (const { observed, perOwner } of played.rows) {
      expect(observed.value).toBe(1 / 5);
      expect(perOwner.mean).toBeCloseTo(1 / 6, 12);
      expect(perOwner.matched).toBeCloseTo(1 / 3, 12);
    }
  });

  it('are none where nobody may judge', () => {
    const bootstrap = { resamples: 50, seed: 1 };
    expect(playCalls('shipped', trials, { calibrationFor: () => undefined, bootstrap })).toBeUndefined();
  });
});
