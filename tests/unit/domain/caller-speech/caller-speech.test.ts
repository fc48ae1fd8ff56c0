import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CallerSpeech, type CallerSpeechOptions } from '../../../../src/domain/caller-speech/caller-speech.js';
import { VoiceAuthError } from '../../../../src/domain/errors.js';
import {
  differsAt,
  joined,
  settled,
  TOY_FRAME_MS,
  TOY_FRAME_SAMPLES,
  TOY_RATE_HZ,
  ToyDetector,
  toyNoise,
  toySilence,
  toySpeech,
} from '../../../support/toy-models.js';
import { failOnUnhandledRejections } from '../../../support/unhandled-rejections.js';

const BATCH_FRAMES = 8;
let detector: ToyDetector;
let faults: VoiceAuthError[];
let dropped: number;
let progress: number[];

function listener(options: Partial<CallerSpeechOptions> = {}): CallerSpeech {
  const speech: CallerSpeech = new CallerSpeech({
    detector,
    maxSpeechMs: 30_000,
    inference: { priority: 'live' },
    onSpeech: () => progress.push(speech.netSpeechMs),
    onFault: (error) => faults.push(error),
    onDropped: (frames) => {
      dropped += frames;
    },
    ...options,
  });
  return speech;
}

/** Pushes `samples` in pieces of `pieceSamples`. */
function push(speech: CallerSpeech, samples: Float32Array, pieceSamples = samples.length): void {
  for (let at = 0; at < samples.length; at += pieceSamples) {
    const piece = samples.subarray(at, at + pieceSamples);
    speech.push({ samples: piece, sampleRateHz: TOY_RATE_HZ, track: 'caller', startMs: 0 });
  }
}

const frames = (count: number) => count * TOY_FRAME_SAMPLES;

beforeEach(() => {
  detector = new ToyDetector();
  [faults, dropped, progress] = [[], 0, []];
});
failOnUnhandledRejections();

describe('net speech', () => {
  it('is what was said, sample by sample, however it was cut into frames', async () => {
    const said = toySpeech(30, 50);
    for (const piece of [1, 37, 160, TOY_FRAME_SAMPLES, 1000, said.length]) {
      const speech = listener();
      push(speech, said, piece);
      await speech.finish();
      expect(differsAt(speech.samples(), said)).toBeUndefined();
      expect(speech.netSpeechMs).toBe(50 * TOY_FRAME_MS);
      expect(speech.heardMs).toBeCloseTo(50 * TOY_FRAME_MS, 6);
    }
  });

  it('leaves out what is no speech, but for the fading end of a word', async () => {
    const speech = listener();
    push(speech, joined(toyNoise(10), toySpeech(30, 6), toyNoise(30), toySilence(20)));
    await speech.finish();
    expect(differsAt(speech.samples(), joined(toySpeech(30, 6), toyNoise(2)))).toBeUndefined();
  });

  it('starts at the upper threshold and ends at the lower one', async () => {
    // The detector's probabilities, frame by frame; two frames after an end are kept as well.
    const probabilities = [0.49, 0.5, 0.36, 0.36, 0.34, 0.49, 0.49, 0.49, 0.9, 0.1];
    const kept = [0, 1, 1, 1, 1, 1, 0, 0, 1, 1];
    let asked = 0;
    detector.probabilityOf = () => probabilities[asked++] ?? 0;
    const speech = listener();
    const said = toySpeech(30, probabilities.length);
    push(speech, said);
    await speech.finish();
    const expected = kept.flatMap((keep, index) => (keep ? [said.subarray(frames(index), frames(index + 1))] : []));
    expect(differsAt(speech.samples(), joined(...expected))).toBeUndefined();
  });

  it('does not depend on buffers that their sender reuses', async () => {
    detector.latch.close();
    const speech = listener();
    const said = toySpeech(30, 40);
    const buffer = new Float32Array(160);
    for (let at = 0; at < said.length; at += buffer.length) {
      buffer.set(said.subarray(at, at + buffer.length));
      speech.push({ samples: buffer, sampleRateHz: TOY_RATE_HZ, track: 'caller', startMs: 0 });
      buffer.fill(Number.NaN);
    }
    detector.latch.open();
    await speech.finish();
    expect(differsAt(speech.samples(), said)).toBeUndefined();
  });

  it('keeps views valid while more is said', async () => {
    const speech = listener();
    push(speech, toySpeech(30, 40));
    await settled();
    const view = speech.samples();
    const copy = view.slice();
    push(speech, toySpeech(120, 400));
    await speech.finish();
    expect(differsAt(view, copy)).toBeUndefined();
    expect(differsAt(speech.samples().subarray(0, view.length), copy)).toBeUndefined();
  });

  it('goes on when the sample rate changes, losing nothing', async () => {
    const speech = listener();
    const tone = (rateHz: number, seconds: number) =>
      Float32Array.from({ length: rateHz * seconds }, (_, i) => 0.5 * Math.sin((2 * Math.PI * 440 * i) / rateHz));
    detector.probabilityOf = () => 1;
    for (const [rateHz, seconds] of [
      [16_000, 0.32],
      [8000, 0.32],
      [24_000, 0.32],
      [16_000, 0.32],
    ] as const) {
      speech.push({ samples: tone(rateHz, seconds), sampleRateHz: rateHz, track: 'caller', startMs: 0 });
    }
    await speech.finish();
    expect(speech.heardMs).toBeCloseTo(1280, 6);
    expect(detector.heard().length).toBe(frames(40));
  });
});

describe('what is heard of whom', () => {
  it('counts mixed audio and does not use it; ignores the agent', async () => {
    const speech = listener();
    for (const track of ['mixed', 'agent', 'mixed'] as const) {
      speech.push({ samples: toySpeech(30, 25), sampleRateHz: TOY_RATE_HZ, track, startMs: 0 });
    }
    await speech.finish();
    expect(speech.heardMixedMs).toBeCloseTo(1600, 6);
    expect([speech.heardMs, speech.netSpeechMs, speech.heardCaller]).toEqual([0, 0, false]);
    expect(detector.requests).toEqual([]);
  });

  it.each([
    ['zeros', [0]],
    ['idle codes of A-law', [8]],
    ['both kinds of them by turns', [8, -8]],
  ])('tells silence from quiet: %s count as nothing, but a step more does', async (_, steps) => {
    const speech = listener();
    const repeated = (values: readonly number[]) =>
      new Float32Array(frames(30)).map((_, i) => values[i % values.length]! / 32_768);
    push(speech, repeated(steps), 160);
    expect(speech.heardMs).toBeCloseTo(960, 6);
    expect(speech.heardCaller).toBe(false);
    push(speech, repeated([8, -24]), 160);
    expect([speech.heardCaller, speech.heardAudibleMs]).toEqual([true, 0]);
    await speech.finish();
    expect(speech.netSpeechMs).toBe(0);
    expect(detector.requests).toEqual([]);
  });

  it('has an answer before anything was heard', async () => {
    const speech = listener();
    expect([speech.heardMs, speech.heardMixedMs, speech.netSpeechMs]).toEqual([0, 0, 0]);
    expect([speech.heardCaller, speech.full]).toEqual([false, false]);
    expect(speech.samples()).toHaveLength(0);
    await speech.ready();
    await speech.finish();
    expect(speech.qualityReport().speechFrames).toBe(0);
  });
});

describe('detection', () => {
  it('is asked for whole batches, one at a time, while the call goes on', async () => {
    const speech = listener();
    push(speech, toySpeech(30, BATCH_FRAMES - 1), 100);
    await settled();
    expect(detector.requests).toEqual([]);
    push(speech, toySpeech(30, 3 * BATCH_FRAMES + 1), 100);
    await settled();
    expect(detector.requests.map((request) => request.length)).toEqual(Array(4).fill(frames(BATCH_FRAMES)));
    expect(detector.mostAtOnce).toBe(1);
    expect(progress).toEqual([256, 512, 768, 1024]);
  });

  it('judges at the end what is less than a batch', async () => {
    const speech = listener();
    push(speech, toySpeech(30, BATCH_FRAMES + 3));
    await settled();
    expect(speech.netSpeechMs).toBe(BATCH_FRAMES * TOY_FRAME_MS);
    await speech.finish();
    expect(speech.netSpeechMs).toBe((BATCH_FRAMES + 3) * TOY_FRAME_MS);
  });

  it('judges at the end what the resampler still held', async () => {
    const speech = listener();
    detector.probabilityOf = () => 1;
    const samples = Float32Array.from({ length: 16_000 * 0.32 }, (_, i) => 0.5 * Math.sin(i / 5));
    speech.push({ samples, sampleRateHz: 16_000, track: 'caller', startMs: 0 });
    await settled();
    expect(detector.heard().length).toBeLessThan(frames(10));
    await speech.finish();
    expect(detector.heard().length).toBe(frames(10));
  });

  it('may be finished twice, and at the same time', async () => {
    const speech = listener();
    push(speech, toySpeech(30, 20));
    await Promise.all([speech.finish(), speech.finish()]);
    await speech.finish();
    expect(differsAt(speech.samples(), toySpeech(30, 20))).toBeUndefined();
    expect(detector.mostAtOnce).toBe(1);
  });

  it('finishes with a detector whose frames do not divide the waiting room', async () => {
    class OddDetector extends ToyDetector {
      override readonly frameSamples = 240;
    }
    detector = new OddDetector();
    detector.latch.close();
    const speech = listener();
    push(speech, toySpeech(30, 400), 160);
    detector.latch.open();
    await speech.finish();
    expect(dropped).toBeGreaterThan(0);
    expect(speech.netSpeechMs).toBeGreaterThan(7000);
  });

  it('loses the oldest when it cannot keep up, counts it, and stays bounded', async () => {
    detector.latch.close();
    const speech = listener();
    const said = toySpeech(30, 500);
    push(speech, said, 160);
    // One batch is out, eight seconds wait.
    const waiting = 8000 / TOY_FRAME_MS;
    expect(dropped).toBe(500 - BATCH_FRAMES - waiting);
    detector.latch.open();
    await speech.finish();
    const newest = said.subarray(said.length - frames(waiting));
    expect(differsAt(speech.samples(), joined(said.subarray(0, frames(BATCH_FRAMES)), newest))).toBeUndefined();
  });

  it('holds a fast source back until less than half of the room is used', async () => {
    detector.latch.close();
    const speech = listener();
    push(speech, toySpeech(30, BATCH_FRAMES + 124));
    await speech.ready();
    push(speech, toySpeech(30, 8));
    let free = false;
    const waiting = speech.ready().then(() => {
      free = true;
    });
    await settled();
    expect(free).toBe(false);
    detector.latch.open();
    await waiting;
    expect(dropped).toBe(0);
    await speech.finish();
    expect(speech.netSpeechMs).toBe((BATCH_FRAMES + 132) * TOY_FRAME_MS);
  });

  it('stops when the store is full, and what comes after costs nothing', async () => {
    const speech = listener({ maxSpeechMs: 2000 });
    push(speech, toySpeech(30, 1000), 160);
    await speech.finish();
    expect(speech.full).toBe(true);
    expect(speech.netSpeechMs).toBe(2000);
    expect(differsAt(speech.samples(), toySpeech(30, 1000).subarray(0, TOY_RATE_HZ * 2))).toBeUndefined();
    const asked = detector.requests.length;
    expect(asked * BATCH_FRAMES * TOY_FRAME_MS).toBeLessThan(2000 + 2 * BATCH_FRAMES * TOY_FRAME_MS);
    push(speech, toySpeech(30, 1000), 160);
    await settled();
    await speech.finish();
    expect(detector.requests.length).toBe(asked);
    expect(speech.netSpeechMs).toBe(2000);
  });
});

describe('a fault of detection', () => {
  const busy = new VoiceAuthError('Busy', 'Too many requests wait');

  it('is told once, and thrown by everyone who waits', async () => {
    const speech = listener();
    const gone = new VoiceAuthError('InferenceUnavailable', 'The model is gone');
    detector.failure = gone;
    push(speech, toySpeech(30, 100), 160);
    await settled();
    push(speech, toySpeech(30, 100), 160);
    await settled();
    expect(faults).toEqual([gone]);
    expect(detector.requests).toHaveLength(1);
    await expect(speech.ready()).rejects.toBe(gone);
    await expect(speech.finish()).rejects.toBe(gone);
    await expect(speech.finish()).rejects.toBe(gone);
  });

  it('is none for a live call when the pool is only busy: the same audio is judged later, nothing is lost', async () => {
    const speech = listener();
    const spoken = toySpeech(30, 6 * BATCH_FRAMES);
    const third = spoken.length / 3;
    push(speech, spoken.subarray(0, third));
    await settled();
    detector.failure = busy;
    push(speech, spoken.subarray(third, 2 * third));
    await settled();
    detector.failure = undefined;
    push(speech, spoken.subarray(2 * third));
    await settled();
    await speech.finish();
    expect(faults).toEqual([]);
    expect(differsAt(speech.samples(), spoken)).toBeUndefined();
  });

  it('ends with a full store, also when a batch was put off', async () => {
    const speech = listener({ maxSpeechMs: BATCH_FRAMES * TOY_FRAME_MS });
    detector.failure = busy;
    push(speech, toySpeech(30, BATCH_FRAMES));
    await settled();
    detector.failure = undefined;
    push(speech, toySpeech(30, 3 * BATCH_FRAMES));
    await speech.finish();
    expect(speech.full).toBe(true);
  });

  it('keeps the speech that was found before', async () => {
    const speech = listener();
    const gone = new VoiceAuthError('InferenceUnavailable', 'The model is gone');
    push(speech, toySpeech(30, BATCH_FRAMES));
    await settled();
    detector.failure = gone;
    push(speech, toySpeech(30, BATCH_FRAMES));
    await expect(speech.finish()).rejects.toBe(gone);
    expect(faults).toEqual([gone]);
    expect(differsAt(speech.samples(), toySpeech(30, BATCH_FRAMES))).toBeUndefined();
  });

  it('is none either when the pool is busy at the end of a live call: what was not judged is dropped, and told', async () => {
    const speech = listener();
    const before = toySpeech(30, BATCH_FRAMES);
    push(speech, before);
    await settled();
    detector.failure = busy;
    // A batch that was put off once already, and less than one behind it.
    push(speech, before);
    await settled();
    push(speech, toySpeech(30, 3));
    await expect(speech.finish()).rejects.toBe(busy);
    expect([faults, dropped]).toEqual([[], BATCH_FRAMES + 3]);
    expect(differsAt(speech.samples(), before)).toBeUndefined();
    detector.failure = undefined;
    // The call was connected to again.
    push(speech, before);
    await speech.finish();
    expect(differsAt(speech.samples(), joined(before, before))).toBeUndefined();
  });

  it('reaches those who wait already', async () => {
    detector.latch.close();
    const speech = listener({ inference: { priority: 'upload' } });
    push(speech, toySpeech(30, 200));
    const [ready, finished] = [speech.ready(), speech.finish()];
    detector.failure = busy;
    detector.latch.open();
    await expect(ready).rejects.toBe(busy);
    await expect(finished).rejects.toBe(busy);
  });

  it('does not show what a stranger of an error says', async () => {
    const speech = listener();
    const cause = new Error('failed for wss://example.test/secret');
    detector.failure = cause;
    push(speech, toySpeech(30, 20));
    const error: unknown = await speech.finish().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'InternalError', cause });
    expect((error as Error).message).not.toContain('secret');
    expect(faults).toEqual([error]);
  });
});

describe('stopping', () => {
  it('judges nothing more, whatever was still on its way, and keeps what there is', async () => {
    const speech = listener();
    push(speech, toySpeech(30, BATCH_FRAMES));
    await settled();
    detector.latch.close();
    push(speech, toySpeech(30, 5 * BATCH_FRAMES));
    const finished = speech.finish();
    speech.stop();
    detector.latch.open();
    await finished;
    push(speech, toySpeech(30, 5 * BATCH_FRAMES));
    await speech.finish();
    await settled();
    expect(differsAt(speech.samples(), toySpeech(30, BATCH_FRAMES))).toBeUndefined();
    expect([detector.requests.length, progress.length]).toEqual([2, 1]);
  });

  it('reports no fault of work that nobody waits for', async () => {
    detector.latch.close();
    const speech = listener();
    push(speech, toySpeech(30, BATCH_FRAMES));
    speech.stop();
    detector.failure = new VoiceAuthError('InferenceUnavailable', 'The speaker model is not running.');
    detector.latch.open();
    await settled();
    expect(faults).toEqual([]);
    await speech.finish();
  });
});

describe('clipping', () => {
  /** A voice-like tone with pauses, cut off at full scale, as it comes at another rate. */
  const tone = (rateHz: number, gain: number, toneHz = 350) =>
    Float32Array.from({ length: rateHz * 2 }, (_, i) => {
      const speaking = Math.floor((i * 4) / rateHz) % 2 === 0;
      return speaking ? Math.max(-1, Math.min(1, gain * Math.sin((2 * Math.PI * toneHz * i) / rateHz))) : 0;
    });
  const clippedRatioOf = async (rateHz: number, gain: number, toneHz?: number) => {
    detector.probabilityOf = (frame) => (frame.some((sample) => Math.abs(sample) > 0.05) ? 0.95 : 0.05);
    const speech = listener();
    speech.push({ samples: tone(rateHz, gain, toneHz), sampleRateHz: rateHz, track: 'caller', startMs: 0 });
    await speech.finish();
    return speech.qualityReport().clippedRatio;
  };

  it('is counted before resampling rounds it off', async () => {
    // At the detector's rate such a top lasts less than two samples.
    expect(await clippedRatioOf(48_000, 2, 1500)).toBeGreaterThan(0.5);
    expect(await clippedRatioOf(48_000, 0.9, 1500)).toBe(0);
  });

  it.each([8000, 16_000, 24_000])('is seen in audio of %i Hz, whatever resampling makes of it', async (rateHz) => {
    expect(await clippedRatioOf(rateHz, 4)).toBeGreaterThan(0.5);
    expect(await clippedRatioOf(rateHz, 0.7)).toBe(0);
  });
});

describe('speech that continues earlier speech', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('begins with what was kept since then, and with its noise and clipping', async () => {
    const clock = vi.spyOn(performance, 'now');
    clock.mockReturnValue(1000);
    const earlier = listener();
    push(earlier, joined(toySpeech(30, 16), toyNoise(10, 0.05)));
    await earlier.finish();
    clock.mockReturnValue(2000);
    push(earlier, toySpeech(60, 16));
    await earlier.finish();
    expect(earlier.firstKeptAt).toBe(1000);

    const speech = listener({ continues: { speech: earlier, keptSince: 2000 } });
    expect(differsAt(speech.samples(), toySpeech(60, 16))).toBeUndefined();
    expect([speech.firstKeptAt, speech.heardCaller, speech.heardMs]).toEqual([2000, true, 16 * TOY_FRAME_MS]);
    expect(speech.qualityReport()).toEqual(earlier.qualityReport());
    push(speech, toySpeech(90, 8));
    await speech.finish();
    expect(differsAt(speech.samples(), joined(toySpeech(60, 16), toySpeech(90, 8)))).toBeUndefined();
  });

  it('counts speech from when it came, however late it was judged', async () => {
    const clock = vi.spyOn(performance, 'now');
    clock.mockReturnValue(1000);
    const earlier = listener();
    // More than a batch: what comes behind it waits.
    push(earlier, toySpeech(30, 32));
    clock.mockReturnValue(9000);
    await earlier.finish();
    expect([earlier.netSpeechMs, earlier.firstKeptAt]).toEqual([32 * TOY_FRAME_MS, 1000]);
    const speech = listener({ continues: { speech: earlier, keptSince: 5000 } });
    expect(speech.netSpeechMs).toBe(0);
  });

  it('is empty when nothing was kept since then', async () => {
    const earlier = listener({ maxSpeechMs: 1.5 * TOY_FRAME_MS });
    push(earlier, toySpeech(30, 8));
    await earlier.finish();
    for (const keptSince of [performance.now() + 1000, Number.POSITIVE_INFINITY]) {
      const speech = listener({ continues: { speech: earlier, keptSince } });
      expect([speech.netSpeechMs, speech.firstKeptAt]).toEqual([0, Number.POSITIVE_INFINITY]);
    }
  });
});
