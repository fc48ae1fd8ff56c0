import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EmbeddingCache } from '../../../src/eval-run/embedding-cache.js';

let folder: string;
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'embedding-cache-')), 'cache');
});
afterEach(() => rm(join(folder, '..'), { recursive: true }));

const recording = {
  netSpeechMs: 4200,
  segments: new Map([['last-3', { netSpeechMs: 3000, embedding: Float32Array.of(0.1, -0.7, 1e-9) }]]),
};

describe('EmbeddingCache', () => {
  it('gives back what was written, bit by bit', async () => {
    const cache = new EmbeddingCache(folder);
    const key = EmbeddingCache.key(['a']);
    expect(await cache.read(key)).toBeUndefined();
    await cache.write(key, recording);
    expect(await cache.read(key)).toEqual(recording);
    await cache.write(key, { netSpeechMs: 0, segments: new Map() });
    expect(await cache.read(key)).toEqual({ netSpeechMs: 0, segments: new Map() });
  });

  it('is for its owner only, and leaves no unfinished files', async () => {
    const cache = new EmbeddingCache(folder);
    await cache.write(EmbeddingCache.key(['a']), recording);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    const names = await readdir(folder);
    expect(names).toHaveLength(1);
    expect((await stat(join(folder, names[0]!))).mode & 0o777).toBe(0o600);
  });

  it.each(['', '{"netSpeechMs": 1', '{"netSpeechMs":-1,"segments":{}}', '{"netSpeechMs":1,"segments":{"all":{}}}'])(
    'takes a damaged file for none: %s',
    async (text) => {
      const cache = new EmbeddingCache(folder);
      const key = EmbeddingCache.key(['a']);
      await cache.write(key, recording);
      await writeFile(join(folder, `${key}.json`), text);
      expect(await cache.read(key)).toBeUndefined();
    },
  );

  it('names files by everything, and by where one part ends', () => {
    const keys = [['ab', 'c'], ['a', 'bc'], ['abc'], ['abc', ''], [new Uint8Array([1]), 'abc']].map(EmbeddingCache.key);
    expect(new Set(keys).size).toBe(keys.length);
    expect(EmbeddingCache.key(['ab', 'c'])).toBe(EmbeddingCache.key(['ab', 'c']));
  });
});
