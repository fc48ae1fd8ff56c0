import { describe, expect, it } from 'vitest';
import { buildTrials, formatTrials, parseTrials } from '../../../src/evaluation/trials.js';

const side = (corpus: string, speaker: string, session: string, id = `${corpus}/${speaker}/${session}`) => ({
  id,
  corpus,
  speaker: `${corpus}/${speaker}`,
  session: `${corpus}/${speaker}/${session}`,
});

describe('buildTrials', () => {
  it('pairs recordings of different calls both ways', () => {
    const trials = buildTrials([side('c', 'ann', '1'), side('c', 'ann', '2'), side('c', 'bob', '1')]);
    expect(formatTrials(trials).trim().split('\n')).toEqual([
      'c/ann/1 c/ann/2 target',
      'c/ann/1 c/bob/1 nontarget',
      'c/ann/2 c/ann/1 target',
      'c/ann/2 c/bob/1 nontarget',
      'c/bob/1 c/ann/1 nontarget',
      'c/bob/1 c/ann/2 nontarget',
    ]);
  });

  it('never compares two pieces of one call', () => {
    const trials = buildTrials([side('c', 'ann', '1', 'a'), side('c', 'ann', '1', 'b'), side('c', 'ann', '2', 'x')]);
    expect(trials.map(({ enrollId, testId }) => enrollId + testId).sort()).toEqual(['ax', 'bx', 'xa', 'xb']);
  });

  it('never compares people of two corpora, even of the same name', () => {
    const trials = buildTrials([side('c', 'ann', '1'), side('d', 'ann', '1'), side('d', 'bob', '1')]);
    expect(trials.map(({ enrollId, testId }) => [enrollId, testId])).toEqual([
      ['d/ann/1', 'd/bob/1'],
      ['d/bob/1', 'd/ann/1'],
    ]);
  });

  it('refuses two recordings of one name', () => {
    expect(() => buildTrials([side('c', 'ann', '1', 'x'), side('c', 'bob', '1', 'x')])).toThrow(/two recordings .* x/);
  });
});

describe('trial lists', () => {
  it('are read as they are written', () => {
    const trials = [
      { enrollId: 'a/1', testId: 'a/2', target: true },
      { enrollId: 'a/1', testId: 'b/1', target: false },
    ];
    expect(formatTrials(trials)).toBe('a/1 a/2 target\na/1 b/1 nontarget\n');
    expect(parseTrials(formatTrials(trials))).toEqual({ kind: 'trials', trials });
    expect(parseTrials('\r\na/1\ta/2  target\r\n\r\n')).toEqual({ kind: 'trials', trials: trials.slice(0, 1) });
  });

  it.each([
    { text: 'a b target\na b', line: 2, problem: /three words/ },
    { text: 'a b target extra', line: 1, problem: /three words/ },
    { text: '\na b impostor', line: 2, problem: /"impostor" is neither/ },
    { text: 'a b target\nb a target\n\na b target', line: 4, problem: /"a b" is in line 1, too/ },
  ])('name the line that is wrong: $text', ({ text, line, problem }) => {
    expect(parseTrials(text)).toEqual({ kind: 'invalid', line, problem: expect.stringMatching(problem) });
  });

  it.each(['', 'two words', 'line\nfeed'])('cannot hold the id "%s"', (id) => {
    expect(() => formatTrials([{ enrollId: 'a', testId: id, target: true }])).toThrow(/cannot stand in a trial list/);
  });
});
