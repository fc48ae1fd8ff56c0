import { beforeEach, describe, expect, it, vi } from 'vitest';
import { SpeechEmbedding } from '../../../../src/domain/caller-speech/speech-embedding.js';
import { VoiceAuthError } from '../../../../src/domain/errors.js';
import { poolEmbeddings } from '../../../../src/domain/scoring/embedding.js';
import {
  degreesOf,
  direction,
  joined,
  settled,
  TOY_RATE_HZ,
  ToyEmbedder,
  toySpeech,
} from '../../../support/toy-models.js';
import { failOnUnhandledRejections } from '../../../support/unhandled-rejections.js';

const upload = { priority: 'upload' } as const;
/** Speech of the voice at `degrees`, exactly `seconds` long. */
const voice = (degrees: number, seconds: number) =>
  toySpeech(degrees, Math.ceil((seconds * TOY_RATE_HZ) / 256)).subarray(0, seconds * TOY_RATE_HZ);

let embedder: ToyEmbedder;
let embedding: SpeechEmbedding;
beforeEach(() => {
  embedder = new ToyEmbedder();
  embedding = new SpeechEmbedding(embedder);
});

failOnUnhandledRejections();

describe('SpeechEmbedding', () => {
  it('pools windows by their length', async () => {
    // Windows of 4 s and 2 s, of two people.
    const probe = await embedding.embed(joined(voice(20, 4), voice(80, 2)), upload);
    expect(embedder.windowsMs).toEqual([4000, 2000]);
    const expected = poolEmbeddings([
      { embedding: direction(20), weight: 2 },
      { embedding: direction(80), weight: 1 },
    ]);
    expect(degreesOf(probe)).toBeCloseTo(degreesOf(expected), 3);
  });

  it('embeds finished windows once while a call goes on, and only the newest one again', async () => {
    const call = voice(30, 13);
    for (const seconds of [2, 3, 4, 5, 6.5, 8, 9, 13]) {
      await embedding.embed(call.subarray(0, seconds * TOY_RATE_HZ), upload);
    }
    expect(embedder.windowsMs).toEqual([
      2000, 3000, 4000,
      // From here on the first four seconds are done.
      1000, 2500, 4000,
      // And the second four.
      1000, 4000, 1000,
    ]);
  });

  it('says the same of speech heard at once and bit by bit', async () => {
    const call = joined(voice(10, 5), voice(50, 3), voice(90, 2.5));
    for (const seconds of [2, 4.5, 7, 10]) await embedding.embed(call.subarray(0, seconds * TOY_RATE_HZ), upload);
    const [bitByBit, atOnce] = [
      await embedding.embed(call, upload),
      await new SpeechEmbedding(new ToyEmbedder()).embed(call, upload),
    ];
    expect(bitByBit).toEqual(atOnce);
  });

  it('looks a little back for a last window that would be too short', async () => {
    await embedding.embed(voice(30, 4.25), upload);
    expect(embedder.windowsMs).toEqual([4000, 1000]);
  });

  it('does not embed what is too short, and says how short it is', async () => {
    await expect(embedding.embed(voice(30, 0.75), upload)).rejects.toMatchObject({
      code: 'AudioProcessingError',
      details: { check: 'net_speech_ms', found: 750, needed: 1000 },
    });
    await expect(embedding.embed(new Float32Array(0), upload)).rejects.toMatchObject({ code: 'AudioProcessingError' });
    expect(embedder.windowsMs).toEqual([]);
  });

  it('remembers nothing of a window that failed', async () => {
    embedder.failure = new VoiceAuthError('Busy', 'Too many requests wait');
    await expect(embedding.embed(voice(30, 4), upload)).rejects.toBe(embedder.failure);
    embedder.failure = undefined;
    expect(degreesOf(await embedding.embed(voice(30, 4), upload))).toBeCloseTo(30, 3);
    expect(embedder.windowsMs).toEqual([4000, 4000]);
  });

  it('stops asking when it was told to', async () => {
    const signal = AbortSignal.abort(new Error('gone'));
    await expect(embedding.embed(voice(30, 9), { ...upload, signal })).rejects.toThrow('gone');
    expect(embedder.windowsMs).toEqual([]);
  });
});

describe('several who embed the same speech', () => {
  it('share each window, however late its embedding comes', async () => {
    embedder.latch.close();
    const call = voice(30, 9);
    const probes = Array.from({ length: 4 }, () => embedding.embed(call, upload));
    await settled();
    expect(embedder.windowsMs).toEqual([4000]);
    probes.push(embedding.embed(call, upload));
    embedder.latch.open();
    const [first, ...others] = await Promise.all(probes);
    for (const other of others) expect(other).toEqual(first);
    expect(await embedding.embed(call, upload)).toEqual(first);
    expect(embedder.windowsMs).toEqual([4000, 4000, 1000]);
    expect(embedder.mostAtOnce).toBe(1);
  });

  it('keep the newest unfinished window, and no other', async () => {
    const call = voice(30, 3);
    for (const seconds of [2, 2, 3, 3, 2]) await embedding.embed(call.subarray(0, seconds * TOY_RATE_HZ), upload);
    expect(embedder.windowsMs).toEqual([2000, 3000, 2000]);
  });

  it('share a failure, of which nothing stays', async () => {
    embedder.latch.close();
    const busy = new VoiceAuthError('Busy', 'Too many requests wait');
    embedder.failure = busy;
    const probes = Array.from({ length: 3 }, () => embedding.embed(voice(30, 4), upload));
    embedder.latch.open();
    expect(await Promise.allSettled(probes)).toEqual(Array(3).fill({ status: 'rejected', reason: busy }));
    expect(embedder.windowsMs).toEqual([4000]);
    embedder.failure = undefined;
    expect(degreesOf(await embedding.embed(voice(30, 4), upload))).toBeCloseTo(30, 3);
  });

  it('are not given up with the one who asked first', async () => {
    const asker = new AbortController();
    embedder.latch.close();
    const asked = embedding.embed(voice(30, 4), { ...upload, signal: asker.signal });
    const others = [embedding.embed(voice(30, 4), upload), embedding.embed(voice(30, 4), upload)];
    asker.abort();
    await expect(asked).rejects.toBe(asker.signal.reason);
    embedder.latch.open();
    for (const probe of await Promise.all(others)) expect(degreesOf(probe)).toBeCloseTo(30, 3);
    expect(embedder.windowsMs).toEqual([4000, 4000]);
  });

  it('ask no more once all of them have left', async () => {
    const embed = vi.spyOn(embedder, 'embed');
    const askers = [new AbortController(), new AbortController()];
    embedder.latch.close();
    embedder.failure = new Error('given up');
    const probes = askers.map(({ signal }) => embedding.embed(voice(30, 4), { ...upload, signal }));
    for (const asker of askers) asker.abort();
    embedder.latch.open();
    expect((await Promise.allSettled(probes)).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(embed).toHaveBeenCalledOnce();
  });
});
