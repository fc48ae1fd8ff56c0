/**
 * Reads and writes WAV files (RIFF, "Multimedia Programming Interface and Data Specifications 1.0", Microsoft / IBM 1991;
 * WAVE_FORMAT_EXTENSIBLE as in Microsoft's mmreg.h). The bytes may come from anyone: every number in them is checked
 * against the bytes that are there, and nothing is allocated that the audio present would not fill.
 */
import { decodeAlaw, decodeMulaw, encodeAlaw, encodeMulaw } from './g711.js';
import { type ChannelSelection, decodeS16le, encodeS16le, framesToDecode } from './pcm.js';
import { MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ } from './resampler.js';

export type WavEncoding =
  | 'pcm_u8'
  | 'pcm_s16le'
  | 'pcm_s24le'
  | 'pcm_s32le'
  | 'float32le'
  | 'float64le'
  | 'mulaw'
  | 'alaw';

export interface WavAudio {
  /** One array per channel (1 or 2), samples in [-1, 1], all of the same length; that may be 0. */
  readonly channels: Float32Array[];
  readonly sampleRateHz: number;
  readonly format: WavEncoding;
  /** Samples per channel that were left out because of `maxSamples`. */
  readonly omittedSamples: number;
}

export interface ReadWavOptions {
  /** Most samples to decode per channel; default all. */
  readonly maxSamples?: number;
}

/** `unsupported`: a kind of file that is not read here. `damaged`: not what its header says it is. */
export type WavErrorKind = 'unsupported' | 'damaged';

/** Why a file could not be read. The message names what was found and is safe to show. */
export class WavError extends Error {
  readonly kind: WavErrorKind;

  constructor(kind: WavErrorKind, message: string) {
    super(message);
    this.name = 'WavError';
    this.kind = kind;
  }
}

type ChannelDecoder = (bytes: Uint8Array, out: Float32Array, selection: ChannelSelection) => number;

const FORMAT_PCM = 0x0001;
const FORMAT_FLOAT = 0x0003;
const FORMAT_ALAW = 0x0006;
const FORMAT_MULAW = 0x0007;
const FORMAT_EXTENSIBLE = 0xfffe;
/** Bytes 2..15 of the sub-format GUIDs that stand for a plain format tag (KSDATAFORMAT_SUBTYPE_WAVEFORMATEX). */
const TAG_GUID_REST = [0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x80, 0x00, 0x00, 0xaa, 0x00, 0x38, 0x9b, 0x71];

interface Coding {
  readonly tag: number;
  readonly bits: number;
  readonly decode: ChannelDecoder;
}

const CODINGS: Readonly<Record<WavEncoding, Coding>> = {
  pcm_u8: { tag: FORMAT_PCM, bits: 8, decode: decoder(1, (view, at) => (view.getUint8(at) - 128) / 128) },
  pcm_s16le: { tag: FORMAT_PCM, bits: 16, decode: decodeS16le },
  pcm_s24le: {
    tag: FORMAT_PCM,
    bits: 24,
    decode: decoder(3, (view, at) => ((view.getInt8(at + 2) << 16) | view.getUint16(at, true)) / 2 ** 23),
  },
  pcm_s32le: { tag: FORMAT_PCM, bits: 32, decode: decoder(4, (view, at) => view.getInt32(at, true) / 2 ** 31) },
  float32le: { tag: FORMAT_FLOAT, bits: 32, decode: decoder(4, (view, at) => clampFloat(view.getFloat32(at, true))) },
  float64le: { tag: FORMAT_FLOAT, bits: 64, decode: decoder(8, (view, at) => clampFloat(view.getFloat64(at, true))) },
  mulaw: { tag: FORMAT_MULAW, bits: 8, decode: decodeMulaw },
  alaw: { tag: FORMAT_ALAW, bits: 8, decode: decodeAlaw },
};

interface WavFormat {
  readonly encoding: WavEncoding;
  readonly channels: number;
  readonly sampleRateHz: number;
}

/**
 * Decodes a WAV file: PCM of 8, 16, 24 or 32 bits, IEEE float of 32 or 64, mu-law or A-law; one or two channels; 8 to 48
 * kHz; plain or extensible header; unknown chunks skipped. A data chunk that says 0 or 0xFFFFFFFF (a stream whose writer
 * could not go back) or more than there is (a cut file) ends with the file. Throws `WavError`, and nothing else.
 */
export function readWav(bytes: Uint8Array, options: ReadWavOptions = {}): WavAudio {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { format, data } = findChunks(view);
  const { bits, decode } = CODINGS[format.encoding];
  const frames = Math.floor(data.length / (format.channels * (bits / 8)));
  const decoded = Math.min(frames, Math.max(0, Math.floor(options.maxSamples ?? frames)));
  const channels = Array.from({ length: format.channels }, (_, channel) => {
    const samples = new Float32Array(decoded);
    decode(data, samples, { channels: format.channels, channel });
    return samples;
  });
  return { channels, sampleRateHz: format.sampleRateHz, format: format.encoding, omittedSamples: frames - decoded };
}

export interface WriteWavOptions {
  readonly encoding: 'pcm_s16le' | 'mulaw' | 'alaw';
}

/**
 * A WAV file of one channel, or of several of equal length, samples in [-1, 1] (louder ones are clipped). Throws
 * `RangeError` for no channel or different lengths.
 */
export function writeWav(
  samples: Float32Array | readonly Float32Array[],
  sampleRateHz: number,
  { encoding }: WriteWavOptions,
): Uint8Array {
  const channels = samples instanceof Float32Array ? [samples] : samples;
  if (channels.length === 0) throw new RangeError('no channel to write');
  const data = encodeChannels(channels, encoding);
  const { tag, bits } = CODINGS[encoding];
  const frameBytes = (bits / 8) * channels.length;
  // Formats other than PCM end with the size of an (empty) extension and carry their length in a fact chunk.
  const plain = tag === FORMAT_PCM;
  const formatBytes = plain ? 16 : 18;
  const headerBytes = 12 + 8 + formatBytes + (plain ? 0 : 12) + 8;
  const file = new Uint8Array(headerBytes + data.length + (data.length % 2));
  const view = new DataView(file.buffer);
  writeTag(view, 0, 'RIFF');
  view.setUint32(4, file.length - 8, true);
  writeTag(view, 8, 'WAVE');
  writeTag(view, 12, 'fmt ');
  view.setUint32(16, formatBytes, true);
  view.setUint16(20, tag, true);
  view.setUint16(22, channels.length, true);
  view.setUint32(24, sampleRateHz, true);
  view.setUint32(28, sampleRateHz * frameBytes, true);
  view.setUint16(32, frameBytes, true);
  view.setUint16(34, bits, true);
  if (!plain) {
    writeTag(view, 38, 'fact');
    view.setUint32(42, 4, true);
    view.setUint32(46, data.length / frameBytes, true);
  }
  writeTag(view, headerBytes - 8, 'data');
  view.setUint32(headerBytes - 4, data.length, true);
  file.set(data, headerBytes);
  return file;
}

function encodeChannels(channels: readonly Float32Array[], encoding: WriteWavOptions['encoding']): Uint8Array {
  if (encoding === 'pcm_s16le') return encodeS16le(channels);
  const encode = encoding === 'mulaw' ? encodeMulaw : encodeAlaw;
  const length = channels[0]!.length;
  if (channels.some((samples) => samples.length !== length)) throw new RangeError('channels of different lengths');
  const bytes = new Uint8Array(length * channels.length);
  channels.forEach((samples, channel) => {
    const codes = encode(samples);
    for (let frame = 0; frame < length; frame++) bytes[frame * channels.length + channel] = codes[frame]!;
  });
  return bytes;
}

function findChunks(view: DataView): { format: WavFormat; data: Uint8Array } {
  if (view.byteLength < 12) throw new WavError('damaged', `a WAV header has 12 bytes, found ${view.byteLength}`);
  const container = readTag(view, 0);
  if (container === 'RF64' || container === 'RIFX' || container === 'BW64') {
    throw new WavError('unsupported', `WAV variant ${container} is not supported, only RIFF`);
  }
  if (container !== 'RIFF' || readTag(view, 8) !== 'WAVE') throw new WavError('unsupported', 'not a WAV file');
  let format: WavFormat | undefined;
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const id = readTag(view, at);
    const declared = view.getUint32(at + 4, true);
    const start = at + 8;
    if (id === 'fmt ' && format === undefined) {
      format = readFormat(view, start, Math.min(declared, view.byteLength - start));
    } else if (id === 'data') {
      if (format === undefined) throw new WavError('damaged', 'the data chunk comes before the fmt chunk');
      return { format, data: new Uint8Array(view.buffer, view.byteOffset + start, dataLength(view, start, declared)) };
    }
    at = start + declared + (declared % 2);
  }
  throw new WavError('damaged', format === undefined ? 'there is no fmt chunk' : 'there is no data chunk');
}

function dataLength(view: DataView, start: number, declared: number): number {
  const present = view.byteLength - start;
  if (declared === 0) return startsChunk(view, start) ? 0 : present;
  return Math.min(declared, present);
}

/** Whether a whole chunk lies here, which tells an empty data chunk from one of unknown length. */
function startsChunk(view: DataView, at: number): boolean {
  if (at + 8 > view.byteLength) return false;
  return /^[ -~]{4}$/.test(readTag(view, at)) && view.getUint32(at + 4, true) <= view.byteLength - at - 8;
}

function readFormat(view: DataView, start: number, length: number): WavFormat {
  if (length < 16) throw new WavError('damaged', `a fmt chunk has at least 16 bytes, found ${length}`);
  const declaredTag = view.getUint16(start, true);
  const channels = view.getUint16(start + 2, true);
  const sampleRateHz = view.getUint32(start + 4, true);
  const frameBytes = view.getUint16(start + 12, true);
  const bits = view.getUint16(start + 14, true);
  const tag = declaredTag === FORMAT_EXTENSIBLE ? readSubFormat(view, start, length) : declaredTag;
  const encoding = encodingOf(tag, bits);
  if (channels === 0) throw new WavError('damaged', 'the header says 0 channels');
  if (channels > 2) throw new WavError('unsupported', `${channels} channels are not supported, at most 2`);
  if (sampleRateHz < MIN_SAMPLE_RATE_HZ || sampleRateHz > MAX_SAMPLE_RATE_HZ) {
    const range = `${MIN_SAMPLE_RATE_HZ} to ${MAX_SAMPLE_RATE_HZ} Hz`;
    throw new WavError('unsupported', `a sample rate of ${sampleRateHz} Hz is not supported, only ${range}`);
  }
  if (frameBytes !== (channels * bits) / 8) {
    throw new WavError('damaged', `${channels} channel(s) of ${bits} bits do not make frames of ${frameBytes} bytes`);
  }
  return { encoding, channels, sampleRateHz };
}

function readSubFormat(view: DataView, start: number, length: number): number {
  if (length < 40) throw new WavError('damaged', `an extensible fmt chunk has 40 bytes, found ${length}`);
  const guidRest = TAG_GUID_REST.every((byte, i) => view.getUint8(start + 26 + i) === byte);
  if (!guidRest) throw new WavError('unsupported', 'an unknown extensible WAV sub-format is not supported');
  return view.getUint16(start + 24, true);
}

function encodingOf(tag: number, bits: number): WavEncoding {
  for (const encoding of Object.keys(CODINGS) as WavEncoding[]) {
    if (CODINGS[encoding].tag === tag && CODINGS[encoding].bits === bits) return encoding;
  }
  const name = `format 0x${tag.toString(16).padStart(4, '0')} with ${bits} bits`;
  throw new WavError('unsupported', `WAV ${name} is not supported, only PCM 8/16/24/32, float 32/64, mu-law and A-law`);
}

function decoder(bytesPerSample: number, read: (view: DataView, at: number) => number): ChannelDecoder {
  return (bytes, out, selection) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const frames = framesToDecode(bytes, out, selection, bytesPerSample);
    const stride = selection.channels * bytesPerSample;
    for (let frame = 0, at = selection.channel * bytesPerSample; frame < frames; frame++, at += stride) {
      out[frame] = read(view, at);
    }
    return frames;
  };
}

/** Float files can hold anything: what is no number becomes 0, what is too loud full scale. */
function clampFloat(value: number): number {
  return Number.isNaN(value) ? 0 : Math.max(-1, Math.min(1, value));
}

function readTag(view: DataView, at: number): string {
  return String.fromCharCode(view.getUint8(at), view.getUint8(at + 1), view.getUint8(at + 2), view.getUint8(at + 3));
}

function writeTag(view: DataView, at: number, tag: string): void {
  for (let i = 0; i < 4; i++) view.setUint8(at + i, tag.charCodeAt(i));
}
