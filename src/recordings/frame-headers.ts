/**
 * Frame headers of formats without a container: MPEG audio (ISO/IEC 11172-3, 13818-3) and AAC in ADTS (ISO/IEC 13818-7).
 * A header is only 11 or 12 fixed bits, so one proves nothing: the next frame has to lie where the first says it ends.
 */

interface MpegHeader {
  /** Version, layer and sample rate: what all frames of a file have in common. */
  readonly kind: number;
  readonly frameBytes: number;
}

/** How far into a file the first frame may lie; some writers begin with padding. */
const SEARCH_BYTES = 4096;

/** Bit rates in kbit/s by index 1 to 14: layers I, II, III of MPEG-1, then layer I and layers II / III of MPEG-2. */
const KBITS_V1: readonly (readonly number[])[] = [
  [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
  [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
  [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
];
const KBITS_V2_LAYER1: readonly number[] = [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
const KBITS_V2: readonly number[] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
const RATES_V1_HZ: readonly number[] = [44_100, 48_000, 32_000];

/**
 * Offset of the first MPEG audio frame, which has to lie near the beginning and be followed by another of its kind (or by
 * the end of the file). Undefined when there is none.
 */
export function findMpegAudio(bytes: Uint8Array): number | undefined {
  const last = Math.min(bytes.length - 4, SEARCH_BYTES);
  for (let at = 0; at <= last; at += 1) {
    if (bytes[at] !== 0xff) continue;
    const header = readMpegHeader(bytes, at);
    if (header === undefined) continue;
    const next = at + header.frameBytes;
    const cutOff = at === 0 && next + 4 > bytes.length;
    if (cutOff || readMpegHeader(bytes, next)?.kind === header.kind) return at;
  }
  return undefined;
}

/** True for AAC in ADTS frames: two headers in a row, or one whose frame is all there is. */
export function isAdts(bytes: Uint8Array): boolean {
  const frameBytes = adtsFrameBytes(bytes, 0);
  if (frameBytes === undefined) return false;
  return frameBytes + 7 > bytes.length || adtsFrameBytes(bytes, frameBytes) !== undefined;
}

function readMpegHeader(bytes: Uint8Array, at: number): MpegHeader | undefined {
  if (at + 4 > bytes.length || bytes[at] !== 0xff || (bytes[at + 1]! & 0xe0) !== 0xe0) return undefined;
  const version = (bytes[at + 1]! >> 3) & 3; // 0: MPEG-2.5, 1: reserved, 2: MPEG-2, 3: MPEG-1
  const layer = 4 - ((bytes[at + 1]! >> 1) & 3); // 1 to 3, 4: reserved
  const bitrateIndex = bytes[at + 2]! >> 4;
  const rateIndex = (bytes[at + 2]! >> 2) & 3;
  if (version === 1 || layer === 4 || bitrateIndex === 0 || bitrateIndex === 15 || rateIndex === 3) return undefined;
  const kbits = (version === 3 ? KBITS_V1[layer - 1] : layer === 1 ? KBITS_V2_LAYER1 : KBITS_V2)![bitrateIndex - 1]!;
  const rateHz = RATES_V1_HZ[rateIndex]! / (version === 3 ? 1 : version === 2 ? 2 : 4);
  const padding = (bytes[at + 2]! >> 1) & 1;
  const kind = (version << 4) | (layer << 2) | rateIndex;
  if (layer === 1) return { kind, frameBytes: (Math.floor((12_000 * kbits) / rateHz) + padding) * 4 };
  const samples = layer === 3 && version !== 3 ? 576 : 1152;
  return { kind, frameBytes: Math.floor(((samples / 8) * 1000 * kbits) / rateHz) + padding };
}

function adtsFrameBytes(bytes: Uint8Array, at: number): number | undefined {
  if (at + 7 > bytes.length || bytes[at] !== 0xff || (bytes[at + 1]! & 0xf6) !== 0xf0) return undefined;
  const rateIndex = (bytes[at + 2]! >> 2) & 0xf;
  const length = ((bytes[at + 3]! & 3) << 11) | (bytes[at + 4]! << 3) | (bytes[at + 5]! >> 5);
  return rateIndex > 12 || length < 7 ? undefined : length;
}
