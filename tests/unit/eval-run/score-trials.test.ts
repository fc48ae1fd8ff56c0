import { describe, expect, it } from 'vitest';
import { Cohort } from '../../../src/domain/scoring/score-normalisation.js';
import { scoreTrials, splitPeople, voicesOf } from '../../../src/eval-run/score-trials.js';

describe('scoreTrials', () => {
  const cohort = new Cohort(Float32Array.of(1, 0, 0, 1), 2, { top: 2 });
  const voices = (id: string, netSpeechMs: number) => {
    const segments = new Map([['all', { netSpeechMs, embedding: Float32Array.of(1, 0) }]]);
    return voicesOf([{ id, speaker: `speaker of ${id}`, embedded: { netSpeechMs, segments } }], 'all', cohort);
  };

  it('says whose voices they are, and how much speech the test side has', () => {
    const trials = [{ enrollId: 'e', testId: 't', target: false }];
    expect(scoreTrials(trials, voices('e', 15_000), voices('t', 2_000))).toMatchObject({
      enrollSpeakers: ['speaker of e'],
      testSpeakers: ['speaker of t'],
      netSpeechMs: Float64Array.of(2_000),
      isTarget: Uint8Array.of(0),
    });
  });
});

describe('splitPeople', () => {
  it('divides people with one call evenly, and people with several, however it cuts', () => {
    const names = Array.from({ length: 20 }, (_, index) => `p${String(index).padStart(2, '0')}`);
    const sides = names.flatMap((speaker, index) =>
      (index < 10 ? ['1'] : ['1', '2']).map((session) => ({ speaker, session: `${speaker}/${session}` })),
    );
    for (let seed = 0; seed < 20; seed++) {
      const halfOf = splitPeople(sides, seed);
      const inFirst = (people: readonly string[]) => people.filter((name) => halfOf(name, name) === 0).length;
      expect([inFirst(names.slice(0, 10)), inFirst(names.slice(10))], `seed ${seed}`).toEqual([5, 5]);
    }
  });
});
