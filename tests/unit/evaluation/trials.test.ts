import { describe, expect, it } from 'vitest';
import { buildTrials, formatTrials, parseTrials, type Trial } from '../../../src/evaluation/trials.js';

const side = (corpus: string, speaker: string, session: string, id = `${corpus}/${speaker}/${session}`) => ({
  id,
  corpus,
  speaker: `${corpus}/${speaker}`,
  session: `${corpus}/${speaker}/${session}`,
});

const text = (trials: Iterable<Trial>) => [...formatTrials(trials)].join('');

describe('buildTrials', () => {
  it('pairs recordings of different calls both ways', () => {
    const trials = buildTrials([side('c', 'ann', '1'), side('c', 'ann', '2'), side('c', 'bob', '1')]);
    expect(text(trials).trim().split('\n')).toEqual([
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

  it('never compares what went through one file', () => {
    const shared = { sharedFile: 'tape.wav' };
    const trials = buildTrials([
      { ...side('c', 'ann', '1'), ...shared },
      { ...side('c', 'ann', '2'), ...shared },
      { ...side('c', 'bob', '1'), ...shared },
      side('c', 'bob', '2'),
    ]);
    expect(trials.every(({ enrollId, testId }) => enrollId === 'c/bob/2' || testId === 'c/bob/2')).toBe(true);
    expect(trials).toHaveLength(6);
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
    expect(text(trials)).toBe('a/1 a/2 target\na/1 b/1 nontarget\n');
    expect(parseTrials(text(trials))).toEqual({ kind: 'trials', trials });
    expect(parseTrials('\r\na/1\ta/2  target\r\n\r\n')).toEqual({ kind: 'trials', trials: trials.slice(0, 1) });
  });

  it('are written in pieces, however long they are', () => {
    const trials = Array.from({ length: 25_000 }, (_, index) => ({ enrollId: 'a', testId: `${index}`, target: false }));
    const chunks = [...formatTrials(trials)];
    expect(chunks).toHaveLength(3);
    expect(parseTrials(chunks.join(''))).toEqual({ kind: 'trials', trials });
    expect([...formatTrials([])]).toEqual([]);
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
    expect(() => text([{ enrollId: 'a', testId: id, target: true }])).toThrow(/cannot stand in a trial list/);
  });
});
