/** The audio of one track: from bytes of the wire to frames with a time. Buffers are allocated once and reused. */
import { decodeAlaw, decodeMulaw } from '../../audio/g711.js';
import type { PcmFrame, Track } from '../../audio/pcm-frame.js';
import { DualMonoGuard } from '../dual-mono-guard.js';
import { type DecodedPiece, PcmDeframer } from '../pcm-deframer.js';
import type { AudioFormat } from './audio-format.js';
import { ByteOrder, swapBytes } from './byte-order.js';

/** Most bytes of companded audio decoded at once: 1 s. A longer message gives several frames. */
const MAX_PIECE_BYTES = 8_000;
/** The caller's channel where there are two. */
const CALLER_CHANNEL = 0;

/** What goes with one format, from its first sample on. */
interface Run {
  readonly format: AudioFormat;
  /** Undefined for companded audio. */
  readonly deframer: PcmDeframer | undefined;
  /** Undefined for a single channel. */
  readonly guard: DualMonoGuard | undefined;
  readonly startMs: number;
  samples: number;
}

export class TrackDecoder {
  readonly #track: Track;
  readonly #onFrame: (frame: PcmFrame) => void;
  readonly #onPiece = (piece: DecodedPiece) => this.#linear(piece);
  readonly #byteOrder = new ByteOrder();
  #run: Run | undefined;
  #samples = new Float32Array(512);
  /** The latest view of `#samples`; pieces mostly have one length, so it mostly fits the next one too. */
  #view = this.#samples.subarray(0, 0);

  constructor(track: Track, onFrame: (frame: PcmFrame) => void) {
    this.#track = track;
    this.#onFrame = onFrame;
  }

  /** Decodes the next bytes of the track, which may be changed by that. Time goes on by the samples, whatever was lost. */
  decode(bytes: Uint8Array, format: AudioFormat): void {
    const run = this.#runOf(format);
    if (!run.deframer) {
      let rest = bytes;
      for (; rest.length > MAX_PIECE_BYTES; rest = rest.subarray(MAX_PIECE_BYTES)) {
        this.#companded(rest.subarray(0, MAX_PIECE_BYTES), run);
      }
      this.#companded(rest, run);
    } else if (format.encoding === 's16_unordered') {
      // A payload of RTP, so it holds whole samples; half a one would spoil the order of all that follow.
      const whole = bytes.length % 2 === 0 ? bytes : bytes.subarray(0, -1);
      if (this.#byteOrder.isBigEndian(whole)) swapBytes(whole);
      run.deframer.decode(whole, this.#onPiece);
    } else {
      run.deframer.decode(bytes, this.#onPiece);
    }
  }

  #runOf(format: AudioFormat): Run {
    const current = this.#run;
    if (current && sameFormat(current.format, format)) return current;
    const { encoding, sampleRateHz, channels } = format;
    const linear = encoding === 's16le' || encoding === 's16_unordered';
    this.#run = {
      format,
      deframer: linear ? new PcmDeframer(format, CALLER_CHANNEL) : undefined,
      guard: channels === 2 ? new DualMonoGuard(sampleRateHz) : undefined,
      startMs: current ? nextStartMs(current) : 0,
      samples: 0,
    };
    return this.#run;
  }

  #companded(bytes: Uint8Array, run: Run): void {
    if (bytes.length > this.#samples.length) this.#samples = new Float32Array(2 ** Math.ceil(Math.log2(bytes.length)));
    if (this.#view.length !== bytes.length || this.#view.buffer !== this.#samples.buffer) {
      this.#view = this.#samples.subarray(0, bytes.length);
    }
    if (run.format.encoding === 'alaw') decodeAlaw(bytes, this.#view);
    else decodeMulaw(bytes, this.#view);
    this.#emit(this.#view, run);
  }

  #linear({ samples, bytes }: DecodedPiece): void {
    const run = this.#run;
    if (!run) return;
    run.guard?.add(bytes);
    this.#emit(samples, run);
  }

  #emit(samples: Float32Array, run: Run): void {
    const startMs = nextStartMs(run);
    run.samples += samples.length;
    this.#onFrame({
      samples,
      sampleRateHz: run.format.sampleRateHz,
      track: run.guard?.identical ? 'mixed' : this.#track,
      startMs,
    });
  }
}

function sameFormat(a: AudioFormat, b: AudioFormat): boolean {
  return a === b || (a.encoding === b.encoding && a.sampleRateHz === b.sampleRateHz && a.channels === b.channels);
}

function nextStartMs(run: Run): number {
  return run.startMs + (run.samples * 1_000) / run.format.sampleRateHz;
}
