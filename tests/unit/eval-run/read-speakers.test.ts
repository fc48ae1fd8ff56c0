import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HELD_OUT, readSpeakers, shuffleSpeakers, speakerSound } from '../../../src/eval-run/read-speakers.js';

const NOBODY = { skipLast: new Map<string, number>(), exclude: new Set<string>() };
let folder: string;
let letters: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'speakers-'));
  letters = corpus('letters', ['c', 'a', 'B', 'd']);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Two utterances each, one second long, at 0 s and at 1.5 s. */
function corpus(name: string, speakers: readonly string[]): string {
  const path = join(folder, name);
  mkdirSync(path);
  const lines = speakers.flatMap((speaker) => [
    `${speaker}\t1\t0\t1\t${speaker}.wav`,
    `${speaker}\t2\t1.5\t1\t${speaker}.wav`,
  ]);
  writeFileSync(join(path, 'index.tsv'), ['speaker\tutterance\tstart_s\tduration_s\tfile', ...lines, ''].join('\n'));
  for (const speaker of speakers) writeFileSync(join(path, `${speaker}.wav`), speaker);
  return path;
}

describe('readSpeakers', () => {
  it('lists the speakers in sorted order without the last ones and the excluded ones', async () => {
    const everybody = await readSpeakers([letters], NOBODY);
    expect(everybody.speakers.map(({ name }) => name)).toEqual(['letters/B', 'letters/a', 'letters/c', 'letters/d']);
    expect(everybody.heldOut).toEqual(new Map());
    const some = await readSpeakers([letters], {
      skipLast: new Map([['letters', 1]]),
      exclude: new Set(['letters/a']),
    });
    expect(some.speakers.map(({ name }) => name)).toEqual(['letters/B', 'letters/c']);
    expect(some.heldOut).toEqual(new Map([['letters', 2]]));
  });

  it('keeps the development speakers of the training corpora out by their names', async () => {
    const path = corpus(
      'dspspeech20',
      Array.from({ length: 6 }, (_, index) => `s${index}`),
    );
    const { speakers } = await readSpeakers([path, letters], { ...NOBODY, skipLast: HELD_OUT });
    expect(speakers.map(({ name }) => name)).toEqual([
      'dspspeech20/s0',
      'dspspeech20/s1',
      'letters/B',
      'letters/a',
      'letters/c',
      'letters/d',
    ]);
  });

  it('refuses names that nobody has', async () => {
    await expect(readSpeakers([letters], { ...NOBODY, skipLast: new Map([['leters', 1]]) })).rejects.toThrow(
      'no corpus leters',
    );
    await expect(readSpeakers([letters], { ...NOBODY, exclude: new Set(['letters/z']) })).rejects.toThrow(
      'no speaker letters/z',
    );
  });
});

describe('shuffleSpeakers', () => {
  it('gives the same order for the same seed, with everybody in it', async () => {
    const { speakers } = await readSpeakers([letters], NOBODY);
    const orders = [1, 2, 3, 4, 5].map((seed) => shuffleSpeakers(speakers, seed).map(({ name }) => name));
    expect(shuffleSpeakers(speakers, 1).map(({ name }) => name)).toEqual(orders[0]);
    for (const order of orders) expect([...order].sort()).toEqual(speakers.map(({ name }) => name));
    expect(new Set(orders.map(String)).size).toBeGreaterThan(1);
  });
});

describe('speakerSound', () => {
  const rateHz = 10;
  /** Sample i of the file has the value i. */
  const decode = async () => ({ samples: Float32Array.from({ length: 25 }, (_, i) => i), sampleRateHz: rateHz });

  it('joins what a speaker says, up to so many seconds', async () => {
    const [first] = (await readSpeakers([letters], NOBODY)).speakers;
    const whole = await speakerSound(first!, { decode, atMostS: 60 });
    expect([...whole.samples]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]);
    expect(whole.sampleRateHz).toBe(rateHz);
    expect((await speakerSound(first!, { decode, atMostS: 1.2 })).samples).toHaveLength(12);
    expect((await speakerSound(first!, { decode, atMostS: 0.3 })).samples).toHaveLength(3);
  });

  it('says which file cannot be read', async () => {
    const [first] = (await readSpeakers([letters], NOBODY)).speakers;
    const gone = {
      ...first!,
      recordings: first!.recordings.map((one) => ({ ...one, path: join(folder, 'gone.wav') })),
    };
    await expect(speakerSound(gone, { decode, atMostS: 1 })).rejects.toThrow(/gone\.wav cannot be read/);
  });
});
