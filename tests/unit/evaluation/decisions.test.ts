import { describe, expect, it } from 'vitest';
import { acceptedShares, acceptedSharesPerPerson, compareDecisions } from '../../../src/evaluation/decisions.js';

const bootstrap = { resamples: 50, seed: 1 };
/** Everybody against everybody else, both ways: 6 people, 15 pairs, 30 trials. */
const pairs = Array.from({ length: 36 }, (_, index) => [Math.floor(index / 6), index % 6] as const).filter(
  ([enroll, test]) => enroll !== test,
);
const strangers = {
  enroll: Uint32Array.from(pairs, ([enroll]) => enroll),
  test: Uint32Array.from(pairs, ([, test]) => test),
  speakers: 6,
};
/** Six owners with two trials each. */
const people = Uint32Array.from({ length: 12 }, (_, index) => index >> 1);
const owners = { enroll: people, test: people, speakers: 6 };

describe('shares of which all resamples are the same', () => {
  it('have the interval that so many pairs of people leave possible', () => {
    const [none, all, some] = acceptedShares(
      strangers,
      [pairs.map(() => 0), pairs.map(() => 1), pairs.map((_, index) => (index === 3 ? 1 : 0))],
      bootstrap,
    );
    // With 15 pairs, 1 in 5.5 goes unseen 1 time in 20.
    expect(none!.interval!.low).toBe(0);
    expect((1 - none!.interval!.high) ** 15).toBeCloseTo(0.05, 12);
    expect(all!.interval!.low).toBeCloseTo(1 - none!.interval!.high, 12);
    expect(all!.interval!.high).toBe(1);
    // One event and more: as the people say.
    expect(some!.interval!.low).toBe(0);
    expect(some!.interval!.high).not.toBe(none!.interval!.high);
  });

  it('count every owner as one, however many calls there are', () => {
    const refused = [people.map(() => 0)];
    for (const [share] of [
      acceptedShares(owners, refused, bootstrap),
      acceptedSharesPerPerson(owners, refused, bootstrap),
    ]) {
      expect((1 - share!.interval!.high) ** 6).toBeCloseTo(0.05, 12);
    }
  });

  it('are bounded beside costs as well', () => {
    const speakers = {
      enroll: Uint32Array.from([...owners.enroll, ...strangers.enroll]),
      test: Uint32Array.from([...owners.test, ...strangers.test]),
      speakers: 6,
    };
    const isTarget = Uint8Array.from([...people.map(() => 1), ...pairs.map(() => 0)]);
    const [faultless] = compareDecisions({ speakers, isTarget }, [isTarget], { pTarget: 0.05, bootstrap });
    expect(faultless!.pMiss.value + faultless!.pFa.value).toBe(0);
    expect((1 - faultless!.pMiss.interval!.high) ** 6).toBeCloseTo(0.05, 12);
    expect((1 - faultless!.pFa.interval!.high) ** 15).toBeCloseTo(0.05, 12);
  });
});
