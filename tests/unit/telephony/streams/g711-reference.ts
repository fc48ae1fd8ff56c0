/**
 * Decoders written from the formulas of ITU-T G.711 (11/88), to check the service's own against: they share nothing with it.
 * The Recommendation numbers mu-law values to 8031 and A-law values to 4032; both are scaled to 16 bits.
 */

/** Segment number and step within it, as the Recommendation counts them. */
function parts(bits: number): [segment: number, step: number] {
  return [Math.floor(bits / 16) % 8, bits % 16];
}

/** Tables 2a and 2b: all bits are sent inverted, magnitude (2q + 33) 2^s - 33, positive with the first bit sent as 1. */
export function referenceMulaw(code: number): number {
  const [segment, step] = parts(255 - code);
  const magnitude = (2 * step + 33) * 2 ** segment - 33;
  return ((code >= 128 ? 1 : -1) * magnitude * 4) / 32_768;
}

/** Tables 1a and 1b: even bits are sent inverted, magnitude 2q + 1 in segment 0, (2q + 33) 2^(s - 1) above. */
export function referenceAlaw(code: number): number {
  const [segment, step] = parts(code ^ 0b0101_0101);
  const magnitude = segment === 0 ? 2 * step + 1 : (2 * step + 33) * 2 ** (segment - 1);
  return ((code >= 128 ? 1 : -1) * magnitude * 8) / 32_768;
}

/** 16-bit samples by way of a DataView. */
export function referenceLinear(bytes: Uint8Array, littleEndian: boolean): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: Math.floor(bytes.length / 2) }, (_, i) => view.getInt16(2 * i, littleEndian) / 32_768);
}
