/**
 * The inner loops of the resampler, where its time goes. However the outputs are grouped, each is summed in the same
 * order, tap by tap, so that it is the same number however the input was cut into pieces.
 */
import type { PolyphaseFilter } from './resampling-filter.js';

/**
 * Fills `out` with consecutive outputs. The filter of the first begins in `work[0]`, at `phase` / upFactor of an input
 * sample; `work` must reach to the last tap of the last output.
 */
export function filterInto(filter: PolyphaseFilter, work: Float64Array, phase: number, out: Float32Array): void {
  const { upFactor, downFactor, rows } = filter;
  if (rows !== upFactor) {
    for (let i = 0; i < out.length; i++) out[i] = interpolatedOutput(filter, work, phase + i * downFactor);
    return;
  }
  const phases = Math.min(upFactor, out.length);
  for (let first = 0; first < phases; first++) filterPhase(filter, work, phase + first * downFactor, out, first);
}

/**
 * The outputs of one phase: every upFactor-th from `first` on, which lies at `time` / upFactor; from one to the next go
 * downFactor input samples. They share a row of coefficients, so four at a time load each coefficient once.
 */
function filterPhase(
  filter: PolyphaseFilter,
  work: Float64Array,
  time: number,
  out: Float32Array,
  first: number,
): void {
  const { taps, upFactor, downFactor, coefficients } = filter;
  const row = (time % upFactor) * taps;
  let start = Math.floor(time / upFactor);
  let at = first;
  for (; at + 3 * upFactor < out.length; at += 4 * upFactor, start += 4 * downFactor) {
    if (downFactor === 1) fourAdjacent(filter, work, start, row, out, at);
    else fourApart(filter, work, start, row, out, at);
  }
  for (; at < out.length; at += upFactor, start += downFactor) out[at] = dot(work, start, coefficients, row, taps);
}

function fourApart(
  { taps, upFactor, downFactor, coefficients }: PolyphaseFilter,
  work: Float64Array,
  start: number,
  row: number,
  out: Float32Array,
  at: number,
): void {
  const second = start + downFactor;
  const third = second + downFactor;
  const fourth = third + downFactor;
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let tap = 0; tap < taps; tap++) {
    const coefficient = coefficients[row + tap]!;
    a += work[start + tap]! * coefficient;
    b += work[second + tap]! * coefficient;
    c += work[third + tap]! * coefficient;
    d += work[fourth + tap]! * coefficient;
  }
  out[at] = a;
  out[at + upFactor] = b;
  out[at + 2 * upFactor] = c;
  out[at + 3 * upFactor] = d;
}

/**
 * As `fourApart` for up-sampling by a whole number, where the four inputs of a tap are neighbours: each sample is loaded
 * once and moves through four variables.
 */
function fourAdjacent(
  { taps, upFactor, coefficients }: PolyphaseFilter,
  work: Float64Array,
  start: number,
  row: number,
  out: Float32Array,
  at: number,
): void {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let x0 = work[start]!;
  let x1 = work[start + 1]!;
  let x2 = work[start + 2]!;
  for (let tap = 0; tap < taps; tap += 4) {
    const x = start + tap;
    const h = row + tap;
    let coefficient = coefficients[h]!;
    const x3 = work[x + 3]!;
    a += x0 * coefficient;
    b += x1 * coefficient;
    c += x2 * coefficient;
    d += x3 * coefficient;
    coefficient = coefficients[h + 1]!;
    x0 = work[x + 4]!;
    a += x1 * coefficient;
    b += x2 * coefficient;
    c += x3 * coefficient;
    d += x0 * coefficient;
    coefficient = coefficients[h + 2]!;
    x1 = work[x + 5]!;
    a += x2 * coefficient;
    b += x3 * coefficient;
    c += x0 * coefficient;
    d += x1 * coefficient;
    coefficient = coefficients[h + 3]!;
    x2 = work[x + 6]!;
    a += x3 * coefficient;
    b += x0 * coefficient;
    c += x1 * coefficient;
    d += x2 * coefficient;
  }
  out[at] = a;
  out[at + upFactor] = b;
  out[at + 2 * upFactor] = c;
  out[at + 3 * upFactor] = d;
}

/** An output between two rows: both are applied and the results joined linearly. */
function interpolatedOutput(filter: PolyphaseFilter, work: Float64Array, time: number): number {
  const { taps, upFactor, rows, coefficients } = filter;
  const start = Math.floor(time / upFactor);
  const position = ((time % upFactor) * rows) / upFactor;
  const row = Math.floor(position);
  const low = dot(work, start, coefficients, row * taps, taps);
  const high = dot(work, start, coefficients, (row + 1) * taps, taps);
  return low + (position - row) * (high - low);
}

function dot(work: Float64Array, start: number, coefficients: Float64Array, row: number, taps: number): number {
  let sum = 0;
  for (let tap = 0; tap < taps; tap++) sum += work[start + tap]! * coefficients[row + tap]!;
  return sum;
}
