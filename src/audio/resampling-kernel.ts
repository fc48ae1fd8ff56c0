/**
 * The inner loops of the resampler, where its time goes. Outputs of one phase share their coefficients, so they are made
 * four at a time, each coefficient loaded once. However they are grouped, each output is summed in the same order, tap by
 * tap, so that it is the same number however the input was cut into pieces.
 */
import type { PolyphaseFilter } from './resampling-filter.js';

/**
 * Fills `out` with consecutive outputs. The filter of the first begins in `work[0]`, at `phase` / upFactor of an input
 * sample; `work` must reach to the last tap of the last output.
 */
export function filterInto(filter: PolyphaseFilter, work: Float64Array, phase: number, out: Float32Array): void {
  const { upFactor, downFactor, rows } = filter;
  if (rows !== upFactor) {
    for (let at = 0; at < out.length; at++) out[at] = outputBetweenRows(filter, work, phase + at * downFactor);
    return;
  }
  const phases = Math.min(upFactor, out.length);
  for (let first = 0; first < phases; first++) filterPhase(filter, work, phase + first * downFactor, out, first);
}

/** The outputs of one phase: every upFactor-th of `out` from `first` on, which lies at `time` / upFactor. */
function filterPhase(
  filter: PolyphaseFilter,
  work: Float64Array,
  time: number,
  out: Float32Array,
  first: number,
): void {
  const { taps, upFactor, downFactor, coefficients } = filter;
  const four = downFactor === 1 ? fourAdjacent : fourApart;
  const row = (time % upFactor) * taps;
  let start = Math.floor(time / upFactor);
  let at = first;
  for (; at + 3 * upFactor < out.length; at += 4 * upFactor, start += 4 * downFactor) {
    four(filter, work, start, row, out, at);
  }
  for (; at < out.length; at += upFactor, start += downFactor) out[at] = one(work, start, coefficients, row, taps);
}

function fourApart(
  filter: PolyphaseFilter,
  work: Float64Array,
  start: number,
  row: number,
  out: Float32Array,
  at: number,
): void {
  const { taps, upFactor, downFactor, coefficients: h } = filter;
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let tap = 0; tap < taps; tap += 2) {
    const h0 = h[row + tap]!;
    const h1 = h[row + tap + 1]!;
    let x = start + tap;
    a += work[x]! * h0;
    a += work[x + 1]! * h1;
    x += downFactor;
    b += work[x]! * h0;
    b += work[x + 1]! * h1;
    x += downFactor;
    c += work[x]! * h0;
    c += work[x + 1]! * h1;
    x += downFactor;
    d += work[x]! * h0;
    d += work[x + 1]! * h1;
  }
  out[at] = a;
  out[at + upFactor] = b;
  out[at + 2 * upFactor] = c;
  out[at + 3 * upFactor] = d;
}

/**
 * As `fourApart`, for up-sampling by a whole number (8 kHz calls to a 16 kHz model): the four inputs of a tap are
 * neighbours, so a sample too is loaded once, and moves through the four variables.
 */
function fourAdjacent(
  filter: PolyphaseFilter,
  work: Float64Array,
  start: number,
  row: number,
  out: Float32Array,
  at: number,
): void {
  const { taps, upFactor, coefficients: h } = filter;
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let x0 = work[start]!;
  let x1 = work[start + 1]!;
  let x2 = work[start + 2]!;
  for (let tap = 0; tap < taps; tap += 4) {
    const x = start + tap;
    const x3 = work[x + 3]!;
    let coefficient = h[row + tap]!;
    a += x0 * coefficient;
    b += x1 * coefficient;
    c += x2 * coefficient;
    d += x3 * coefficient;
    coefficient = h[row + tap + 1]!;
    x0 = work[x + 4]!;
    a += x1 * coefficient;
    b += x2 * coefficient;
    c += x3 * coefficient;
    d += x0 * coefficient;
    coefficient = h[row + tap + 2]!;
    x1 = work[x + 5]!;
    a += x2 * coefficient;
    b += x3 * coefficient;
    c += x0 * coefficient;
    d += x1 * coefficient;
    coefficient = h[row + tap + 3]!;
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

function one(work: Float64Array, start: number, h: Float64Array, row: number, taps: number): number {
  let sum = 0;
  for (let tap = 0; tap < taps; tap += 2) {
    sum += work[start + tap]! * h[row + tap]!;
    sum += work[start + tap + 1]! * h[row + tap + 1]!;
  }
  return sum;
}

/** An output at `time` / upFactor whose phase has no row of its own: those before and after are joined linearly. */
function outputBetweenRows(filter: PolyphaseFilter, work: Float64Array, time: number): number {
  const { taps, upFactor, rows, coefficients } = filter;
  const start = Math.floor(time / upFactor);
  const position = ((time % upFactor) * rows) / upFactor;
  const row = Math.floor(position);
  const before = one(work, start, coefficients, row * taps, taps);
  const after = one(work, start, coefficients, (row + 1) * taps, taps);
  return before + (position - row) * (after - before);
}
