import { beforeEach, describe, expect, it } from 'vitest';
import { CallerSpeech } from '../../../../src/domain/caller-speech/caller-speech.js';
import {
  differsAt,
  joined,
  TOY_FRAME_SAMPLES,
  TOY_RATE_HZ,
  ToyDetector,
  toySilence,
  toySpeech,
} from '../../../support/toy-models.js';

let detector: ToyDetector;
const frames = (count: number) => count * TOY_FRAME_SAMPLES;
const listener = () => new CallerSpeech({ detector, maxSpeechMs: 30_000, inference: { priority: 'live' } });

/** Pushes `samples` in pieces of `pieceSamples`. */
function push(speech: CallerSpeech, samples: Float32Array, pieceSamples = samples.length): void {
  for (let at = 0; at < samples.length; at += pieceSamples) {
    const piece = samples.subarray(at, at + pieceSamples);
    speech.push({ samples: piece, sampleRateHz: TOY_RATE_HZ, track: 'caller', startMs: 0 });
  }
}

describe('a beginning too faint for the gate', () => {
  const silence = () => toySilence(40);
  /** A frame of speech so quiet that the gate takes it for silence; the detector would know better. */
  const onset = () => toySpeech(30, 1).map((sample) => sample * 0.004);

  beforeEach(() => {
    detector = new ToyDetector();
    detector.probabilityOf = (frame) => (Math.abs(frame[0]!) > 0.00051 ? 0.95 : 0.05);
  });

  it('is handed to detection together with what follows, and no more than one frame of it', async () => {
    const speech = listener();
    push(speech, joined(silence(), onset(), toySpeech(30, 6)));
    await speech.finish();
    expect(differsAt(speech.samples(), joined(onset(), toySpeech(30, 6)))).toBeUndefined();
    expect(differsAt(detector.heard(), joined(onset(), toySpeech(30, 6)))).toBeUndefined();
  });

  it('stays in order at every opening, and nothing is heard twice', async () => {
    const speech = listener();
    const word = joined(silence(), onset(), toySpeech(60, 6));
    push(speech, joined(word, word, word), 100);
    await speech.finish();
    const heard = detector.heard();
    const openings = Array.from({ length: heard.length / TOY_FRAME_SAMPLES }, (_, i) => i).filter(
      (i) => heard[frames(i)] === onset()[0],
    );
    expect(openings).toHaveLength(3);
    for (const at of openings) {
      expect(differsAt(heard.subarray(frames(at), frames(at + 7)), joined(onset(), toySpeech(60, 6)))).toBeUndefined();
    }
    expect(speech.qualityReport().speechFrames).toBe(speech.samples().length / TOY_FRAME_SAMPLES);
  });

  it('has nothing to add when the audio begins loud', async () => {
    const speech = listener();
    push(speech, toySpeech(30, 6));
    await speech.finish();
    expect(differsAt(detector.heard(), toySpeech(30, 6))).toBeUndefined();
  });

  it('is counted once by the quality meter, as what it is', async () => {
    // Silence at one level and a held frame at another: the median tells how many of each were counted.
    const held = toySilence(1).map((sample) => sample * 0.1);
    const noiseDbOf = async (quiet: number, loud: number) => {
      const speech = listener();
      const still = new Float32Array(frames(loud)).map((_, index) => (index % 2 ? 0.0005 : -0.0005));
      push(speech, joined(still, ...Array.from({ length: quiet }, () => held)));
      await speech.finish();
      return speech.qualityReport().noiseLevelDb!;
    };
    const lower = await noiseDbOf(2, 1);
    const upper = await noiseDbOf(1, 2);
    expect(upper - lower).toBeCloseTo(20, 0);
    expect(await noiseDbOf(1, 1)).toBe(lower);

    // Counted by the detector's judgement only: two to one for the silence. Counted twice, it would be a draw.
    const opened = listener();
    push(opened, joined(toySilence(2), held, toySpeech(30, 6)));
    await opened.finish();
    expect(opened.qualityReport()).toMatchObject({ speechFrames: 6, noiseLevelDb: upper });
  });

  it('is forgotten when the audio ends in silence', async () => {
    const speech = listener();
    push(speech, joined(toySpeech(30, 6), toySilence(30)));
    await speech.finish();
    await speech.finish();
    const asked = detector.heard().length / TOY_FRAME_SAMPLES;
    expect(asked).toBeLessThan(20);
    expect(speech.qualityReport().noiseLevelDb).toBeCloseTo(-66, 0);
  });
});
