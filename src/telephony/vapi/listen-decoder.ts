/**
 * From the messages of a listen socket to caller frames. Decides which format the bytes have: configuration wins over a
 * start frame, a start frame over measurement, field by field. Until the format is known audio waits; nothing that
 * anybody could hear is lost.
 *
 * A start frame counts whenever it comes: the latest one wins, from the next byte on (and for all that still waits). After
 * a measurement has settled it corrects the measurement; frames carry their own rate, so a change is visible to the sink.
 */
import type { PcmFrame, Track } from '../../audio/pcm-frame.js';
import type { VapiListenConfig } from '../../config/config.js';
import type { Logger } from '../../observability/logger.js';
import type { Metrics } from '../../observability/metrics.js';
import { DualMonoGuard } from '../dual-mono-guard.js';
import { type DecodedPiece, PcmDeframer, type WireFormat } from '../pcm-deframer.js';
import { type Detection, FormatDetector } from './format-detection.js';
import { MeasurementBuffer } from './measurement-buffer.js';
import { parseTextFrame } from './start-frame.js';

export interface ListenDecoderOptions {
  readonly config: VapiListenConfig;
  readonly metrics: Pick<Metrics, 'framesReceived' | 'framesDropped'>;
  readonly logger: Logger;
  /** Gets caller (or mixed) audio in order. The samples are a view of a reused buffer. */
  readonly onFrame: (frame: PcmFrame) => void;
}

type FormatOrigin = 'configuration' | 'start_frame' | 'measurement' | 'fallback' | 'silence';

/** A format in use, with the state that goes with it. */
interface Stream {
  readonly format: WireFormat;
  readonly deframer: PcmDeframer;
  /** Undefined for a single channel. */
  readonly guard: DualMonoGuard | undefined;
  readonly monoTrack: Track;
  /** Time of the first sample of this format. */
  readonly startMs: number;
  samples: number;
}

export class ListenDecoder {
  readonly #options: ListenDecoderOptions;
  readonly #onPiece = (piece: DecodedPiece) => this.#emit(piece);
  #detector: FormatDetector | undefined;
  #waiting: MeasurementBuffer | undefined;
  #stream: Stream | undefined;
  /** Bytes of the stream that became samples or were given up: where the next byte stands. */
  #consumedBytes = 0;
  /** Bytes to leave out so that a sample pair begins where pairs began at the start of the stream. */
  #skipBytes = 0;

  constructor(options: ListenDecoderOptions) {
    const { sampleRateHz, channels } = options.config;
    this.#options = options;
    if (sampleRateHz !== undefined && channels !== undefined) {
      this.#use({ sampleRateHz, channels }, 'configuration');
    } else {
      this.#detector = new FormatDetector({ sampleRateHz, channels });
      this.#waiting = new MeasurementBuffer();
    }
  }

  /** A binary message: the next bytes of audio, which arrived at `nowMs` (monotonic). */
  audio(bytes: Uint8Array, nowMs: number): void {
    this.#options.metrics.framesReceived.inc();
    if (this.#stream) {
      this.#decode(bytes);
      return;
    }
    const lost = this.#waiting?.push(bytes) ?? 0;
    if (lost > 0) this.#options.metrics.framesDropped.inc({ cause: 'unmeasured' }, Math.ceil(lost / bytes.length));
    const detection = this.#detector?.add(bytes, nowMs);
    if (detection && detection.kind !== 'measuring') this.#settle(detection);
  }

  /** A text message: any JSON, or no JSON at all. */
  text(bytes: Uint8Array): void {
    const text = parseTextFrame(bytes);
    if (text.kind === 'garbage') {
      this.#options.metrics.framesDropped.inc({ cause: 'garbage_text' });
    } else if (text.kind === 'unusable_start') {
      this.#options.metrics.framesDropped.inc({ cause: 'unusable_start' });
      this.#options.logger.warn({ problem: text.problem }, 'listen start frame is not usable; format is measured');
    } else if (text.kind === 'start') {
      this.#announced(text.format);
    }
  }

  /** The stream has ended: delivers what still waits. */
  end(): void {
    if (this.#stream || !this.#detector) return;
    const detection = this.#detector.conclude();
    if (detection.kind === 'measuring') return;
    // All of it was digital silence: there is nothing in it to be mixed with.
    if (detection.kind === 'undecidable' && detection.silent) this.#use(detection.format, 'silence');
    else this.#settle(detection);
  }

  #announced(announced: WireFormat): void {
    const { config, logger } = this.#options;
    const format: WireFormat = {
      sampleRateHz: config.sampleRateHz ?? announced.sampleRateHz,
      channels: config.channels ?? announced.channels,
    };
    const current = this.#stream?.format;
    if (current?.sampleRateHz === format.sampleRateHz && current.channels === format.channels) return;
    if (current) logger.warn({ ...format }, 'listen format changed by a late start frame');
    this.#use(format, 'start_frame');
  }

  #settle(detection: Exclude<Detection, { kind: 'measuring' }>): void {
    if (detection.kind === 'detected') {
      this.#use(detection.format, 'measurement', detection.identical);
      return;
    }
    this.#options.logger.warn(
      { cause: detection.cause },
      'listen format cannot be measured; audio counts as mixed (pin rate and channels in the configuration)',
    );
    this.#use(detection.format, 'fallback');
  }

  /** Reads the stream as `format` from here on, beginning with all that waits. */
  #use(format: WireFormat, origin: FormatOrigin, identical = false): void {
    const { config, logger } = this.#options;
    const frameBytes = 2 * format.channels;
    const before = this.#stream;
    const waiting = before ? before.deframer.carriedBytes.slice() : this.#waiting?.take();
    const lostBytes = before ? 0 : (this.#waiting?.lostBytes ?? 0);
    this.#consumedBytes += lostBytes;
    const past = this.#consumedBytes % frameBytes;
    this.#skipBytes = past === 0 ? 0 : frameBytes - past;
    this.#stream = {
      format,
      deframer: new PcmDeframer(format, config.callerChannel),
      guard: format.channels === 2 ? new DualMonoGuard(format.sampleRateHz, identical) : undefined,
      monoTrack: monoTrack(origin, config.monoIsCaller),
      startMs: before ? nextStartMs(before) : (lostBytes * 1_000) / (frameBytes * format.sampleRateHz),
      samples: 0,
    };
    this.#detector = undefined;
    this.#waiting = undefined;
    logger.debug({ ...format, origin }, 'listen format');
    if (waiting && waiting.length > 0) this.#decode(waiting);
  }

  #decode(bytes: Uint8Array): void {
    const skipped = Math.min(this.#skipBytes, bytes.length);
    this.#skipBytes -= skipped;
    this.#consumedBytes += skipped;
    this.#stream?.deframer.decode(skipped === 0 ? bytes : bytes.subarray(skipped), this.#onPiece);
  }

  #emit({ samples, bytes }: DecodedPiece): void {
    const stream = this.#stream;
    if (!stream) return;
    this.#consumedBytes += bytes.length;
    stream.guard?.add(bytes);
    const frame: PcmFrame = {
      samples,
      sampleRateHz: stream.format.sampleRateHz,
      track: stream.guard ? (stream.guard.identical ? 'mixed' : 'caller') : stream.monoTrack,
      startMs: nextStartMs(stream),
    };
    stream.samples += samples.length;
    this.#options.onFrame(frame);
  }
}

function monoTrack(origin: FormatOrigin, monoIsCaller: boolean): Track {
  if (origin === 'silence') return 'caller';
  return monoIsCaller && origin !== 'fallback' ? 'caller' : 'mixed';
}

function nextStartMs(stream: Stream): number {
  return stream.startMs + (stream.samples * 1_000) / stream.format.sampleRateHz;
}
