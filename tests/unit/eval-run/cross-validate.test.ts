import { describe, expect, it } from 'vitest';
import { impostorFmr } from '../../../src/domain/scoring/calibration.js';
import { crossValidate } from '../../../src/eval-run/cross-validate.js';
import {
  acceptedAfterS,
  checkClaims,
  crossValidated,
  type LiveTrial,
  playCalls,
} from '../../../src/eval-run/live-looks.js';
import { type HalfOf, type ScoredTrials, splitPeople, trialsOfHalf } from '../../../src/eval-run/score-trials.js';
import { LOOKS_S } from '../../../src/evaluation/fit-calibration.js';
import { randomGenerator } from '../../../src/evaluation/random.js';
import { toyCalibration } from '../../support/toy-models.js';

const bootstrap = { resamples: 50, seed: 1 };
const PEOPLE = Array.from({ length: 24 }, (_, index) => `p${String(index).padStart(2, '0')}`);
/** Every third person called once only. */
const SIDES = PEOPLE.flatMap((speaker, index) =>
  (index % 3 === 0 ? ['1'] : ['1', '2']).map((session) => ({ speaker, session: `${speaker}/${session}` })),
);

/** Scores of all pairs of calls; `of` makes the score of a pair from chance in [0, 1). */
function scored(of: (target: boolean, chance: number) => number, seed: number): ScoredTrials {
  const random = randomGenerator(seed);
  const pairs = SIDES.flatMap((a) =>
    SIDES.filter((b) => b.session !== a.session).map((b) => [a.speaker, b.speaker] as const),
  );
  const isTarget = Uint8Array.from(pairs, ([a, b]) => (a === b ? 1 : 0));
  const normScores = Float64Array.from(isTarget, (target) => of(target === 1, random()));
  return {
    cosines: normScores.map((score) => score / 10),
    normScores,
    isTarget,
    enrollSpeakers: pairs.map(([a]) => a),
    testSpeakers: pairs.map(([, b]) => b),
    netSpeechMs: new Float64Array(pairs.length).fill(5000),
  };
}

describe('splitPeople', () => {
  it('gives everybody one half, alike people to both', () => {
    const halfOf = splitPeople(SIDES, 3);
    const halves = PEOPLE.map((name) => halfOf(name, name));
    expect(halves.filter((half) => half === 0)).toHaveLength(12);
    const single = PEOPLE.filter((_, index) => index % 3 === 0).map((name) => halfOf(name, name));
    expect(single.filter((half) => half === 0)).toHaveLength(4);
    const [a, b] = [PEOPLE[halves.indexOf(0)]!, PEOPLE[halves.indexOf(1)]!];
    expect([halfOf(a, b), halfOf(b, a)]).toEqual([undefined, undefined]);
  });

  it('cuts elsewhere for another seed, and the same for the same', () => {
    const cut = (seed: number) => PEOPLE.map((name) => splitPeople(SIDES, seed)(name, name)).join('');
    expect(cut(1)).toBe(cut(1));
    expect(cut(1)).not.toBe(cut(2));
  });
});

describe('crossValidate', () => {
  const options = { bootstrap, signal: new AbortController().signal };
  const cuts = Array.from({ length: 12 }, (_, seed) => splitPeople(SIDES, seed));

  it('never judges a trial by a fit that knew one of its people', async () => {
    // One half's strangers score far above its owners: whoever fits on them refuses everybody.
    const halfOf = cuts[0]!;
    const odd = scored((target, chance) => (target ? 5 + chance : chance), 1);
    const poisoned = { ...odd, normScores: odd.normScores.slice(), cosines: odd.cosines.slice() };
    for (const index of trialsOfHalf(odd, halfOf, 1)) {
      const score = odd.isTarget[index] ? 0.5 : 50;
      poisoned.normScores[index] = score;
      poisoned.cosines[index] = score / 10;
    }
    const found = (await crossValidate([{ name: 'toy', trials: poisoned }], [halfOf], options))!;
    const [cosine] = found.decisions[0]!.systems;
    // Half 0 is judged by half 1, which says "nobody"; half 1 by half 0, which takes its strangers for owners.
    expect(cosine!.pMiss.value).toBe(1);
    expect(cosine!.pFa.value).toBeCloseTo(
      trialsOfHalf(odd, halfOf, 1).filter((index) => !odd.isTarget[index]).length / found.decisions[0]!.nontargets,
      12,
    );
  });

  it('makes no errors where owners and strangers are far apart, and keeps all trials', async () => {
    const trials = scored((target, chance) => (target ? 10 + chance : chance), 2);
    const { decisions, llrs } = (await crossValidate([{ name: 'toy', trials }], cuts, options))!;
    expect(decisions.map(({ condition, pTarget }) => [condition, pTarget])).toEqual([
      ['toy', 0.01],
      ['toy', 0.05],
    ]);
    for (const { systems } of decisions) expect(systems.map(({ actDcf }) => actDcf.value)).toEqual([0, 0, 0]);
    expect(llrs[0]!.scores.length).toBe(trials.cosines.length);
    expect(decisions[0]!.targets + decisions[0]!.nontargets).toBe(trials.cosines.length);
  });

  it('shows what normalisation saves where conditions shift the cosine and not the normScore', async () => {
    const clean = scored((target, chance) => (target ? 2 + 3 * chance : 3 * chance), 3);
    const shifted = { ...clean, cosines: clean.cosines.map((value) => value - 0.3) };
    const { decisions } = (await crossValidate(
      [
        { name: 'a', trials: clean },
        { name: 'b', trials: shifted },
      ],
      cuts,
      options,
    ))!;
    const pooled = decisions.find(({ condition, pTarget }) => condition === 'all conditions' && pTarget === 0.05)!;
    const [cosine, normalised, calibrated] = pooled.systems;
    expect(cosine!.saved.value).toBe(0);
    expect(normalised!.saved.value).toBeGreaterThan(0.15);
    expect(calibrated!.saved.value).toBeGreaterThan(0.15);
  });

  it('averages what the cuts say of a trial: one cut taken twice says the same', async () => {
    const trials = scored((target, chance) => (target ? 2 + 3 * chance : 3 * chance), 5);
    const [once, twice] = await Promise.all(
      [cuts.slice(0, 1), [cuts[0]!, cuts[0]!]].map((of) => crossValidate([{ name: 'toy', trials }], of, options)),
    );
    expect(new Set(Array.from(once!.llrs[0]!.scores)).size).toBeGreaterThan(10);
    expect(twice).toEqual(once);
  });

  it('stops between two cuts when it is told to', async () => {
    const trials = scored((target, chance) => (target ? 10 + chance : chance), 2);
    const stop = new AbortController();
    const stopping: HalfOf = (enrollSpeaker, testSpeaker) => {
      stop.abort(new Error('enough for today'));
      return cuts[0]!(enrollSpeaker, testSpeaker);
    };
    const never: HalfOf = () => expect.unreachable();
    const stopped = crossValidate([{ name: 'toy', trials }], [stopping, never], { bootstrap, signal: stop.signal });
    await expect(stopped).rejects.toThrow('enough for today');
  });

  it('hears of an interrupt that comes while it works', async () => {
    const trials = scored((target, chance) => (target ? 10 + chance : chance), 2);
    const stop = new AbortController();
    // As a signal of the process does: through the event loop.
    setImmediate(() => stop.abort(new Error('interrupted')));
    const stopped = crossValidate([{ name: 'toy', trials }], cuts, { bootstrap, signal: stop.signal });
    await expect(stopped).rejects.toThrow('interrupted');
  });

  it('does not try with too few people', async () => {
    const few = scored((target, chance) => (target ? 1 + chance : chance), 4);
    const nobody = () => undefined;
    expect(await crossValidate([{ name: 'toy', trials: few }], [nobody], options)).toBeUndefined();
  });
});

describe('calls played against the decision rule', () => {
  const calibration = toyCalibration();
  const trial = (normScores: readonly number[], target = true): LiveTrial => ({
    enrollSpeaker: 'a',
    testSpeaker: target ? 'a' : 'b',
    target,
    normScores,
  });
  /** A normScore with so small an fmr at the look. */
  const scoreFor = (fmr: number, look: number): number => {
    let [low, high] = [-50, 200];
    for (let step = 0; step < 100; step++) {
      const middle = (low + high) / 2;
      if (impostorFmr(calibration, middle, LOOKS_S[look]! * 1000) > fmr) low = middle;
      else high = middle;
    }
    return high;
  };

  it('accept at the first look that clears the bar of early looks, which is higher than the last one', () => {
    const claim = (1 - 0.82) ** 3;
    const { earlyShare, finalShare } = calibration.sequential;
    const unsure = (look: number) => scoreFor(0.2, look);
    const sure = (look: number) => scoreFor(claim * earlyShare * 0.9, look);
    expect(acceptedAfterS(trial([unsure(0), sure(1), unsure(2)]), calibration, 0.82)).toBe(LOOKS_S[1]);
    const late = (look: number) => scoreFor(claim * finalShare * 0.9, look);
    expect(acceptedAfterS(trial([unsure(0), late(1), unsure(2)]), calibration, 0.82)).toBeUndefined();
    expect(acceptedAfterS(trial([unsure(0), unsure(1), late(2)]), calibration, 0.82)).toBe(LOOKS_S[2]);
  });

  it('end at a rejection: what comes later is not heard', () => {
    const look = LOOKS_S.findIndex((seconds) => seconds * 1000 >= calibration.futility.minNetSpeechMs);
    const scores = LOOKS_S.map((_, index) => (index === look ? scoreFor(0.99, index) : scoreFor(0.2, index)));
    scores[scores.length - 1] = scoreFor(1e-6, scores.length - 1);
    expect(acceptedAfterS(trial(scores), calibration, 0.82)).toBeUndefined();
    expect(
      acceptedAfterS(
        trial(scores.map((score, index) => (index === look ? scoreFor(0.2, index) : score))),
        calibration,
        0.82,
      ),
    ).toBe(29.5);
  });

  it('are counted by threshold, owners and strangers apart', () => {
    const [yes, no] = [scoreFor(1e-9, 0), scoreFor(0.9, 0)];
    const trials = [
      trial([yes]),
      trial([no]),
      trial([yes], false),
      trial([no], false),
      trial([no], false),
      trial([no], false),
    ];
    const found = playCalls('shipped', trials, { calibrationFor: () => calibration, bootstrap })!;
    expect([found.targets, found.nontargets]).toEqual([2, 4]);
    for (const row of found.rows) {
      expect([row.ownersAccepted.value, row.observed.value, row.medianSpeechS]).toEqual([0.5, 0.25, 2]);
      expect(row.curve[0]).toEqual([2, 0.5]);
    }
    expect(
      playCalls(
        'shipped',
        trials.filter(({ target }) => target),
        { calibrationFor: () => calibration, bootstrap },
      ),
    ).toBeUndefined();
  });

  it('use a calibration of other people for each half, and none for pairs across', () => {
    const halfOf = splitPeople(SIDES, 1);
    const random = randomGenerator(9);
    const shift = [0, 100];
    const trials = PEOPLE.flatMap((enrollSpeaker) =>
      PEOPLE.filter((testSpeaker) => testSpeaker !== enrollSpeaker).map((testSpeaker) => ({
        enrollSpeaker,
        testSpeaker,
        target: false,
        normScores: LOOKS_S.map(() => random() + shift[halfOf(enrollSpeaker, testSpeaker) ?? 0]!),
      })),
    );
    const calibrationFor = crossValidated(calibration, trials, halfOf)!;
    const [zero, one] = [0, 1].map((half) => PEOPLE.find((name) => halfOf(name, name) === half)!);
    // Strangers of half 1 score about 100; so only the calibration of half 0 takes 100 for nothing special.
    expect(impostorFmr(calibrationFor(zero!, zero!)!, 50, 5000)).toBeGreaterThan(0.9);
    expect(impostorFmr(calibrationFor(one!, one!)!, 50, 5000)).toBeLessThan(0.01);
    expect(calibrationFor(zero!, one!)).toBeUndefined();
    expect(crossValidated(calibration, trials.slice(0, 4), halfOf)).toBeUndefined();
  });

  it('use a budget of other people for each half, too', () => {
    const people = Array.from({ length: 60 }, (_, index) => `p${index}`);
    const halfOf = splitPeople(
      people.map((speaker) => ({ speaker, session: `${speaker}/1` })),
      1,
    );
    const random = randomGenerator(9);
    const trials = people.flatMap((enrollSpeaker) =>
      people
        .filter((testSpeaker) => testSpeaker !== enrollSpeaker)
        .map((testSpeaker) => {
          // In half 0 all looks at a call say the same, in half 1 each says something else.
          const common = random();
          const alike = halfOf(enrollSpeaker, testSpeaker) === 0;
          const normScores = LOOKS_S.map(() => -Math.log(1 - (alike ? common : random())));
          return { enrollSpeaker, testSpeaker, target: false, normScores };
        }),
    );
    const calibrationFor = crossValidated(calibration, trials, halfOf)!;
    const [zero, one] = [0, 1].map((half) => people.find((name) => halfOf(name, name) === half)!);
    expect(calibrationFor(one!, one!)!.sequential.earlyShare).toBeGreaterThan(0.4);
    expect(calibrationFor(zero!, zero!)!.sequential.earlyShare).toBeLessThan(0.2);
  });
});

describe('checkClaims', () => {
  it('counts strangers at or below each claim', () => {
    const calibration = toyCalibration();
    const trials = scored((_target, chance) => 12 * chance - 4, 6);
    const { points, nontargets } = checkClaims('shipped', [trials], { calibrationFor: () => calibration, bootstrap })!;
    const strangers = [...trials.isTarget.keys()].filter((index) => !trials.isTarget[index]);
    expect(nontargets).toBe(strangers.length);
    for (const { claimed, observed } of points) {
      const matched = strangers.filter((index) => impostorFmr(calibration, trials.normScores[index]!, 5000) <= claimed);
      expect(observed.value).toBeCloseTo(matched.length / strangers.length, 12);
      expect(observed.low!).toBeLessThanOrEqual(observed.high!);
    }
    expect(checkClaims('shipped', [trials], { calibrationFor: () => undefined, bootstrap })).toBeUndefined();
  });
});
