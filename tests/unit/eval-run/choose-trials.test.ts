import { describe, expect, it } from 'vitest';
import { chooseTrials } from '../../../src/eval-run/choose-trials.js';
import { EvaluationError } from '../../../src/eval-run/eval-error.js';
import type { Corpus } from '../../../src/eval-run/read-corpus.js';

/** So many calls of one person each, and a second one of the first person. */
function corpus(people: number, name = 'c'): Corpus {
  const recordings = [...Array.from({ length: people }, (_, person) => [person, 1] as const), [0, 2] as const].map(
    ([person, call]) => ({
      id: `${name}/p${person}/${call}`,
      speaker: `${name}/p${person}`,
      session: `${name}/p${person}/${call}`,
      corpus: name,
      path: `p${person}-${call}.wav`,
      stretches: undefined,
    }),
  );
  return { name, recordings, sessionsKnown: true };
}

const trial = (enrollId: string, testId: string, target: boolean) => ({ enrollId, testId, target });
const list = [trial('c/p0/1', 'c/p0/2', true), trial('c/p4998/1', 'c/p0/2', false)];

describe('chosen trials', () => {
  it('are those of a list among recordings of which nobody could look at all pairs', () => {
    const large = corpus(4999);
    expect(large.recordings).toHaveLength(5000);
    const [chosen] = chooseTrials([large], list);
    expect(chosen!.trials).toEqual(list);
    expect(chosen!.corpus.recordings.map(({ id }) => id)).toEqual(['c/p0/1', 'c/p4998/1', 'c/p0/2']);
    const all = () => chooseTrials([large], undefined);
    expect(all).toThrow(EvaluationError);
    expect(all).toThrow(/5000 recordings make 24,995,000 pairs.*choose trials with --trials/);
  });

  it('are all that the data allow without one', () => {
    const [chosen] = chooseTrials([corpus(2)], undefined);
    expect(chosen!.corpus.recordings).toHaveLength(3);
    expect(chosen!.trials).toHaveLength(6);
  });

  it('belong to the corpus that has them', () => {
    const other = [trial('d/p0/1', 'd/p0/2', true), trial('d/p0/1', 'd/p1/1', false)];
    const chosen = chooseTrials([corpus(5000), corpus(2, 'd')], [other[0]!, ...list, other[1]!]);
    expect(chosen.map(({ trials }) => trials)).toEqual([list, other]);
  });

  it.each([
    ['an unknown recording', trial('c/p0/1', 'c/nobody', false), /names c\/nobody, which the data do not have/],
    ['a recording and itself', trial('c/p0/1', 'c/p0/1', true), /compares "c\/p0\/1 c\/p0\/1".* make no trial/],
    ['two corpora', trial('c/p0/1', 'd/p0/1', false), /compares "c\/p0\/1 d\/p0\/1".* make no trial/],
    ['a wrong label', trial('c/p0/1', 'c/p1/1', true), /calls "c\/p0\/1 c\/p1\/1" what the speakers' names contradict/],
  ])('of a list with %s are refused', (_, wrong, message) => {
    const corpora = [corpus(3), corpus(2, 'd')];
    expect(() => chooseTrials(corpora, [wrong])).toThrow(EvaluationError);
    expect(() => chooseTrials(corpora, [wrong])).toThrow(message);
  });
});
