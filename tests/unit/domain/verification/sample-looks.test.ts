import { beforeEach, describe, expect, it } from 'vitest';
import { CallerSpeech } from '../../../../src/domain/caller-speech/caller-speech.js';
import { SampleLooks } from '../../../../src/domain/verification/sample-looks.js';
import {
  direction,
  TOY_FRAME_SAMPLES,
  TOY_MODEL_ID,
  TOY_RATE_HZ,
  ToyDetector,
  ToyEmbedder,
  toyCalibration,
  toyScorer,
  toySpeech,
} from '../../../support/toy-models.js';

const SECOND = TOY_RATE_HZ / TOY_FRAME_SAMPLES;
const inference = { priority: 'live' } as const;

let embedder: ToyEmbedder;
let speech: CallerSpeech;

function sampleLooks(wantedMs: number, minSpeechMs = 2000, finalShare?: number): SampleLooks {
  const { sequential, futility } = toyCalibration();
  const voiceprint = { modelId: TOY_MODEL_ID, centroid: direction(0), sampleCount: 1, netSpeechMs: 8000, version: 1 };
  const samples = [{ id: 'sample', embedding: direction(-8), netSpeechMs: 8000 }];
  return new SampleLooks({
    embedder,
    scorer: toyScorer(),
    user: { userId: 'user', phone: undefined, lockedUntil: undefined, voiceprint, samples },
    voiceprint,
    rule: { threshold: 0.82, minSpeechMs, ...sequential, finalShare: finalShare ?? sequential.finalShare, futility },
    inference,
    wantedMs,
  });
}

/** So many seconds of net speech of the voice at `degrees`, rounded up to frames. */
async function say(degrees: number, seconds: number): Promise<void> {
  const samples = toySpeech(degrees, Math.ceil(seconds * SECOND));
  speech.push({ samples, sampleRateHz: TOY_RATE_HZ, track: 'caller', startMs: 0 });
  await speech.finish();
}

/** Looks while there is enough speech, the last time at all there is if `final`; the lengths that were looked at. */
async function lookOn(looks: SampleLooks, final = false): Promise<number[]> {
  while (!looks.complete) {
    const last = speech.netSpeechMs < looks.nextLookMs;
    if (last && (!final || speech.netSpeechMs < looks.leastMs)) break;
    const verdict = await looks.look(speech, last);
    if (verdict.kind === 'decided' && verdict.decision !== 'accept') break;
  }
  return embedder.windowsMs;
}

beforeEach(() => {
  embedder = new ToyEmbedder();
  speech = new CallerSpeech({ detector: new ToyDetector(), maxSpeechMs: 30_000, inference });
});

describe('a sample', () => {
  it.each([
    [3000, 2000, [2000, 2000]],
    [3000, 2900, [2900, 2900]],
    [4000, 2000, [2000, 2000]],
    [5000, 2000, [2000, 3000]],
    [5000, 2300.0000000000005, [2300, 2700]],
    [2000, 2000, [2000]],
    [1500, 2000, [2000]],
  ])(
    'of %d ms takes no more speech than that and a decision need (%d ms)',
    async (wantedMs, minSpeechMs, windowsMs) => {
      const neededMs = Math.max(wantedMs, minSpeechMs);
      await say(1, neededMs / 1000);
      const looks = sampleLooks(wantedMs, minSpeechMs);
      expect(await lookOn(looks)).toEqual(windowsMs);
      expect(looks.complete).toBe(true);
      expect(looks.sampleOf(speech).netSpeechMs).toBe(neededMs);
    },
  );

  it('has a last stretch that is accepted by itself, also where it begins before the end of the one before', async () => {
    await say(1, 2);
    await say(90, 1);
    const looks = sampleLooks(3000);
    await lookOn(looks, true);
    expect(looks.complete).toBe(false);
    expect(looks.sampleOf(speech).netSpeechMs).toBe(2000);
  });

  it('goes on from a stretch that took more than one look', async () => {
    await say(20, 2.4);
    await say(1, 1.6);
    const looks = sampleLooks(3500);
    // Accepted at the second look, at 3 s; what is left is 0.5 s.
    expect(await lookOn(looks)).toEqual([2000, 3000, 2000]);
    expect(looks.complete).toBe(true);
    expect(looks.sampleOf(speech).netSpeechMs).toBe(3500);
  });

  it('is looked at as often as the budget was fitted for, however much speech may be used, and once at the end', async () => {
    speech = new CallerSpeech({ detector: new ToyDetector(), maxSpeechMs: 60_000, inference });
    for (let i = 0; i < 15; i++) await say(40, 3);
    const looks = sampleLooks(5000);
    await lookOn(looks);
    expect([looks.looks, looks.decidedFromMs]).toEqual([28, 29_000]);
    expect(await looks.look(speech, true)).toMatchObject({ kind: 'decided', decision: 'reject', reason: 'no_match' });
    expect(looks.decidedFromMs).toBeGreaterThanOrEqual(45_000);
  });

  it('spends no more than its share on the last look at a stretch that was looked at before', async () => {
    await say(22, 2.5);
    const [again, once] = [sampleLooks(2000, 2000, 0.3), sampleLooks(2000, 2000, 0.3)];
    expect((await again.look(speech, false)).kind).toBe('listen');
    expect(await again.look(speech, true)).toMatchObject({ decision: 'reject', reason: 'no_match' });
    expect(await once.look(speech, true)).toMatchObject({ decision: 'accept' });
    expect([again.complete, once.complete]).toEqual([false, true]);
  });
});
