/**
 * The low-pass filters of the resampler: windowed sinc, Kaiser window, cut into one row of coefficients per output phase
 * (Oppenheim and Schafer, Discrete-Time Signal Processing, sections 4.6 and 7.6). Made once per pair of rates and shared
 * by every stream, because a server converts hundreds of streams between the same few rates.
 */

export interface PolyphaseFilter {
  /** Rates in lowest terms: toHz / fromHz = upFactor / downFactor. */
  readonly upFactor: number;
  readonly downFactor: number;
  /** Input samples that make one output; a multiple of four. */
  readonly taps: number;
  /** Phases that have coefficients of their own. Fewer than `upFactor`: interpolate between row and row + 1. */
  readonly rows: number;
  /** `rows` + 1 rows of `taps`; the last is the first again, one sample later. */
  readonly coefficients: Float64Array;
}

/** Depth of the stop band. 80 dB is wanted everywhere; the rest is for rounding of the length and interpolation. */
const STOPBAND_DB = 86;
/**
 * The stop band begins at the lower Nyquist frequency, so that nothing aliases or leaves an image, and the pass band ends
 * at this share of it: 3400 Hz, the edge of the telephone band, for 8 kHz; 6800 Hz for 16 kHz.
 */
const PASSBAND_EDGE = 0.85;
/**
 * Rates with a large common divisor (all the usual ones: at most 640 phases) get a row per phase. Odd pairs such as
 * 47999 -> 16000 would need tens of megabytes, so they interpolate linearly between this many rows: the error,
 * (pi / rows)^2 / 8 of the signal at most, is below -100 dB.
 */
const MAX_EXACT_ROWS = 1024;
const INTERPOLATED_ROWS = 512;
/** A service sees a handful of pairs; the bound only keeps recordings with made-up rates from filling the memory. */
const MAX_CACHED_FILTERS = 12;

const cache = new Map<string, PolyphaseFilter>();

/** The filter for a pair of different rates (whole numbers of Hz), made on first use. */
export function filterFor(fromHz: number, toHz: number): PolyphaseFilter {
  const key = `${fromHz}>${toHz}`;
  const cached = cache.get(key);
  if (cached) return cached;
  const filter = designFilter(fromHz, toHz);
  const oldest = cache.keys().next();
  if (cache.size >= MAX_CACHED_FILTERS && !oldest.done) cache.delete(oldest.value);
  cache.set(key, filter);
  return filter;
}

function designFilter(fromHz: number, toHz: number): PolyphaseFilter {
  const divisor = greatestCommonDivisor(fromHz, toHz);
  const upFactor = toHz / divisor;
  const downFactor = fromHz / divisor;
  // Frequencies as shares of the input's Nyquist frequency, times in input samples.
  const stopEdge = Math.min(1, toHz / fromHz);
  const transition = stopEdge * (1 - PASSBAND_EDGE);
  const cutoff = stopEdge - transition / 2;
  // Kaiser's formulas (Oppenheim and Schafer, equations 7.75 and 7.76).
  const beta = 0.1102 * (STOPBAND_DB - 8.7);
  const taps = 4 * Math.ceil((STOPBAND_DB - 8) / (2.285 * Math.PI * transition) / 4);
  const half = taps / 2;
  const rows = upFactor <= MAX_EXACT_ROWS ? upFactor : INTERPOLATED_ROWS;
  const coefficients = new Float64Array((rows + 1) * taps);
  for (let row = 0; row <= rows; row++) {
    const values = coefficients.subarray(row * taps, (row + 1) * taps);
    for (let tap = 0; tap < taps; tap++) {
      const time = row / rows + half - 1 - tap;
      values[tap] = sinc(cutoff * time) * kaiser(time / half, beta);
    }
    // Every phase passes a constant at exactly its level; otherwise the differences would be heard as a faint tone.
    const sum = values.reduce((total, value) => total + value, 0);
    for (let tap = 0; tap < taps; tap++) values[tap]! /= sum;
  }
  return { upFactor, downFactor, taps, rows, coefficients };
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Kaiser window over [-1, 1], without its constant factor 1 / I0(beta): rows are normalised anyway. */
function kaiser(x: number, beta: number): number {
  return besselI0(beta * Math.sqrt(Math.max(0, 1 - x * x)));
}

/** Modified Bessel function of the first kind, order zero, by its power series (Abramowitz and Stegun 9.6.12). */
function besselI0(x: number): number {
  const quarter = (x * x) / 4;
  let term = 1;
  let sum = 1;
  for (let k = 1; term > sum * 1e-17; k++) {
    term *= quarter / (k * k);
    sum += term;
  }
  return sum;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
