/** Opus in Ogg (RFC 7845) and in WebM, decoded by libopus compiled to WebAssembly. */
import OpusScript from 'opusscript';
import { decodeS16le } from '../audio/pcm.js';
import type { DecodedRecording } from '../domain/ports/recordings.js';
import { checkAudioShape, ExternalDecoderNeeded, undecodableAudio } from './decoding-errors.js';
import { readOggPackets, readOggPages } from './ogg-pages.js';
import { PcmCollector } from './pcm-collector.js';
import { readWebm, type WebmTrack } from './webm-elements.js';

/**
 * Opus has no rate of its own, it is decoded to any. 24 kHz keeps all that a voice has, and the longest packet (120 ms)
 * is then as large as the binding's output buffer, which at 48 kHz holds only half of it.
 */
const SAMPLE_RATE_HZ = 24_000;
/** Pre-skip and granule positions count in samples of 48 kHz (RFC 7845 section 4). */
const GRANULES_PER_SAMPLE = 48_000 / SAMPLE_RATE_HZ;
const MAX_PACKET_BYTES = OpusScript.MAX_PACKET_SIZE;
/** Padding at the end is less than a packet; anything that claims more is a broken file and is ignored. */
const MAX_PADDING_SAMPLES = SAMPLE_RATE_HZ;

interface OpusHead {
  readonly channels: number;
  readonly preSkipSamples: number;
  /** Linear factor to apply to every sample. */
  readonly gain: number;
}

/** Decodes the first Opus stream of an Ogg file. Throws like `RecordingDecoder.decode`. */
export function decodeOggOpus(bytes: Uint8Array, maxDurationMs: number): DecodedRecording {
  const format = 'ogg/opus';
  let lastGranule: number | undefined;
  let serial: number | undefined;
  let head: OpusHead | undefined;
  for (const page of readOggPages(bytes)) {
    if (serial === undefined && page.begins && page.packets[0] !== undefined) {
      head = readOpusHead(page.packets[0]);
      if (head !== undefined) serial = page.serial;
    } else if (page.serial === serial && page.granulePosition !== undefined) lastGranule = page.granulePosition;
  }
  if (head === undefined || serial === undefined) throw undecodableAudio(format);
  const collector = new PcmCollector(format, maxDurationMs);
  decodePackets(audioPackets(bytes, serial), head, collector);
  if (lastGranule === undefined) return collector.finish();
  const keep = Math.round(lastGranule / GRANULES_PER_SAMPLE) - head.preSkipSamples;
  return collector.finish(withoutPadding(collector.samples, collector.samples - keep));
}

/**
 * Decodes the first audio track of a WebM file, which has to be Opus. Throws like `RecordingDecoder.decode`, and
 * `ExternalDecoderNeeded` when the track is something else.
 */
export function decodeWebmOpus(bytes: Uint8Array, maxDurationMs: number): DecodedRecording {
  const format = 'webm/opus';
  const track = firstAudioTrack(bytes);
  if (track === undefined) throw undecodableAudio('webm');
  if (track.codecId !== 'A_OPUS') throw new ExternalDecoderNeeded('a WebM recording with a codec other than Opus');
  const head = track.codecPrivate === undefined ? undefined : readOpusHead(track.codecPrivate);
  if (head === undefined) throw undecodableAudio(format);
  const collector = new PcmCollector(format, maxDurationMs);
  let paddingNs = 0;
  decodePackets(
    trackPackets(bytes, track.number, (durationNs) => {
      paddingNs = durationNs;
    }),
    head,
    collector,
  );
  return collector.finish(withoutPadding(collector.samples, Math.round((paddingNs / 1e9) * SAMPLE_RATE_HZ)));
}

/** Everything after the two header packets. */
function* audioPackets(bytes: Uint8Array, serial: number): Generator<Uint8Array> {
  let index = 0;
  for (const packet of readOggPackets(readOggPages(bytes), serial)) {
    if (index >= 2) yield packet;
    index += 1;
  }
}

function* trackPackets(bytes: Uint8Array, trackNumber: number, onPadding: (ns: number) => void): Generator<Uint8Array> {
  for (const item of readWebm(bytes)) {
    if (item.kind === 'padding') onPadding(item.durationNs);
    if (item.kind !== 'block' || item.trackNumber !== trackNumber) continue;
    if (item.laced) throw new ExternalDecoderNeeded('a WebM recording with laced blocks');
    onPadding(0);
    yield item.payload;
  }
}

function firstAudioTrack(bytes: Uint8Array): WebmTrack | undefined {
  for (const item of readWebm(bytes)) {
    if (item.kind === 'track' && item.track.audio) return item.track;
    if (item.kind === 'block') return undefined;
  }
  return undefined;
}

/** Identification header (RFC 7845 section 5.1). Throws `UnsupportedAudioError` for more than two channels. */
function readOpusHead(packet: Uint8Array): OpusHead | undefined {
  if (packet.length < 19 || Buffer.from(packet.subarray(0, 8)).toString('latin1') !== 'OpusHead') return undefined;
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const channels = view.getUint8(9);
  checkAudioShape(channels, SAMPLE_RATE_HZ);
  return {
    channels,
    preSkipSamples: Math.round(view.getUint16(10, true) / GRANULES_PER_SAMPLE),
    gain: 10 ** (view.getInt16(16, true) / (20 * 256)),
  };
}

/** Decodes packet by packet; packets that are damaged are left out. */
function decodePackets(packets: Iterable<Uint8Array>, head: OpusHead, collector: PcmCollector): void {
  const decoder = new OpusScript(SAMPLE_RATE_HZ, head.channels as 1 | 2, OpusScript.Application.AUDIO);
  try {
    let skip = head.preSkipSamples;
    for (const packet of packets) {
      const pcm = decodePacket(decoder, packet);
      const frames = pcm.length / (2 * head.channels);
      const skipped = Math.min(skip, frames);
      skip -= skipped;
      if (frames === skipped) continue;
      collector.add(
        deinterleave(pcm, frames, head).map((samples) => samples.subarray(skipped)),
        SAMPLE_RATE_HZ,
      );
    }
  } finally {
    decoder.delete();
  }
}

/** Interleaved 16-bit samples; none for an empty, oversized or damaged packet. */
function decodePacket(decoder: OpusScript, packet: Uint8Array): Uint8Array {
  if (packet.length === 0 || packet.length > MAX_PACKET_BYTES) return new Uint8Array(0);
  try {
    return decoder.decode(Buffer.from(packet.buffer, packet.byteOffset, packet.byteLength));
  } catch {
    return new Uint8Array(0);
  }
}

function deinterleave(pcm: Uint8Array, frames: number, head: OpusHead): Float32Array[] {
  return Array.from({ length: head.channels }, (_, channel) => {
    const samples = new Float32Array(frames);
    decodeS16le(pcm, samples, { channels: head.channels, channel });
    if (head.gain !== 1) for (let i = 0; i < frames; i += 1) samples[i]! *= head.gain;
    return samples;
  });
}

function withoutPadding(samples: number, paddingSamples: number): number {
  const believable = paddingSamples > 0 && paddingSamples < Math.min(samples, MAX_PADDING_SAMPLES);
  return believable ? samples - paddingSamples : samples;
}
