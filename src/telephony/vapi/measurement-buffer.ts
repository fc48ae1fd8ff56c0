/** Audio bytes that wait until the format of the stream is known. Bounded: when full, the oldest are given up. */

const FIRST_CAPACITY = 64 * 1024;
/** 8 s of 16 kHz stereo, 4 s of 32 kHz stereo: as long as a measurement may last while people talk. */
export const MAX_WAITING_BYTES = 512 * 1024;
/** Bytes are given up in whole sample pairs, so that what remains keeps its alignment. */
const PAIR_BYTES = 4;

export class MeasurementBuffer {
  #bytes = new Uint8Array(FIRST_CAPACITY);
  #length = 0;
  #lostBytes = 0;

  /** Bytes given up so far: they came before everything that waits. Always a multiple of 4. */
  get lostBytes(): number {
    return this.#lostBytes;
  }

  /** Copies `bytes` to the end. Returns how many of the oldest bytes had to be given up for them. */
  push(bytes: Uint8Array): number {
    const lostBefore = this.#lostBytes;
    let rest = bytes;
    while (rest.length > 0) {
      this.#makeRoom(rest.length);
      const piece = rest.subarray(0, this.#bytes.length - this.#length);
      this.#bytes.set(piece, this.#length);
      this.#length += piece.length;
      rest = rest.subarray(piece.length);
    }
    return this.#lostBytes - lostBefore;
  }

  /** What waits, oldest first, as a view; the buffer is empty and its memory released afterwards. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#length);
    this.#bytes = new Uint8Array(0);
    this.#length = 0;
    return taken;
  }

  #makeRoom(wanted: number): void {
    const needed = this.#length + wanted;
    if (needed <= this.#bytes.length) return;
    if (this.#bytes.length < MAX_WAITING_BYTES) {
      const larger = new Uint8Array(
        Math.min(MAX_WAITING_BYTES, Math.max(FIRST_CAPACITY, 2 ** Math.ceil(Math.log2(needed)))),
      );
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    if (this.#length < this.#bytes.length) return;
    // Full. A quarter at a time, because moving the rest costs more than storing a frame.
    const given = Math.min(this.#length, MAX_WAITING_BYTES / 4) & ~(PAIR_BYTES - 1);
    this.#bytes.copyWithin(0, given, this.#length);
    this.#length -= given;
    this.#lostBytes += given;
  }
}
