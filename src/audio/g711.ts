/**
 * Telephone companding, ITU-T G.711 (11/88): mu-law (tables 2a, 2b) and A-law (tables 1a, 1b). Values are those of the
 * Recommendation scaled to 16 bits (mu-law x4, A-law x8), so full scale is 32124 and 32256.
 */
import { type ChannelSelection, floatToInt16, framesToDecode, int16ToFloat, MONO } from './pcm.js';

/** Shifts every mu-law segment boundary to a power of two (33 in the Recommendation's 14-bit scale). */
const MULAW_BIAS = 132;
/** Largest magnitude that, with the bias, still lies in the top segment. */
const MULAW_CLIP = 32_635;

const MULAW_TO_FLOAT = Float32Array.from({ length: 256 }, (_, code) => int16ToFloat(mulawToLinear(code)));
const ALAW_TO_FLOAT = Float32Array.from({ length: 256 }, (_, code) => int16ToFloat(alawToLinear(code)));

/**
 * Decodes one channel of (interleaved) mu-law bytes into the start of `out`. Returns the number of frames written: all
 * whole frames, or as many as fit. Throws `RangeError` for a channel that is not there.
 */
export function decodeMulaw(bytes: Uint8Array, out: Float32Array, selection: ChannelSelection = MONO): number {
  return decodeByTable(MULAW_TO_FLOAT, bytes, out, selection);
}

/**
 * Decodes one channel of (interleaved) A-law bytes into the start of `out`. Returns the number of frames written: all
 * whole frames, or as many as fit. Throws `RangeError` for a channel that is not there.
 */
export function decodeAlaw(bytes: Uint8Array, out: Float32Array, selection: ChannelSelection = MONO): number {
  return decodeByTable(ALAW_TO_FLOAT, bytes, out, selection);
}

/** Encodes samples in [-1, 1] as mu-law, one byte each; louder samples are clipped. */
export function encodeMulaw(samples: Float32Array): Uint8Array {
  return encodeEach(samples, linearToMulaw);
}

/** Encodes samples in [-1, 1] as A-law, one byte each; louder samples are clipped. */
export function encodeAlaw(samples: Float32Array): Uint8Array {
  return encodeEach(samples, linearToAlaw);
}

function decodeByTable(table: Float32Array, bytes: Uint8Array, out: Float32Array, selection: ChannelSelection): number {
  const frames = framesToDecode(bytes, out, selection, 1);
  for (let frame = 0, at = selection.channel; frame < frames; frame++, at += selection.channels) {
    out[frame] = table[bytes[at]!]!;
  }
  return frames;
}

function encodeEach(samples: Float32Array, encode: (linear: number) => number): Uint8Array {
  const bytes = new Uint8Array(samples.length);
  for (let i = 0; i < samples.length; i++) bytes[i] = encode(floatToInt16(samples[i]!));
  return bytes;
}

/** Sent inverted: sign bit set for positive, three bits of segment, four of step within the segment. */
function mulawToLinear(code: number): number {
  const bits = ~code;
  const segment = (bits >> 4) & 7;
  const magnitude = ((((bits & 15) << 3) + MULAW_BIAS) << segment) - MULAW_BIAS;
  return bits & 0x80 ? -magnitude : magnitude;
}

function linearToMulaw(linear: number): number {
  const magnitude = Math.min(Math.abs(linear), MULAW_CLIP) + MULAW_BIAS;
  const segment = 24 - Math.clz32(magnitude);
  const bits = (segment << 4) | ((magnitude >> (segment + 3)) & 15);
  return ~(linear < 0 ? bits | 0x80 : bits) & 0xff;
}

/** Sent with every other bit inverted (0x55), which leaves the sign bit: set for positive. */
function alawToLinear(code: number): number {
  const bits = code ^ 0x55;
  const segment = (bits >> 4) & 7;
  const step = ((bits & 15) << 4) + 8;
  const magnitude = segment === 0 ? step : (step + 256) << (segment - 1);
  return bits & 0x80 ? magnitude : -magnitude;
}

function linearToAlaw(linear: number): number {
  const magnitude = Math.min(Math.abs(linear), 32_767);
  // The two lowest segments have the same step, hence 0 for everything below 256.
  const segment = Math.max(0, 24 - Math.clz32(magnitude));
  const bits = (segment << 4) | ((magnitude >> Math.max(4, segment + 3)) & 15);
  return (linear < 0 ? bits : bits | 0x80) ^ 0x55;
}
