import { describe, expect, it } from 'vitest';
import { degrade, needsNoise, parseDegradation, type Sound } from '../../../src/eval-run/degradations.js';
import { cutSegment, parseSegment, segmentName } from '../../../src/eval-run/segments.js';
import { randomGenerator } from '../../../src/evaluation/random.js';

const deps = { codec: undefined, noise: undefined, seed: 5 };
const sine = (hz: number, sampleRateHz = 16_000, amplitude = 0.3): Sound => ({
  samples: Float32Array.from(
    { length: sampleRateHz },
    (_, i) => amplitude * Math.sin((2 * Math.PI * hz * i) / sampleRateHz),
  ),
  sampleRateHz,
});
const power = (samples: Float32Array) => samples.reduce((sum, value) => sum + value * value, 0) / samples.length;
const difference = (a: Sound, b: Sound) => a.samples.map((value, i) => value - b.samples[i]!);

describe('conditions', () => {
  it.each(['mulaw', 'alaw'])('%s goes through 8 kHz and 8 bits: quiet, but not silent, noise', async (name) => {
    const clean = sine(440, 8000);
    const coded = await degrade(clean, parseDegradation(name), deps);
    expect(coded.sampleRateHz).toBe(8000);
    const snrDb = 10 * Math.log10(power(clean.samples) / power(difference(coded, clean)));
    expect(snrDb).toBeGreaterThan(33);
    expect(snrDb).toBeLessThan(45);
  });

  it('band-8k keeps what a telephone carries and drops the rest', async () => {
    const low = await degrade(sine(1000), parseDegradation('band-8k'), deps);
    const high = await degrade(sine(6000), parseDegradation('band-8k'), deps);
    expect(power(low.samples)).toBeCloseTo(power(sine(1000).samples), 3);
    expect(power(high.samples)).toBeLessThan(1e-6);
  });

  it.each([20, 10, 0])('white noise is %d dB below the speech', async (snrDb) => {
    const clean = sine(300);
    const noisy = await degrade(clean, parseDegradation(`white-${snrDb}db`), deps);
    const found = 10 * Math.log10(power(clean.samples) / power(difference(noisy, clean)));
    expect(found).toBeCloseTo(snrDb, 1);
  });

  it('noise comes from the folder, round and round, at its own level, and the same in every run', async () => {
    const random = randomGenerator(1);
    const noise = { samples: Float32Array.from({ length: 999 }, () => random() - 0.5), sampleRateHz: 16_000 };
    const clean = sine(300);
    const noisy = await degrade(clean, parseDegradation('noise-5db'), { ...deps, noise });
    const added = difference(noisy, clean);
    expect(10 * Math.log10(power(clean.samples) / power(added))).toBeCloseTo(5, 1);
    for (let i = 0; i < 3000; i++) expect(added[i]).toBeCloseTo(added[i + 999]!, 5);
    expect((await degrade(clean, parseDegradation('noise-5db'), { ...deps, noise })).samples).toEqual(noisy.samples);
    expect((await degrade(clean, parseDegradation('noise-5db'), { ...deps, noise, seed: 6 })).samples).not.toEqual(
      noisy.samples,
    );
  });

  it('scales down what would clip, and leaves silence alone', async () => {
    const loud = await degrade(sine(300, 16_000, 0.99), parseDegradation('white--5db'), deps);
    expect(Math.max(...loud.samples.map(Math.abs))).toBeCloseTo(1, 5);
    const silence = { samples: new Float32Array(100), sampleRateHz: 8000 };
    expect((await degrade(silence, parseDegradation('white-10db'), deps)).samples).toEqual(silence.samples);
  });

  it('draw a room and a handset for every recording: the handset at 8 kHz, neither louder than can be', async () => {
    const loud = sine(700, 16_000, 1);
    const heard = await degrade(loud, parseDegradation('room+handset'), deps);
    expect(heard.sampleRateHz).toBe(8000);
    expect(Math.max(...heard.samples.map(Math.abs))).toBeLessThanOrEqual(1);
    expect(await degrade(loud, parseDegradation('room+handset'), deps)).toEqual(heard);
    expect((await degrade(loud, parseDegradation('room+handset'), { ...deps, seed: 6 })).samples).not.toEqual(
      heard.samples,
    );
  });

  it('draws each step on its own: noise twice is not the same noise twice as loud', async () => {
    const clean = sine(300, 16_000, 0.01);
    const once = await degrade(clean, parseDegradation('white-10db'), deps);
    const twice = await degrade(clean, parseDegradation('white-10db+white-10db'), deps);
    const [first, second] = [difference(once, clean), difference(twice, once)];
    const product = first.reduce((sum, value, i) => sum + value * second[i]!, 0) / first.length;
    expect(Math.abs(product)).toBeLessThan(0.1 * Math.sqrt(power(first) * power(second)));
  });

  it('are applied in the order they are written', async () => {
    const steps: string[] = [];
    const codec = async (sound: Sound, step: { kind: string }) => {
      steps.push(`${step.kind}@${sound.sampleRateHz}`);
      return sound;
    };
    await degrade(sine(300), parseDegradation('opus-8k+gsm+opus-12k'), { ...deps, codec });
    expect(steps).toEqual(['opus@16000', 'gsm@8000', 'opus@8000']);
  });

  it('know what they need', () => {
    expect(needsNoise(parseDegradation('noise-10db+mulaw'))).toBe(true);
    expect(needsNoise(parseDegradation('white-10db+gsm'))).toBe(false);
    expect(parseDegradation('as-is').steps).toEqual([]);
  });

  it.each(['', 'mp3', 'opus-1k', 'opus-900k', 'white-10', 'mulaw+', 'as-is+gsm'])('refuse "%s"', (name) => {
    expect(() => parseDegradation(name)).toThrow(/is no condition/);
  });

  it('say what is missing', async () => {
    await expect(degrade(sine(300), parseDegradation('gsm'), deps)).rejects.toThrow(/needs ffmpeg/);
    await expect(degrade(sine(300), parseDegradation('noise-5db'), deps)).rejects.toThrow(/--noise/);
  });
});

describe('segments', () => {
  const speech = Float32Array.from({ length: 10 }, (_, index) => index);

  it('are cut from either end, and taken whole when there is less', () => {
    const cut = (text: string, from: 'first' | 'last') => [...cutSegment(speech, parseSegment(text, from), 2)];
    expect(cut('2', 'first')).toEqual([0, 1, 2, 3]);
    expect(cut('1.5', 'last')).toEqual([7, 8, 9]);
    expect(cut('9', 'last')).toEqual([...speech]);
    expect(cut('all', 'last')).toEqual([...speech]);
  });

  it('have names', () => {
    expect([segmentName({ kind: 'all' }), segmentName(parseSegment('15', 'first'))]).toEqual(['all', 'first-15']);
  });

  it.each(['0', '-1', 'some', '601', ''])('refuse "%s"', (text) => {
    expect(() => parseSegment(text, 'first')).toThrow(/is no amount of speech/);
  });
});
