/**
 * Sample-rate conversion for calls and recordings: a windowed-sinc filter in polyphase form, streaming, linear phase.
 * The filter comes from `resampling-filter.ts`, the inner loops from `resampling-kernel.ts`; this file keeps the stream.
 */
import { filterFor, type PolyphaseFilter } from './resampling-filter.js';
import { filterInto } from './resampling-kernel.js';

export const MIN_SAMPLE_RATE_HZ = 8_000;
export const MAX_SAMPLE_RATE_HZ = 48_000;

/** Input is taken in blocks of this size, so that the working memory does not depend on how much comes at once. */
const BLOCK_SAMPLES = 4096;

/**
 * Converts a stream from one rate to another. Output sample k is the signal at time k / toHz: the delay of the filter is
 * taken out, so output lags the input by half the filter's length until `flush`. How the input is cut into pieces
 * makes no difference to the output.
 */
export class StreamingResampler {
  readonly fromHz: number;
  readonly toHz: number;
  /** Undefined when the rates are equal and samples pass through. */
  readonly #filter: PolyphaseFilter | undefined;
  /** Waiting input, after the past that the next output still needs; as doubles, which the inner loop wants. */
  readonly #work: Float64Array;
  #filled = 0;
  /** Time of the next output, whose filter begins in the first sample of `#work`, in 1/`upFactor` of an input sample. */
  #phase = 0;
  #out = new Float32Array(0);

  /** Rates are whole numbers of Hz from 8000 to 48000. Throws `RangeError` for others. */
  constructor(fromHz: number, toHz: number) {
    for (const rateHz of [fromHz, toHz]) {
      if (!Number.isInteger(rateHz) || rateHz < MIN_SAMPLE_RATE_HZ || rateHz > MAX_SAMPLE_RATE_HZ) {
        throw new RangeError(`sample rate must be ${MIN_SAMPLE_RATE_HZ} to ${MAX_SAMPLE_RATE_HZ} Hz, not ${rateHz}`);
      }
    }
    this.fromHz = fromHz;
    this.toHz = toHz;
    this.#filter = fromHz === toHz ? undefined : filterFor(fromHz, toHz);
    this.#work = new Float64Array(this.#filter ? this.#filter.taps + BLOCK_SAMPLES : 0);
    this.#reset();
  }

  /**
   * Takes the next samples and returns those that are now determined: a view of a reused buffer (of `input` itself when
   * the rates are equal), valid until the next call.
   */
  process(input: Float32Array): Float32Array {
    if (!this.#filter) return input;
    return this.#run(this.#filter, input);
  }

  /**
   * Ends the stream as if silence followed and returns the last samples, valid until the next call: in total there are
   * then ceil(input samples x toHz / fromHz). The next `process` begins a new stream.
   */
  flush(): Float32Array {
    const filter = this.#filter;
    if (!filter) return new Float32Array(0);
    // The filter of the last output, at most one sample before the end, reaches half its length beyond.
    const rest = this.#run(filter, new Float32Array(filter.taps / 2));
    this.#reset();
    return rest;
  }

  #run(filter: PolyphaseFilter, input: Float32Array): Float32Array {
    const { taps, upFactor, downFactor } = filter;
    const work = this.#work;
    const most = Math.ceil((input.length * upFactor) / downFactor);
    if (this.#out.length < most) this.#out = new Float32Array(Math.max(most, 2 * this.#out.length));
    let written = 0;
    for (let taken = 0; taken < input.length; ) {
      const block = input.subarray(taken, taken + work.length - this.#filled);
      work.set(block, this.#filled);
      this.#filled += block.length;
      taken += block.length;
      // The filter of an output must lie within the filled part: so many input samples can be its first.
      const starts = Math.max(0, this.#filled - taps + 1);
      const count = Math.max(0, Math.ceil((starts * upFactor - this.#phase) / downFactor));
      filterInto(filter, work, this.#phase, this.#out.subarray(written, written + count));
      written += count;
      const time = this.#phase + count * downFactor;
      const past = Math.floor(time / upFactor);
      this.#phase = time % upFactor;
      work.copyWithin(0, past, this.#filled);
      this.#filled -= past;
    }
    return this.#out.subarray(0, written);
  }

  #reset(): void {
    const taps = this.#filter?.taps ?? 0;
    // The first output sits on the first input sample, so the filter's first half looks at silence before the stream.
    this.#filled = Math.max(0, taps / 2 - 1);
    this.#work.fill(0, 0, this.#filled);
    this.#phase = 0;
  }
}

/**
 * Converts a whole recording. Returns ceil(samples x toHz / fromHz) samples, its own array unless the rates are equal
 * (then `samples` itself). Throws `RangeError` for rates outside 8000 to 48000 Hz.
 */
export function resample(samples: Float32Array, fromHz: number, toHz: number): Float32Array {
  if (fromHz === toHz) return samples;
  const resampler = new StreamingResampler(fromHz, toHz);
  const out = new Float32Array(Math.ceil((samples.length * toHz) / fromHz));
  let at = 0;
  for (let taken = 0; taken < samples.length; taken += BLOCK_SAMPLES) {
    const piece = resampler.process(samples.subarray(taken, taken + BLOCK_SAMPLES));
    out.set(piece, at);
    at += piece.length;
  }
  out.set(resampler.flush(), at);
  return out;
}
