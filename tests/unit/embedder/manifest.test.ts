import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fbankOptions, parseManifest } from '../../../src/embedder/manifest.js';
import { SHIPPED_PACKAGE, toyManifest, WESPEAKER_INPUT } from '../../support/model-folder.js';

const shipped = () =>
  JSON.parse(readFileSync(join(SHIPPED_PACKAGE, 'manifest.json'), 'utf8')) as Record<string, unknown>;

describe('parseManifest', () => {
  it('reads the shipped manifest', () => {
    const parsed = parseManifest(JSON.stringify(shipped()));
    expect(parsed).toMatchObject({
      kind: 'manifest',
      manifest: { id: 'phone-resnet-192-v4', embeddingSize: 192, sampleRateHz: 16_000, input: { kind: 'waveform' } },
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
    ['a rate that speech does not come at', { sampleRateHz: 8000 }, 'sampleRateHz: must be 16000, the rate'],
    ['a higher rate', { sampleRateHz: 24_000 }, 'sampleRateHz: must be 16000, the rate'],
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

describe('the front end of a manifest', () => {
  const withInput = (changes: Record<string, unknown>) =>
    parseManifest(JSON.stringify({ ...toyManifest('features'), input: { ...WESPEAKER_INPUT, ...changes } }));

  it('becomes the options of the features, without what is only one way', () => {
    const parsed = withInput({});
    if (parsed.kind !== 'manifest') throw new Error(parsed.problem);
    const { kind, tensor, snipEdges, dither, ...options } = WESPEAKER_INPUT;
    expect(fbankOptions(parsed.manifest.input)).toEqual(options);
    expect(fbankOptions({ kind: 'waveform', tensor: null })).toBeUndefined();
  });

  it.each([
    ['noise', { dither: 1 }, 'input.dither'],
    ['padded edges', { snipEdges: false }, 'input.snipEdges'],
    ['a window we do not know', { window: 'blackman' }, 'input.window'],
    ['an unknown field', { vtlnWarp: 1 }, 'vtlnWarp'],
    ['bins by text', { numMelBins: '80' }, 'input.numMelBins'],
    ['more bins than lines of the spectrum', { numMelBins: 200 }, 'input.numMelBins'],
    ['a band above half the sample rate', { highFreqHz: 8001 }, 'input.highFreqHz'],
    ['a band upside down', { lowFreqHz: 4000, highFreqHz: 300 }, 'lowFreqHz must be less'],
    ['an unknown scale', { inputScale: 'int24' }, 'input.inputScale'],
    ['a mean over a sliding window', { meanNormalisation: 'sliding' }, 'input.meanNormalisation'],
    ['pre-emphasis above 1', { preemphasis: 1.5 }, 'input.preemphasis'],
  ])('is refused with %s', (_, change, named) => {
    expect(withInput(change)).toMatchObject({ kind: 'invalid', problem: expect.stringContaining(named) });
  });

  it.each(Object.keys(WESPEAKER_INPUT).filter((field) => field !== 'kind'))('is refused without %s', (field) => {
    const problem = expect.stringContaining(`input.${field}`);
    expect(withInput({ [field]: undefined })).toMatchObject({ kind: 'invalid', problem });
  });
});
