/** Recordings made on the spot: tones, and files in formats for which the service has no writer. */
import { readFileSync } from 'node:fs';

/** A committed recording of `scripts/make-codec-fixtures.sh`. */
export function codecFixture(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../fixtures/codecs/${name}`, import.meta.url)));
}

export function tone(frequencyHz: number, sampleRateHz: number, seconds = 1.5): Float32Array {
  return Float32Array.from(
    { length: Math.round(sampleRateHz * seconds) },
    (_, i) => 0.5 * Math.sin((2 * Math.PI * frequencyHz * i) / sampleRateHz),
  );
}

/** Frequency of a pure tone, from the rising zero crossings of its middle half. */
export function frequencyOf(samples: Float32Array, sampleRateHz: number): number {
  const middle = samples.subarray(samples.length >> 2, (samples.length * 3) >> 2);
  const crossings: number[] = [];
  for (let i = 1; i < middle.length; i += 1) if (middle[i - 1]! < 0 && middle[i]! >= 0) crossings.push(i);
  return ((crossings.length - 1) * sampleRateHz) / (crossings.at(-1)! - crossings[0]!);
}

export function rms(samples: Float32Array): number {
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}

export interface OggPageParts {
  readonly serial?: number;
  readonly granule?: number;
  readonly begins?: boolean;
  readonly continues?: boolean;
  /** Whole packets; the last one may be left unfinished (its length must then be a multiple of 255). */
  readonly packets: readonly Uint8Array[];
  readonly unfinished?: boolean;
}

/** One Ogg page (RFC 3533), without a valid checksum. */
export function oggPage(parts: OggPageParts): Buffer {
  const lacing = parts.packets.flatMap((packet, index) => {
    const full = Array<number>(Math.floor(packet.length / 255)).fill(255);
    const open = parts.unfinished === true && index === parts.packets.length - 1;
    return open ? full : [...full, packet.length % 255];
  });
  const header = Buffer.alloc(27);
  header.write('OggS', 'latin1');
  header[5] = (parts.continues ? 1 : 0) | (parts.begins ? 2 : 0);
  header.writeBigInt64LE(BigInt(parts.granule ?? -1), 6);
  header.writeUInt32LE(parts.serial ?? 1, 14);
  header[26] = lacing.length;
  return Buffer.concat([header, Buffer.from(lacing), ...parts.packets]);
}

/** Identification header of an Opus stream (RFC 7845). */
export function opusHead(channels: number, preSkip = 312, gainDb256 = 0): Buffer {
  const head = Buffer.alloc(19);
  head.write('OpusHead', 'latin1');
  head[8] = 1;
  head[9] = channels;
  head.writeUInt16LE(preSkip, 10);
  head.writeUInt32LE(48_000, 12);
  head.writeInt16LE(gainDb256, 16);
  return head;
}

/** An Ogg Opus file of these packets, many to a page. */
export function oggOpus(channels: number, packets: readonly Uint8Array[]): Buffer {
  const pages = [
    oggPage({ begins: true, granule: 0, packets: [opusHead(channels)] }),
    oggPage({ granule: 0, packets: [Buffer.from('OpusTags\0\0\0\0\0\0\0\0', 'latin1')] }),
  ];
  for (let i = 0; i < packets.length; i += 250) pages.push(oggPage({ packets: packets.slice(i, i + 250) }));
  return Buffer.concat(pages);
}

export interface FlacSilence {
  readonly sampleRateHz: number;
  readonly channels: number;
  readonly frames: number;
  /** What STREAMINFO claims; 0 = unknown. */
  readonly claimedSamples: number;
}

const FLAC_BLOCK_SAMPLES = 65_535;

/** FLAC (RFC 9639) at its densest: frames of 65,535 equal samples, about a dozen bytes each. */
export function flacSilence(options: FlacSilence): Buffer {
  const info = Buffer.alloc(34);
  info.writeUInt16BE(FLAC_BLOCK_SAMPLES, 0);
  info.writeUInt16BE(FLAC_BLOCK_SAMPLES, 2);
  const shape = (BigInt(options.sampleRateHz) << 44n) | (BigInt(options.channels - 1) << 41n) | (15n << 36n);
  info.writeBigUInt64BE(shape | BigInt(options.claimedSamples), 10);
  const frames = Array.from({ length: options.frames }, (_, index) => flacFrame(index, options));
  return Buffer.concat([Buffer.from('fLaC\x80\0\0\x22', 'latin1'), info, ...frames]);
}

function flacFrame(index: number, options: FlacSilence): Buffer {
  const rateCodes: Record<number, number> = { 8000: 4, 16000: 5, 44100: 9, 48000: 10 };
  const header = [0xff, 0xf8, 0x70 | rateCodes[options.sampleRateHz]!, ((options.channels - 1) << 4) | 8];
  header.push(...flacNumber(index), 0xff, 0xfe);
  header.push(crc(header, { bits: 8, polynomial: 0x07 }));
  const frame = [...header, ...Array<number[]>(options.channels).fill([0, 0, 0]).flat()];
  const check = crc(frame, { bits: 16, polynomial: 0x8005 });
  return Buffer.from([...frame, check >> 8, check & 255]);
}

/** Frame numbers are coded like characters in UTF-8. */
function flacNumber(value: number): number[] {
  return [...Buffer.from(String.fromCodePoint(value), 'utf8')];
}

function crc(bytes: readonly number[], { bits, polynomial }: { bits: number; polynomial: number }): number {
  const top = 1 << (bits - 1);
  let value = 0;
  for (const byte of bytes) {
    value ^= byte << (bits - 8);
    for (let i = 0; i < 8; i += 1) value = (value & top) === 0 ? value << 1 : (value << 1) ^ polynomial;
  }
  return value & (2 ** bits - 1);
}
