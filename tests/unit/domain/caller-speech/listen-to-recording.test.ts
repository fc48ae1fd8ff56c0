import { beforeEach, describe, expect, it } from 'vitest';
import { WorkLimit } from '../../../../src/domain/admission.js';
import { CallerSpeech } from '../../../../src/domain/caller-speech/caller-speech.js';
import { listenToRecording, type RecordingSource } from '../../../../src/domain/caller-speech/listen-to-recording.js';
import { VoiceAuthError } from '../../../../src/domain/errors.js';
import {
  differsAt,
  joined,
  settled,
  TOY_FRAME_MS,
  TOY_RATE_HZ,
  ToyDetector,
  toyNoise,
  toySilence,
  toySpeech,
} from '../../../support/toy-models.js';

let detector: ToyDetector;
let dropped: number;
let speech: CallerSpeech;
let recordings: WorkLimit;
/** What was asked of the ports: URLs and bytes. */
let fetched: string[];
let decoded: Uint8Array[];
const never = new AbortController().signal;
const BYTES = Uint8Array.of(82, 73, 70, 70);

/** Listens to a recording with these channels. */
function listen(
  channels: readonly Float32Array[],
  channel?: 0 | 1,
  { signal = never, source = { kind: 'upload', bytes: BYTES, channel } as RecordingSource } = {},
): Promise<void> {
  return listenToRecording(source, speech, {
    fetcher: {
      fetch: async (url) => {
        fetched.push(url);
        return BYTES;
      },
    },
    decoder: {
      decode: async (bytes) => {
        decoded.push(bytes);
        return { channels, sampleRateHz: TOY_RATE_HZ, format: 'wav/pcm_s16le' };
      },
    },
    recordings,
    signal,
  });
}

function newSpeech(maxSpeechMs: number): CallerSpeech {
  return new CallerSpeech({
    detector,
    maxSpeechMs,
    inference: { priority: 'upload' },
    onDropped: (frames) => {
      dropped += frames;
    },
  });
}

beforeEach(() => {
  detector = new ToyDetector();
  dropped = 0;
  [fetched, decoded] = [[], []];
  recordings = new WorkLimit({ max: 2, what: 'recordings', retryAfterSeconds: 1 });
  speech = newSpeech(30_000);
});

describe('listenToRecording', () => {
  it('hears all of it, and loses nothing to its own speed', async () => {
    const said = toySpeech(30, 900);
    await listen([said]);
    expect(differsAt(speech.samples(), said)).toBeUndefined();
    expect(dropped).toBe(0);
    expect(detector.mostAtOnce).toBe(1);
  });

  it('stops at the most that is used', async () => {
    speech = newSpeech(3000);
    await listen([toySpeech(30, 3000)]);
    expect(speech.netSpeechMs).toBe(3000);
    expect(detector.heard().length / TOY_RATE_HZ).toBeLessThan(6);
  });

  it('waits for detection instead of filling the memory', async () => {
    detector.latch.close();
    const listening = listen([toySpeech(30, 3000)]);
    await settled();
    expect(speech.heardMs).toBeLessThan(6000);
    detector.latch.open();
    await listening;
    expect(dropped).toBe(0);
    expect(speech.full).toBe(true);
  });

  it.each([
    ['the same on both sides', toySpeech(30, 20), toySpeech(30, 20)],
    ['louder on one side', toySpeech(30, 20), toySpeech(30, 20).map((sample) => sample * 0.6)],
  ])('takes the mean of two channels that are %s', async (_, left, right) => {
    await listen([left, right]);
    const mean = left.map((sample, i) => Math.fround(0.5 * sample + 0.5 * right[i]!));
    expect(differsAt(detector.heard(), mean)).toBeUndefined();
  });

  it('does not guess which of two different channels is the caller', async () => {
    const channels = [joined(toySpeech(30, 20), toySilence(20)), joined(toySilence(20), toySpeech(90, 20))];
    await expect(listen(channels)).rejects.toMatchObject({
      code: 'AudioProcessingError',
      details: { check: 'channels', found: 2, needed: 1 },
    });
    expect(speech.heardMs).toBe(0);
  });

  it('takes the channel it was told, and only that', async () => {
    const channels = [toySpeech(30, 20), toyNoise(20)];
    await listen(channels, 0);
    expect(differsAt(speech.samples(), toySpeech(30, 20))).toBeUndefined();
    speech = newSpeech(30_000);
    await listen(channels, 1);
    expect(speech.netSpeechMs).toBe(0);
  });

  it('takes the channel it was told even when both are alike', async () => {
    const left = toySpeech(30, 20);
    await listen([left, left.map((sample) => sample * 0.5)], 1);
    expect(detector.heard()[0]).toBeCloseTo(left[0]! * 0.5, 6);
  });

  it('names what is missing', async () => {
    await expect(listen([toySpeech(30, 20)], 1)).rejects.toMatchObject({
      code: 'AudioProcessingError',
      message: 'The recording has no channel 1',
      details: { check: 'channels', found: 1, needed: 2 },
    });
  });

  it('is through at once with a recording of nothing', async () => {
    await listen([new Float32Array(0)]);
    await listen([]);
    expect([speech.heardMs, speech.heardCaller]).toEqual([0, false]);
  });

  it('judges also what is shorter than a batch of the detector', async () => {
    await listen([toySpeech(30, 3)]);
    expect(speech.netSpeechMs).toBe(3 * TOY_FRAME_MS);
  });

  it('gives up when the asker does, also in the middle', async () => {
    const asker = new AbortController();
    detector.latch.close();
    const listening = listen([toySpeech(30, 3000)], undefined, { signal: asker.signal });
    await settled();
    asker.abort();
    detector.latch.open();
    await expect(listening).rejects.toMatchObject({ code: 'Timeout' });
    await expect(listen([toySpeech(30, 10)], undefined, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'Timeout',
    });
  });

  it('passes on what detection failed with, in the middle and at the end', async () => {
    detector.failure = new VoiceAuthError('Busy', 'Too many requests wait');
    await expect(listen([toySpeech(30, 3000)])).rejects.toBe(detector.failure);
    speech = newSpeech(30_000);
    await expect(listen([toySpeech(30, 3)])).rejects.toBe(detector.failure);
  });

  it('fetches what is given as a URL, and decodes what came', async () => {
    const audioUrl = 'https://recordings.example/alice.wav';
    await listen([toySpeech(30, 20)], undefined, { source: { kind: 'audio_url', audioUrl, channel: undefined } });
    expect([fetched, decoded]).toEqual([[audioUrl], [BYTES]]);
    expect(speech.netSpeechMs).toBe(20 * TOY_FRAME_MS);
  });

  it('keeps no more recordings in memory than allowed, and makes room again whatever happens', async () => {
    detector.latch.close();
    const listening = [listen([toySpeech(30, 300)]), listen([toySpeech(30, 300)])];
    speech = newSpeech(30_000);
    await settled();
    await expect(listen([toySpeech(30, 3)])).rejects.toMatchObject({ code: 'Busy', retryAfterSeconds: 1 });
    expect([decoded.length, recordings.active]).toEqual([2, 2]);
    detector.latch.open();
    await Promise.all(listening);
    detector.failure = new VoiceAuthError('Busy', 'Too many requests wait');
    await expect(listen([toySpeech(30, 3)])).rejects.toBe(detector.failure);
    await expect(listen([toySpeech(30, 3)], 1)).rejects.toMatchObject({ code: 'AudioProcessingError' });
    expect(recordings.active).toBe(0);
  });

  it('lets others work in between, even when there is nothing to detect', async () => {
    let turns = 0;
    let over = false;
    const count = () => {
      turns++;
      if (!over) setImmediate(count);
    };
    setImmediate(count);
    await listen([new Float32Array(TOY_RATE_HZ * 20)]);
    over = true;
    expect(turns).toBeGreaterThanOrEqual(20);
  });

  it('tells two people apart in a recording of any length', async () => {
    // Alternating seconds, so that a look at the beginning alone would not do.
    const turns = (first: number) =>
      joined(...Array.from({ length: 60 }, (_, i) => (i % 2 === first ? toySpeech(30, 31) : toySilence(31))));
    await expect(listen([turns(0), turns(1)])).rejects.toMatchObject({ details: { check: 'channels' } });
    speech = newSpeech(3000);
    await listen([turns(0), turns(0).map((sample) => sample * 0.5)]);
    expect(speech.full).toBe(true);
  });
});
