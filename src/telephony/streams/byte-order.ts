/**
 * Hears the byte order of 16-bit samples that nobody reliably states. In the right order neighbouring samples are close to
 * each other; in the wrong one the low byte takes the place of the high one, and they are as far apart as in loud noise.
 */

/** Weight of the past per call: about the last ten pieces count, so a mistake would not last. */
const DECAY = 0.9;

export class ByteOrder {
  #little = 0;
  #big = 0;

  /** Whether whole samples are big-endian, judged by these and the ones before. Digital silence says nothing either way. */
  isBigEndian(bytes: Uint8Array): boolean {
    this.#little = this.#little * DECAY + roughness(bytes, 1, 0);
    this.#big = this.#big * DECAY + roughness(bytes, 0, 1);
    return this.#big < this.#little;
  }
}

/** Swaps the bytes of every whole sample in place. */
export function swapBytes(bytes: Uint8Array): void {
  for (let at = 0; at + 1 < bytes.length; at += 2) {
    const first = bytes[at]!;
    bytes[at] = bytes[at + 1]!;
    bytes[at + 1] = first;
  }
}

/** Sum of the squared steps between neighbouring samples. */
function roughness(bytes: Uint8Array, highAt: 0 | 1, lowAt: 0 | 1): number {
  let before: number | undefined;
  let sum = 0;
  for (let at = 0; at + 1 < bytes.length; at += 2) {
    const sample = (((bytes[at + highAt]! << 8) | bytes[at + lowAt]!) << 16) >> 16;
    if (before !== undefined) sum += (sample - before) * (sample - before);
    before = sample;
  }
  return sum;
}
