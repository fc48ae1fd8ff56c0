import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bootstrapBySpeaker, quantile, weighTrials } from '../../../src/evaluation/bootstrap.js';
import { acceptedShares, acceptedSharesPerPerson, compareDecisions } from '../../../src/evaluation/decisions.js';
import { measure, numberSpeakers } from '../../../src/evaluation/measure.js';
import { randomGenerator } from '../../../src/evaluation/random.js';

/** Every speaker against every other, and once against himself. */
function everybody(speakers: number) {
  const pairs = Array.from({ length: speakers ** 2 }, (_, index) => [Math.floor(index / speakers), index % speakers]);
  return { enroll: Uint32Array.from(pairs, ([a]) => a!), test: Uint32Array.from(pairs, ([, b]) => b!), speakers };
}

/** Normal scores of people with some who are harder to recognise than others. */
function people(count: number, seed: number) {
  const random = randomGenerator(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const ease = Array.from({ length: count }, () => 2 + normal());
  const { enroll, test } = everybody(count);
  return {
    scores: Float64Array.from(enroll, (a, index) => normal() + (a === test[index] ? ease[a]! : 0)),
    isTarget: Array.from(enroll, (a, index) => a === test[index]),
    enrollSpeakers: Array.from(enroll, String),
    testSpeakers: Array.from(test, String),
  };
}

describe('weights of a resample', () => {
  it('count both sides of a trial, and a target trial once per copy of its speaker', () => {
    const weights = new Float64Array(9);
    weighTrials(everybody(3), Uint32Array.of(2, 0, 3), weights);
    expect([...weights]).toEqual([2, 0, 6, 0, 0, 0, 6, 0, 3]);
  });

  it('are those of trials among the people drawn, written out one by one', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 2, maxLength: 6 }), (counts) => {
        const trials = everybody(counts.length);
        const drawn = counts.flatMap((count, speaker) =>
          Array.from({ length: count }, (_, copy) => ({ speaker, copy })),
        );
        const weights = new Float64Array(trials.enroll.length);
        weighTrials(trials, Uint32Array.from(counts), weights);
        weights.forEach((weight, index) => {
          const [a, b] = [trials.enroll[index]!, trials.test[index]!];
          const pairs = drawn.flatMap((one) => drawn.map((other) => [one, other] as const));
          // Copies of one speaker have not met: only each with himself makes his target trials.
          const met = pairs.filter(
            ([one, other]) => one.speaker === a && other.speaker === b && (a !== b || one.copy === other.copy),
          );
          expect(weight).toBe(met.length);
        });
      }),
    );
  });
});

describe('bootstrapBySpeaker', () => {
  const count = (weights: Float64Array) => [weights.reduce((sum, weight) => sum + weight, 0)];

  it('is the same for the same seed and another for another', () => {
    const options = { resamples: 50, seed: 7 };
    const first = bootstrapBySpeaker(everybody(9), count, options);
    expect(bootstrapBySpeaker(everybody(9), count, options)).toEqual(first);
    expect(bootstrapBySpeaker(everybody(9), count, { ...options, seed: 8 })).not.toEqual(first);
  });

  it('finds the interval of a mean over speakers that theory gives', () => {
    // One trial each, half of 400 speakers accepted: the standard error of the share is 0.025.
    const speakers = 400;
    const own = Uint32Array.from({ length: speakers }, (_, index) => index);
    const accepted = Uint8Array.from(own, (index) => index % 2);
    const [share] = acceptedShares({ enroll: own, test: own, speakers }, [accepted], { resamples: 4000, seed: 1 });
    expect(share!.value).toBe(0.5);
    expect(share!.interval!.low).toBeGreaterThan(0.5 - 1.96 * 0.025 - 0.006);
    expect(share!.interval!.low).toBeLessThan(0.5 - 1.96 * 0.025 + 0.006);
    expect(share!.interval!.high).toBeGreaterThan(0.5 + 1.96 * 0.025 - 0.006);
    expect(share!.interval!.high).toBeLessThan(0.5 + 1.96 * 0.025 + 0.006);
  });

  it('does not take many trials of few speakers for much evidence', () => {
    // Ten speakers with 1 or 100 identical trials each: the interval must not care.
    const interval = (copies: number) => {
      const own = Uint32Array.from({ length: 10 * copies }, (_, index) => index % 10);
      const accepted = Uint8Array.from(own, (speaker) => speaker % 2);
      return acceptedShares({ enroll: own, test: own, speakers: 10 }, [accepted], { resamples: 300, seed: 3 })[0]!;
    };
    expect(interval(100)).toEqual(interval(1));
    expect(interval(1).interval!.high - interval(1).interval!.low).toBeGreaterThan(0.4);
  });

  it('lets every person count once, however many trials there are of one', () => {
    // Of the four trials of person 0 all are accepted, of the one each of persons 1 and 2 none.
    const own = Uint32Array.from([0, 1, 0, 2, 0, 0]);
    const accepted = Uint8Array.from(own, (person) => (person === 0 ? 1 : 0));
    const perPerson = (...people: number[]) => {
      const ids = Uint32Array.from(people);
      const rows = [Uint8Array.from(ids, (person) => (person === 0 ? 1 : 0))];
      return acceptedSharesPerPerson({ enroll: ids, test: ids, speakers: 3 }, rows, { resamples: 300, seed: 3 })[0]!;
    };
    const [pooled] = acceptedShares({ enroll: own, test: own, speakers: 3 }, [accepted], { resamples: 300, seed: 3 });
    expect(pooled!.value).toBeCloseTo(4 / 6, 12);
    expect(perPerson(...own).value).toBeCloseTo(1 / 3, 12);
    expect(perPerson(...own)).toEqual(perPerson(0, 1, 2));
  });

  it('draws again what cannot be measured, and gives up when nothing can', () => {
    let measured = 0;
    const moody = (weights: Float64Array) => (weights[0]! > 0 && ++measured > 0 ? [weights[0]!] : undefined);
    const [interval] = bootstrapBySpeaker(everybody(4), moody, { resamples: 20, seed: 1 });
    expect(measured).toBe(20);
    expect(interval!.low).toBeGreaterThan(0);
    expect(() => bootstrapBySpeaker(everybody(4), () => undefined, { resamples: 20, seed: 1 })).toThrow(/too few/);
  });

  it.each([{ resamples: 1 }, { confidence: 1 }, { confidence: 0 }])('refuses %o', (wrong) => {
    expect(() => bootstrapBySpeaker(everybody(2), count, { resamples: 10, seed: 1, ...wrong })).toThrow(RangeError);
  });
});

describe('measure', () => {
  it('gives every figure with an interval, costs of decisions only for log-likelihood ratios', () => {
    const bootstrap = { resamples: 60, seed: 2 };
    const plain = measure(people(20, 1), { areLlrs: false, bootstrap });
    expect(Object.keys(plain)).toEqual([
      'eer',
      'eerEachOwner',
      'rocchEer',
      'minDcf@0.01',
      'minDcf@0.05',
      'minCllr',
      'pMiss@0.1',
      'pMiss@0.01',
      'pMiss@0.001',
    ]);
    const llrs = measure(people(20, 1), { areLlrs: true, bootstrap });
    expect(Object.keys(llrs)).toEqual([...Object.keys(plain), 'actDcf@0.01', 'actDcf@0.05', 'cllr']);
    for (const { interval } of Object.values(llrs)) expect(interval!.low).toBeLessThanOrEqual(interval!.high);
  });

  it('counts every owner once where it says so, however many calls there are of one', () => {
    // Ann is never missed, Bo always; how often each of them calls decides the rate over all trials.
    const rates = (callsOfAnn: number) => {
      const enrollSpeakers = [...Array<string>(callsOfAnn).fill('ann'), 'bo', ...Array<string>(10).fill('cy')];
      const { eer, eerEachOwner } = measure(
        {
          scores: enrollSpeakers.map((speaker, index) => ({ ann: 5, bo: -5, cy: 0 })[speaker]! + index / 100),
          isTarget: enrollSpeakers.map((speaker) => speaker !== 'cy'),
          enrollSpeakers,
          testSpeakers: enrollSpeakers.map((speaker) => (speaker === 'cy' ? 'dee' : speaker)),
        },
        { areLlrs: false, bootstrap: { resamples: 100, seed: 1 } },
      );
      return { eer: eer!.value, eerEachOwner: eerEachOwner! };
    };
    expect(rates(1).eer).toBeCloseTo(0.5, 12);
    expect(rates(1).eerEachOwner.value).toBeCloseTo(0.5, 12);
    expect(rates(9).eer).toBeCloseTo(0.1, 12);
    expect(rates(9).eerEachOwner.value).toBeCloseTo(0.5, 12);
    expect(rates(9).eerEachOwner.interval).toEqual(rates(1).eerEachOwner.interval);
  });

  it('does not claim to know rates of which it has seen no event', () => {
    const enrollSpeakers = ['a', 'a', 'b', 'b', 'c', 'a', 'b', 'c'];
    const {
      eer,
      'pMiss@0.1': misses,
      minCllr,
    } = measure(
      {
        scores: [5, 6, 7, 8, 9, 1, 2, 3],
        isTarget: enrollSpeakers.map((_, index) => index < 5),
        enrollSpeakers,
        testSpeakers: [...enrollSpeakers.slice(0, 5), 'b', 'c', 'a'],
      },
      { areLlrs: false, bootstrap: { resamples: 20, seed: 1 } },
    );
    for (const rate of [eer!, misses!]) {
      expect([rate.value, rate.interval!.low]).toEqual([0, 0]);
      // Three owners.
      expect((1 - rate.interval!.high) ** 3).toBeCloseTo(0.05, 12);
    }
    expect(minCllr).toEqual({ value: 0, interval: undefined });
  });

  it('covers the true error rate about as often as it says', () => {
    // Known people: the equal error rate over very many of them stands for the truth.
    const truth = measure(people(600, 99), { areLlrs: false, bootstrap: undefined }).eer!.value;
    const hits = Array.from({ length: 60 }, (_, trial) => {
      const { interval } = measure(people(40, trial), { areLlrs: false, bootstrap: { resamples: 100, seed: trial } })
        .eer!;
      return interval!.low <= truth && truth <= interval!.high;
    }).filter(Boolean).length;
    expect(hits).toBeGreaterThanOrEqual(50);
    expect(hits).toBeLessThanOrEqual(60);
  });
});

describe('compareDecisions', () => {
  it('gives error rates, cost and what is saved, by hand', () => {
    const trials = {
      enrollSpeakers: ['a', 'b', 'a', 'b'],
      testSpeakers: ['a', 'b', 'b', 'a'],
    };
    const isTarget = Uint8Array.of(1, 1, 0, 0);
    const speakers = numberSpeakers(trials, Uint32Array.of(0, 1, 2, 3));
    const [first, second] = compareDecisions(
      { speakers, isTarget },
      [Uint8Array.of(1, 0, 1, 0), Uint8Array.of(1, 0, 0, 0)],
      { pTarget: 0.5, bootstrap: { resamples: 10, seed: 1 } },
    );
    expect([first!.pMiss.value, first!.pFa.value, first!.dcf.value, first!.saved.value]).toEqual([0.5, 0.5, 1, 0]);
    expect([second!.pMiss.value, second!.pFa.value, second!.dcf.value, second!.saved.value]).toEqual([
      0.5, 0, 0.5, 0.5,
    ]);
  });

  it('has a number for the saving where the first system costs nothing', () => {
    const speakers = { enroll: Uint32Array.of(0, 0), test: Uint32Array.of(0, 1), speakers: 2 };
    const found = compareDecisions(
      { speakers, isTarget: Uint8Array.of(1, 0) },
      [Uint8Array.of(1, 0), Uint8Array.of(1, 0), Uint8Array.of(0, 0)],
      { pTarget: 0.05, bootstrap: { resamples: 10, seed: 1 } },
    );
    expect(found.map(({ saved }) => saved.value)).toEqual([0, 0, -1]);
  });

  it('sees the difference of two systems more sharply than either of them', () => {
    const { scores, isTarget, ...sides } = people(40, 5);
    const order = Uint32Array.from(scores, (_, index) => index);
    const [, better] = compareDecisions(
      { speakers: numberSpeakers(sides, order), isTarget: Uint8Array.from(isTarget, Number) },
      [
        Uint8Array.from(scores, (score) => (score >= 1 ? 1 : 0)),
        Uint8Array.from(scores, (score) => (score >= 1.2 ? 1 : 0)),
      ],
      { pTarget: 0.05, bootstrap: { resamples: 200, seed: 1 } },
    );
    const width = ({ low, high }: { low: number; high: number }) => high - low;
    expect(better!.saved.value).toBeGreaterThan(0);
    expect(width(better!.saved.interval!) * better!.dcf.value).toBeLessThan(width(better!.dcf.interval!));
  });
});

describe('quantile', () => {
  it('interpolates between neighbours', () => {
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(2.5);
    expect(quantile([1, 2, 3, 4], 0)).toBe(1);
    expect(quantile([1, 2, 3, 4], 1)).toBe(4);
    expect(quantile([0, 10], 0.025)).toBeCloseTo(0.25, 12);
  });
});

describe('randomGenerator', () => {
  it('gives known numbers and even ones', () => {
    const random = randomGenerator(1);
    expect([random(), random()].map((value) => value.toFixed(6))).toEqual(['0.627074', '0.002736']);
    const tenths = new Array<number>(10).fill(0);
    for (let i = 0; i < 100_000; i++) tenths[Math.floor(random() * 10)]!++;
    for (const count of tenths) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  });
});
