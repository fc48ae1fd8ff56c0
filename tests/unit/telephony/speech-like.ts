/** Deterministic sounds with what matters of speech for telling formats apart: harmonics, formants, syllables, some noise. */

/** A small reproducible generator of numbers in [0, 1) (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const made = new Map<string, Float32Array>();

/** A voice in the telephone band: mono samples in [-1, 1). Other seeds are other voices. Made once; do not change it. */
export function speechLike(seconds: number, sampleRateHz: number, seed = 1): Float32Array {
  const key = `${seconds} ${sampleRateHz} ${seed}`;
  const voice = made.get(key) ?? makeVoice(seconds, sampleRateHz, seed);
  made.set(key, voice);
  return voice;
}

function makeVoice(seconds: number, sampleRateHz: number, seed: number): Float32Array {
  const random = randomNumbers(seed);
  const pitchHz = 95 + 90 * random();
  const syllablesHz = 3 + random();
  const offset = random() * Math.PI;
  const harmonics: { hz: number; gain: number; phase: number }[] = [];
  for (let hz = pitchHz; hz < 3_400; hz += pitchHz) {
    const formants = 1 / (1 + ((hz - 550) / 250) ** 2) + 0.4 / (1 + ((hz - 1_600) / 300) ** 2) + 0.02;
    harmonics.push({ hz, gain: hz < 300 ? formants * 0.5 : formants, phase: 2 * Math.PI * random() });
  }
  const samples = new Float32Array(Math.round(seconds * sampleRateHz));
  for (let i = 0; i < samples.length; i++) {
    const t = i / sampleRateHz;
    const loudness = Math.max(0, Math.sin(Math.PI * syllablesHz * t + offset)) ** 2;
    let sum = 0;
    for (const { hz, gain, phase } of harmonics) sum += gain * Math.sin(2 * Math.PI * hz * t + phase);
    samples[i] = 0.12 * loudness * sum + 0.001 * (random() - 0.5);
  }
  return samples;
}

/** White noise of the given peak. */
export function noise(samples: number, peak: number, seed = 1): Float32Array {
  const random = randomNumbers(seed);
  return Float32Array.from({ length: samples }, () => peak * (2 * random() - 1));
}
