/**
 * Finds out what a recording is by looking at its bytes. Names and MIME types are claims by strangers and count for
 * nothing. Only what is recognised here is decoded, and an outside program is told which format to expect: it never
 * gets to guess that something is a playlist.
 */
import { findMpegAudio, isAdts } from './frame-headers.js';
import { readOggPages } from './ogg-pages.js';
import { isEbml } from './webm-elements.js';

/** Formats decoded by this service itself. */
export type BuiltInDecoder = 'wav' | 'mp3' | 'flac' | 'ogg-vorbis' | 'ogg-opus' | 'webm-opus';

export interface SniffedFormat {
  /** For people and `DecodedRecording.format`. */
  readonly name: string;
  /** Undefined when only an outside decoder can read it. */
  readonly decoder: BuiltInDecoder | undefined;
  /** ffmpeg's name for the container. */
  readonly demuxer: string;
  /** Where the audio begins: after tags. */
  readonly offset: number;
}

interface Magic {
  readonly name: string;
  readonly demuxer: string;
  readonly at: number;
  readonly text: string;
}

const EXTERNAL: readonly Magic[] = [
  { name: 'mp4', demuxer: 'mov', at: 4, text: 'ftyp' },
  { name: 'quicktime', demuxer: 'mov', at: 4, text: 'moov' },
  { name: 'quicktime', demuxer: 'mov', at: 4, text: 'mdat' },
  { name: 'quicktime', demuxer: 'mov', at: 4, text: 'wide' },
  { name: 'amr', demuxer: 'amr', at: 0, text: '#!AMR' },
  { name: 'caf', demuxer: 'caf', at: 0, text: 'caff' },
  { name: 'au', demuxer: 'au', at: 0, text: '.snd' },
  { name: 'asf', demuxer: 'asf', at: 0, text: '\x30\x26\xb2\x75\x8e\x66\xcf\x11' },
  { name: 'wavpack', demuxer: 'wv', at: 0, text: 'wvpk' },
  { name: 'ac3', demuxer: 'ac3', at: 0, text: '\x0b\x77' },
];

const OGG_CODECS: readonly (readonly [magic: string, name: string, decoder: BuiltInDecoder | undefined])[] = [
  ['OpusHead', 'ogg/opus', 'ogg-opus'],
  ['\x01vorbis', 'ogg/vorbis', 'ogg-vorbis'],
  ['\x7fFLAC', 'ogg/flac', 'flac'],
  ['Speex   ', 'ogg/speex', undefined],
];

/** ID3v2 tags that are skipped before giving up: some writers stack two. */
const MAX_ID3_TAGS = 4;
/** How far into an Ogg file its codec is looked for: this runs on the server's own thread, and pages can be tiny and many. */
const OGG_SEARCH_BYTES = 8 * 1024;

/** The format of a recording, or undefined when the bytes are no audio we know (text, pictures, anything else). */
export function sniffFormat(bytes: Uint8Array): SniffedFormat | undefined {
  const offset = skipId3(bytes);
  const audio = bytes.subarray(offset);
  const form = textAt(audio, 8, 4);
  const chunk = textAt(audio, 0, 4);
  if (['RIFF', 'RIFX', 'RF64', 'BW64'].includes(chunk) && form === 'WAVE') return found('wav', 'wav', 'wav', offset);
  if (chunk === 'FORM' && (form === 'AIFF' || form === 'AIFC')) return found('aiff', undefined, 'aiff', offset);
  if (chunk === 'fLaC') return found('flac', 'flac', 'flac', offset);
  if (chunk === 'OggS') return sniffOgg(audio, offset);
  if (isEbml(audio)) return found('webm', 'webm-opus', 'matroska', offset);
  const external = EXTERNAL.find(({ at, text }) => textAt(audio, at, text.length) === text);
  if (external !== undefined) return found(external.name, undefined, external.demuxer, offset);
  if (isAdts(audio)) return found('aac', undefined, 'aac', offset);
  const frameAt = findMpegAudio(audio);
  if (frameAt !== undefined) return found('mp3', 'mp3', 'mp3', offset + frameAt);
  // A tag followed by nothing readable is a broken MP3 rather than something unknown.
  return offset > 0 ? found('mp3', 'mp3', 'mp3', Math.min(offset, bytes.length)) : undefined;
}

function found(name: string, decoder: BuiltInDecoder | undefined, demuxer: string, offset: number): SniffedFormat {
  return { name, decoder, demuxer, offset };
}

/** By the first packet of each logical stream; they all begin before any audio. */
function sniffOgg(audio: Uint8Array, offset: number): SniffedFormat {
  for (const page of readOggPages(audio.subarray(0, OGG_SEARCH_BYTES))) {
    if (!page.begins) break;
    const packet = page.packets[0] ?? new Uint8Array(0);
    for (const [magic, name, decoder] of OGG_CODECS) {
      if (textAt(packet, 0, magic.length) === magic) return found(name, decoder, 'ogg', offset);
    }
  }
  return found('ogg', undefined, 'ogg', offset);
}

/** Offset behind any ID3v2 tags (id3.org, "ID3 tag version 2.4.0", section 3.1). */
function skipId3(bytes: Uint8Array): number {
  let offset = 0;
  for (let tags = 0; tags < MAX_ID3_TAGS && textAt(bytes, offset, 3) === 'ID3'; tags += 1) {
    const header = bytes.subarray(offset, offset + 10);
    if (header.length < 10 || header.subarray(6).some((byte) => byte >= 128)) break;
    const size = (header[6]! << 21) | (header[7]! << 14) | (header[8]! << 7) | header[9]!;
    const footer = (header[5]! & 0x10) === 0 ? 0 : 10;
    offset += 10 + size + footer;
  }
  return offset;
}

function textAt(bytes: Uint8Array, at: number, length: number): string {
  return Buffer.from(bytes.subarray(at, at + length)).toString('latin1');
}
