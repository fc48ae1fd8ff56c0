/** Reproducible test signals, so that an expectation can be worked out on paper. */

/** Sine of the given amplitude that starts at phase zero. */
export function sine(
  frequencyHz: number,
  options: { rateHz: number; samples: number; amplitude?: number },
): Float32Array {
  const { rateHz, samples, amplitude = 1 } = options;
  return Float32Array.from(
    { length: samples },
    (_, i) => amplitude * Math.sin((2 * Math.PI * frequencyHz * i) / rateHz),
  );
}

/** White, roughly Gaussian noise with the given RMS. */
export function noise(samples: number, rms: number, seed = 1): Float32Array {
  let state = seed >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  // The sum of three uniform numbers has a variance of a quarter.
  return Float32Array.from({ length: samples }, () => {
    return 2 * rms * (uniform() + uniform() + uniform());
  });
}

/** Voice-like sound: harmonics of 140 Hz under a spectral tilt, in four syllables per second that fade to nothing. */
export function syllables(samples: number, rateHz: number, amplitude = 0.2): Float32Array {
  return Float32Array.from({ length: samples }, (_, i) => {
    const time = i / rateHz;
    let sum = 0;
    for (let harmonic = 1; harmonic <= 20; harmonic++) {
      sum += Math.sin(2 * Math.PI * 140 * harmonic * time + harmonic * harmonic) / harmonic;
    }
    return amplitude * sum * Math.sin(Math.PI * 4 * time) ** 2;
  });
}

export function concat(...parts: Float32Array[]): Float32Array {
  const joined = new Float32Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

export function add(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => value + b[i]!);
}

export function rmsDb(samples: Float32Array): number {
  return 10 * Math.log10(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
}
