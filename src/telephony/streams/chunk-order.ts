/**
 * Puts numbered pieces of audio that arrive out of order back into order. A piece waits for at most `WINDOW` later ones: a
 * lost piece holds the stream up for that long once, and no longer.
 */
import type { AudioFormat } from './audio-format.js';

/** 160 ms at 20 ms a piece. */
export const WINDOW = 8;
/** A number this far back is no late piece: the sender counts anew. */
const RESTART_DISTANCE = 64;
const FIRST_SLOT_BYTES = 512;

interface Slot {
  position: number;
  format: AudioFormat;
  bytes: Uint8Array;
  length: number;
}

export interface ChunkOrderOptions {
  /** Gets every piece, in order. The bytes are valid during the call. */
  readonly deliver: (bytes: Uint8Array, format: AudioFormat) => void;
  /** A piece came twice, or after later ones had to be delivered. */
  readonly onLate: () => void;
}

export class ChunkOrder {
  readonly #options: ChunkOrderOptions;
  /** Pieces that wait, by position. */
  readonly #held: Slot[] = [];
  readonly #free: Slot[] = [];
  /** Position that comes next; undefined until the first piece is delivered, for nobody says where counting begins. */
  #next: number | undefined;

  constructor(options: ChunkOrderOptions) {
    this.#options = options;
  }

  push(position: number, bytes: Uint8Array, format: AudioFormat): void {
    if (this.#next !== undefined && position < this.#next) {
      if (this.#next - position <= RESTART_DISTANCE) {
        this.#options.onLate();
        return;
      }
      this.flush();
      this.#next = undefined;
    }
    if (position === this.#next && this.#held.length === 0) {
      this.#next = position + 1;
      this.#options.deliver(bytes, format);
      return;
    }
    this.#hold(position, bytes, format);
    while (this.#held.length > WINDOW || (this.#held.length > 0 && this.#held[0]!.position === this.#next)) {
      this.#release();
    }
  }

  /** Delivers all that waits, whatever is missing. */
  flush(): void {
    while (this.#held.length > 0) this.#release();
  }

  #hold(position: number, bytes: Uint8Array, format: AudioFormat): void {
    let at = this.#held.length;
    while (at > 0 && this.#held[at - 1]!.position > position) at--;
    if (at > 0 && this.#held[at - 1]!.position === position) {
      this.#options.onLate();
      return;
    }
    const slot = this.#free.pop() ?? { position, format, bytes: new Uint8Array(FIRST_SLOT_BYTES), length: 0 };
    if (slot.bytes.length < bytes.length) slot.bytes = new Uint8Array(bytes.length);
    slot.bytes.set(bytes);
    slot.position = position;
    slot.format = format;
    slot.length = bytes.length;
    this.#held.splice(at, 0, slot);
  }

  #release(): void {
    const slot = this.#held.shift()!;
    this.#next = slot.position + 1;
    this.#free.push(slot);
    this.#options.deliver(slot.bytes.subarray(0, slot.length), slot.format);
  }
}
