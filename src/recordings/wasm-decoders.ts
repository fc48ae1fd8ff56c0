/**
 * MP3, FLAC and Ogg Vorbis by decoders compiled to WebAssembly. They are fed in small pieces, because the only way to
 * limit what they give is to stop feeding: the pieces are sized so that even the densest input cannot blow up one step.
 */
import { FLACDecoder } from '@wasm-audio-decoders/flac';
import { OggVorbisDecoder } from '@wasm-audio-decoders/ogg-vorbis';
import { MPEGDecoder } from 'mpg123-decoder';
import type { DecodedRecording } from '../domain/ports/recordings.js';
import { checkAudioShape, recordingTooLong, undecodableAudio } from './decoding-errors.js';
import { readOggPages } from './ogg-pages.js';
import { PcmCollector } from './pcm-collector.js';

/** MPEG audio gives at most 24 samples per byte (8 kbit/s). */
const MP3_PIECE_BYTES = 16_384;
/** A FLAC frame of silence is 65,535 samples in 11 bytes. */
const FLAC_PIECE_BYTES = 512;
/** A Vorbis packet of silence is 4,096 samples in 1 byte. */
const VORBIS_PIECE_BYTES = 1024;

interface DecodedPiece {
  readonly channelData: readonly Float32Array[];
  readonly sampleRate: number;
}

interface PieceDecoder {
  readonly ready: Promise<void>;
  decode(bytes: Uint8Array): DecodedPiece | Promise<DecodedPiece>;
  flush?(): Promise<DecodedPiece>;
  free(): void;
}

/**
 * Decodes MPEG audio layers I to III. The decoder gives mono as two equal channels; equal channels are therefore one.
 * Throws like `RecordingDecoder.decode`.
 */
export async function decodeMp3(bytes: Uint8Array, maxDurationMs: number): Promise<DecodedRecording> {
  const collector = new PcmCollector('mp3', maxDurationMs);
  await feed(new MPEGDecoder(), bytes, { collector, pieceBytes: MP3_PIECE_BYTES });
  const decoded = collector.finish();
  return { ...decoded, channels: withoutTwin(decoded.channels) };
}

/** Decodes FLAC, native or in Ogg. Throws like `RecordingDecoder.decode`. */
export async function decodeFlac(
  bytes: Uint8Array,
  maxDurationMs: number,
  options: { readonly format: string },
): Promise<DecodedRecording> {
  const { format } = options;
  checkFlacStreamInfo(bytes, maxDurationMs, options);
  const collector = new PcmCollector(format, maxDurationMs);
  await feed(new FLACDecoder(), bytes, { collector, pieceBytes: FLAC_PIECE_BYTES });
  return collector.finish();
}

/** Decodes the Vorbis stream of an Ogg file. Throws like `RecordingDecoder.decode`. */
export async function decodeOggVorbis(bytes: Uint8Array, maxDurationMs: number): Promise<DecodedRecording> {
  checkVorbisHeader(bytes);
  const collector = new PcmCollector('ogg/vorbis', maxDurationMs);
  await feed(new OggVorbisDecoder(), bytes, { collector, pieceBytes: VORBIS_PIECE_BYTES });
  return collector.finish();
}

/** Feeds a decoder to its end or to its first fault; what it gave until then is kept. */
async function feed(
  decoder: PieceDecoder,
  bytes: Uint8Array,
  to: { readonly collector: PcmCollector; readonly pieceBytes: number },
): Promise<void> {
  await decoder.ready;
  try {
    for (let at = 0; at < bytes.length; at += to.pieceBytes) {
      const piece = await whole(() => decoder.decode(bytes.subarray(at, at + to.pieceBytes)));
      if (piece === undefined || !to.collector.add(piece.channelData, piece.sampleRate)) return;
    }
    const rest = await whole(() => decoder.flush?.());
    if (rest !== undefined) to.collector.add(rest.channelData, rest.sampleRate);
  } finally {
    await whole(() => decoder.free());
  }
}

/** The step's result, or undefined when the decoder gave up: it is then in no state to be asked anything more. */
async function whole<T>(step: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await step();
  } catch {
    return undefined;
  }
}

/** STREAMINFO (RFC 9639 section 8.2), so that a bad shape or length is refused before anything is decoded. */
function checkFlacStreamInfo(bytes: Uint8Array, maxDurationMs: number, options: { readonly format: string }): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = buffer.indexOf('fLaC', 0, 'latin1') + 8;
  if (at < 8 || at + 18 > buffer.length) throw undecodableAudio(options.format);
  const packed = buffer.readBigUInt64BE(at + 10);
  const sampleRateHz = Number(packed >> 44n);
  checkAudioShape(Number((packed >> 41n) & 7n) + 1, sampleRateHz);
  const durationMs = (Number(packed & 0xf_ffff_ffffn) / sampleRateHz) * 1000;
  if (durationMs > maxDurationMs) throw recordingTooLong(durationMs, maxDurationMs);
}

/** Identification header (Vorbis I specification, section 4.2.2): up to 255 channels would be decoded otherwise. */
function checkVorbisHeader(bytes: Uint8Array): void {
  for (const page of readOggPages(bytes)) {
    const packet = page.packets[0];
    if (!page.begins) break;
    if (packet === undefined || packet.length < 16 || packet[0] !== 1) continue;
    const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
    checkAudioShape(view.getUint8(11), view.getUint32(12, true));
    return;
  }
  throw undecodableAudio('ogg/vorbis');
}

function withoutTwin(channels: readonly Float32Array[]): readonly Float32Array[] {
  const [left, right] = channels;
  if (left === undefined || right === undefined) return channels;
  for (let i = 0; i < left.length; i += 1) if (left[i] !== right[i]) return channels;
  return [left];
}
