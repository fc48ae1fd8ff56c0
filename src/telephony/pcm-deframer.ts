/**
 * From wire bytes of a known format to samples of the caller's channel. Wire frames may split samples and sample pairs
 * anywhere: what is incomplete waits for the next bytes. Buffers are allocated once and reused.
 */
import { decodeS16le } from '../audio/pcm.js';

/** What the bytes of a wire are: s16le of so many interleaved channels. */
export interface WireFormat {
  readonly sampleRateHz: number;
  readonly channels: 1 | 2;
}

export interface DecodedPiece {
  /** View of a reused buffer: valid until the next `decode`. */
  readonly samples: Float32Array;
  /** The whole sample frames that `samples` was taken from, all channels; valid as long. */
  readonly bytes: Uint8Array;
}

/** Most bytes decoded at once: 0.25 s of 16 kHz stereo. A longer wire frame gives several pieces. */
const PIECE_BYTES = 16 * 1024;

export class PcmDeframer {
  readonly #selection: { readonly channels: number; readonly channel: number };
  readonly #frameBytes: number;
  readonly #joined = new Uint8Array(PIECE_BYTES);
  #samples = new Float32Array(1_024);
  /** The latest view of `#samples`; wire frames mostly have one length, so it mostly fits the next one too. */
  #view = this.#samples.subarray(0, 0);
  #carried = 0;

  /** `channel` counts from 0 and is the caller's; it is ignored for a single channel. */
  constructor(format: WireFormat, channel: 0 | 1) {
    this.#selection = { channels: format.channels, channel: format.channels === 2 ? channel : 0 };
    this.#frameBytes = 2 * format.channels;
  }

  /** Bytes of an incomplete sample frame that wait. */
  get carriedBytes(): Uint8Array {
    return this.#joined.subarray(0, this.#carried);
  }

  /** Hands every complete sample frame to `onPiece`, in order, in pieces of at most 16 KiB of wire bytes. */
  decode(bytes: Uint8Array, onPiece: (piece: DecodedPiece) => void): void {
    let rest = bytes;
    while (rest.length > 0) {
      const available = this.#carried + rest.length;
      const whole = Math.min(available - (available % this.#frameBytes), PIECE_BYTES);
      if (whole === 0) {
        this.#joined.set(rest, this.#carried);
        this.#carried = available;
        return;
      }
      const taken = whole - this.#carried;
      const piece = rest.subarray(0, taken);
      const source = this.#carried === 0 ? piece : this.#join(piece);
      rest = rest.subarray(taken);
      this.#carried = 0;
      onPiece({ samples: this.#samplesOf(source), bytes: source });
    }
  }

  #join(piece: Uint8Array): Uint8Array {
    this.#joined.set(piece, this.#carried);
    return this.#joined.subarray(0, this.#carried + piece.length);
  }

  #samplesOf(bytes: Uint8Array): Float32Array {
    const count = bytes.length / this.#frameBytes;
    if (count > this.#samples.length) this.#samples = new Float32Array(2 ** Math.ceil(Math.log2(count)));
    if (this.#view.length !== count || this.#view.buffer !== this.#samples.buffer) {
      this.#view = this.#samples.subarray(0, count);
    }
    decodeS16le(bytes, this.#view, this.#selection);
    return this.#view;
  }
}
