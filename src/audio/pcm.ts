/** Conversions between the samples of the wire (16-bit integers, interleaved channels) and those of the signal code. */

/** Which channel of interleaved audio to read; `channel` counts from 0. */
export interface ChannelSelection {
  readonly channels: number;
  readonly channel: number;
}

export const MONO: ChannelSelection = { channels: 1, channel: 0 };

/** Mean square below which a channel counts as silent: -100 dBFS, less than a flickering lowest bit of 16. */
const SILENT_MEAN_SQUARE = 1e-10;

/** A 16-bit sample as a float in [-1, 1). Every 16-bit value of the service goes through this scale. */
export function int16ToFloat(value: number): number {
  return value / 32_768;
}

/** A float sample as a 16-bit one: rounded to the nearest, clipped at full scale; NaN gives 0. Inverse of `int16ToFloat`. */
export function floatToInt16(sample: number): number {
  const scaled = Math.round(sample * 32_768);
  if (scaled >= 32_767) return 32_767;
  if (scaled <= -32_768) return -32_768;
  // `| 0` also turns NaN and -0 into 0.
  return scaled | 0;
}

/**
 * Decodes one channel of interleaved signed 16-bit little-endian PCM into the start of `out`; `bytes` may begin at any
 * offset of its buffer. Stops at the last whole frame (one sample of every channel) or when `out` is full. Returns the
 * number of frames written. Throws `RangeError` for a channel that is not there.
 */
export function decodeS16le(bytes: Uint8Array, out: Float32Array, selection: ChannelSelection): number {
  const frames = framesToDecode(bytes, out, selection, 2);
  const stride = selection.channels * 2;
  // Byte by byte, because an Int16Array can only view even offsets; as fast as the view for these lengths.
  for (let frame = 0, at = selection.channel * 2; frame < frames; frame++, at += stride) {
    out[frame] = int16ToFloat(((bytes[at]! | (bytes[at + 1]! << 8)) << 16) >> 16);
  }
  return frames;
}

/**
 * Encodes channels of equal length as interleaved signed 16-bit little-endian PCM. Throws `RangeError` when the lengths
 * differ.
 */
export function encodeS16le(channels: readonly Float32Array[]): Uint8Array {
  const frames = commonLength(channels);
  const bytes = new Uint8Array(frames * channels.length * 2);
  channels.forEach((samples, channel) => {
    for (let frame = 0; frame < frames; frame++) {
      const value = floatToInt16(samples[frame]!);
      const at = (frame * channels.length + channel) * 2;
      bytes[at] = value;
      bytes[at + 1] = value >> 8;
    }
  });
  return bytes;
}

/**
 * Mixes channels of equal length to one: their mean, so two give 0.5 L + 0.5 R and nothing can clip. A single channel is
 * returned as it is. Throws `RangeError` for no channel or different lengths.
 */
export function downmix(channels: readonly Float32Array[]): Float32Array {
  const first = channels[0];
  if (first === undefined) throw new RangeError('no channel to mix');
  const length = commonLength(channels);
  if (channels.length === 1) return first;
  const mixed = new Float32Array(length);
  const weight = 1 / channels.length;
  for (const samples of channels) {
    for (let i = 0; i < length; i++) mixed[i]! += weight * samples[i]!;
  }
  return mixed;
}

/**
 * Correlation coefficient of two channels at lag 0 (Pearson, so a constant offset counts for nothing), in [-1, 1]; 0 when
 * either is silent. Near 1: the same signal twice, or neighbouring samples of one signal taken for two channels. Throws
 * `RangeError` when the lengths differ.
 */
export function channelCorrelation(a: Float32Array, b: Float32Array): number {
  const length = commonLength([a, b]);
  if (length === 0) return 0;
  const meanA = mean(a);
  const meanB = mean(b);
  let powerA = 0;
  let powerB = 0;
  let cross = 0;
  for (let i = 0; i < length; i++) {
    const da = a[i]! - meanA;
    const db = b[i]! - meanB;
    powerA += da * da;
    powerB += db * db;
    cross += da * db;
  }
  if (powerA < SILENT_MEAN_SQUARE * length || powerB < SILENT_MEAN_SQUARE * length) return 0;
  return Math.max(-1, Math.min(1, cross / Math.sqrt(powerA * powerB)));
}

/**
 * How many frames of `bytesPerSample` fit from `bytes` into `out`. Throws `RangeError` for a channel that is not there.
 */
export function framesToDecode(
  bytes: Uint8Array,
  out: Float32Array,
  { channels, channel }: ChannelSelection,
  bytesPerSample: number,
): number {
  if (!Number.isInteger(channels) || !Number.isInteger(channel) || channel < 0 || channel >= channels) {
    throw new RangeError(`no channel ${channel} among ${channels}`);
  }
  return Math.min(out.length, Math.floor(bytes.length / (channels * bytesPerSample)));
}

function commonLength(channels: readonly Float32Array[]): number {
  const length = channels[0]?.length ?? 0;
  if (channels.some((samples) => samples.length !== length)) throw new RangeError('channels of different lengths');
  return length;
}

function mean(samples: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < samples.length; i++) sum += samples[i]!;
  return sum / samples.length;
}
