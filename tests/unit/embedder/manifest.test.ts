import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseManifest } from '../../../src/embedder/manifest.js';
import { SHIPPED_PACKAGE } from '../../support/model-folder.js';

const shipped = () =>
  JSON.parse(readFileSync(join(SHIPPED_PACKAGE, 'manifest.json'), 'utf8')) as Record<string, unknown>;

describe('parseManifest', () => {
  it('reads the shipped manifest', () => {
    const parsed = parseManifest(JSON.stringify(shipped()));
    expect(parsed).toMatchObject({
      kind: 'manifest',
      manifest: { id: 'phone-ecapa-192-v0', embeddingSize: 192, sampleRateHz: 16_000, input: { kind: 'waveform' } },
    });
  });

  it.each([
    ['an unknown field', { preEmphasis: 0.97 }, 'preEmphasis'],
    ['an unknown kind of input', { input: { kind: 'mfcc', tensor: 'x' } }, 'input.kind'],
    ['an unknown field of the input', { input: { kind: 'waveform', tensor: 'waveform', scale: 32_768 } }, 'scale'],
    ['a later format', { formatVersion: 2 }, 'formatVersion'],
    ['an id that is a path', { id: '../elsewhere' }, 'id'],
    ['a minimum above the preferred window', { window: { minMs: 6000, preferredMs: 5000 } }, 'window'],
    ['a short checksum', { model: { sha256: 'abc', bytes: 5 } }, 'model.sha256'],
    ['a missing licence', { licence: undefined }, 'licence'],
    ['an embedding of no values', { embeddingSize: 0 }, 'embeddingSize'],
  ])('refuses %s and names it', (_, change, named) => {
    const parsed = parseManifest(JSON.stringify({ ...shipped(), ...change }));
    expect(parsed).toMatchObject({ kind: 'invalid', problem: expect.stringContaining(named) });
  });

  it('names everything that is wrong at once', () => {
    const parsed = parseManifest(JSON.stringify({ ...shipped(), sampleRateHz: 'fast', licence: '' }));
    expect(parsed).toMatchObject({ kind: 'invalid', problem: expect.stringMatching(/sampleRateHz.*licence/) });
  });

  it('refuses what is not JSON', () => {
    expect(parseManifest('{"id":')).toEqual({ kind: 'invalid', problem: 'is not JSON' });
  });
});
