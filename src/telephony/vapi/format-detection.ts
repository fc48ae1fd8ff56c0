/**
 * Finds sample rate and channel count of a headerless s16le stream that nobody announced: byte rate against the clock,
 * and where two formats have the same byte rate (16 kHz stereo and 32 kHz mono), the likeness of neighbouring samples.
 * Pure: the clock is handed in.
 *
 * What cannot be told apart here: a sender that is steadily faster or slower than real time looks like another
 * format, or like none. Wrong rates make voices unrecognisable, never somebody else's; formats that fit nothing are
 * `undecidable`, and so is a stream that stays ambiguous while people talk. Undecidable audio must count as mixed.
 */
import type { WireFormat } from '../pcm-deframer.js';
import { ByteRateEstimator } from './byte-rate.js';
import { type ChannelLayout, ChannelLayoutEvidence } from './channel-layout.js';

export type Detection =
  | { readonly kind: 'measuring' }
  /** `identical`: two channels that carry the same signal, so neither is the caller's alone. */
  | { readonly kind: 'detected'; readonly format: WireFormat; readonly identical: boolean }
  /** The nearest single-channel reading of the bytes, to be treated as mixed. `silent`: every byte was zero. */
  | {
      readonly kind: 'undecidable';
      readonly format: WireFormat;
      readonly cause: 'rate' | 'layout';
      readonly silent: boolean;
    };

/** What is known beforehand; undefined = to be found. */
export interface FormatHints {
  readonly sampleRateHz: number | undefined;
  readonly channels: 1 | 2 | undefined;
}

/** Rates seen on listen sockets. */
const SAMPLE_RATES_HZ = [8_000, 16_000, 24_000, 32_000];

/** Shortest measurement. */
export const MIN_MEASURE_MS = 1_500;
/** The byte rate must be clear by then. */
export const MAX_RATE_MS = 4_000;
/** Audible audio after which one or two channels must be clear. Silence may last: nobody is missed meanwhile. */
export const MAX_AUDIBLE_MS = 4_000;
const EVALUATE_EVERY_MS = 100;

const MEASURING: Detection = { kind: 'measuring' };

export class FormatDetector {
  readonly #candidates: readonly WireFormat[];
  readonly #byteRates: readonly number[];
  readonly #hints: FormatHints;
  readonly #rate = new ByteRateEstimator();
  readonly #evidence = new ChannelLayoutEvidence();
  #silent = true;
  #firstMs: number | undefined;
  #nextEvaluationMs = 0;
  #detection = MEASURING;

  constructor(hints: FormatHints) {
    const rates = hints.sampleRateHz === undefined ? SAMPLE_RATES_HZ : [hints.sampleRateHz];
    const channels = hints.channels === undefined ? ([1, 2] as const) : [hints.channels];
    this.#hints = hints;
    this.#candidates = rates.flatMap((sampleRateHz) => channels.map((count) => ({ sampleRateHz, channels: count })));
    this.#byteRates = [...new Set(this.#candidates.map(byteRate))];
  }

  /** Takes the next bytes, which arrived at `nowMs` (monotonic), and says what is known then. */
  add(bytes: Uint8Array, nowMs: number): Detection {
    if (this.#detection.kind !== 'measuring') return this.#detection;
    this.#firstMs ??= nowMs;
    this.#rate.add(bytes.length, nowMs);
    this.#evidence.add(bytes);
    this.#silent &&= bytes.every((byte) => byte === 0);
    const elapsedMs = nowMs - this.#firstMs;
    if (elapsedMs < MIN_MEASURE_MS || nowMs < this.#nextEvaluationMs) return MEASURING;
    this.#nextEvaluationMs = nowMs + EVALUATE_EVERY_MS;
    this.#detection = this.#evaluate(elapsedMs);
    return this.#detection;
  }

  /** The stream has ended: the answer with what there is, never `measuring`. */
  conclude(): Detection {
    if (this.#detection.kind === 'measuring') this.#detection = this.#evaluate(Number.POSITIVE_INFINITY);
    return this.#detection;
  }

  #evaluate(elapsedMs: number): Detection {
    const byteRateFound = this.#rate.vote(this.#byteRates);
    if (byteRateFound === undefined) return elapsedMs < MAX_RATE_MS ? MEASURING : this.#undecidable('rate');
    const layout = this.#evidence.layout();
    const possible = this.#candidates.filter(
      (candidate) => byteRate(candidate) === byteRateFound && agrees(layout, candidate.channels),
    );
    const [format, other] = possible;
    // Two channels need proof, or an unsteady sender of one mixed channel could pass for them in a silent moment.
    const proven = layout !== 'unknown' || format?.channels === 1 || this.#hints.channels !== undefined;
    if (format && !other && proven) return { kind: 'detected', format, identical: layout === 'identical' };
    const audibleMs = (this.#evidence.audibleSamples * 2 * 1_000) / byteRateFound;
    const given = elapsedMs === Number.POSITIVE_INFINITY || audibleMs >= MAX_AUDIBLE_MS;
    return given ? this.#undecidable('layout', byteRateFound) : MEASURING;
  }

  #undecidable(cause: 'rate' | 'layout', byteRateFound = this.#rate.median() ?? 32_000): Detection {
    const distance = (rateHz: number) => Math.abs(Math.log((rateHz * 2) / byteRateFound));
    const nearestHz = [...SAMPLE_RATES_HZ].sort((a, b) => distance(a) - distance(b))[0]!;
    const format = { sampleRateHz: this.#hints.sampleRateHz ?? nearestHz, channels: 1 } as const;
    return { kind: 'undecidable', format, cause, silent: this.#silent };
  }
}

function agrees(layout: ChannelLayout, channels: 1 | 2): boolean {
  if (layout === 'unknown') return true;
  return channels === (layout === 'mono' ? 1 : 2);
}

function byteRate(format: WireFormat): number {
  return format.sampleRateHz * format.channels * 2;
}
