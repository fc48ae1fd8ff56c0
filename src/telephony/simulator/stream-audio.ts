/** A call's audio as a platform that dials us sends it: encoded, track by track, cut into pieces. */
import { encodeAlaw, encodeMulaw } from '../../audio/g711.js';
import { encodeS16le } from '../../audio/pcm.js';
import { resample } from '../../audio/resampler.js';
import type { StreamPlatform } from '../../domain/calls/calls.js';
import { swapBytes } from '../streams/byte-order.js';
import type { StreamVariant } from './stream-variants.js';
import type { CallAudio } from './wire-audio.js';

export interface StreamPiece {
  readonly track: 'inbound' | 'outbound';
  /** Counts from 1 within the track, lost pieces included. */
  readonly chunk: number;
  /** Audio time of the first and the end of the last sample. */
  readonly startMs: number;
  readonly endMs: number;
  readonly bytes: Uint8Array;
}

/** By how many bytes the ends of odd frames lie off. */
const ODD_OFFSETS = [1, -3, 7, -5, 3];

/** All pieces in the order in which they are spoken. */
export function streamPieces(audio: CallAudio, platform: StreamPlatform, variant: StreamVariant): StreamPiece[] {
  const [caller, agent] = voices(audio, variant.sampleRateHz);
  if (platform === 'vapi_transcriber') {
    const channels = transcriberChannels(caller, agent, variant);
    return cut('inbound', encodeS16le(channels), 2 * channels.length, variant);
  }
  const inbound = variant.tracks === 'outbound' ? [] : pieces('inbound', caller, variant);
  const outbound = variant.tracks === 'inbound' ? [] : pieces('outbound', agent, variant);
  return [...inbound, ...outbound].sort((a, b) => a.endMs - b.endMs);
}

function voices(audio: CallAudio, sampleRateHz: number): [Float32Array, Float32Array] {
  const caller = resample(audio.caller, audio.sampleRateHz, sampleRateHz);
  const agent = resample(audio.agent ?? new Float32Array(0), audio.sampleRateHz, sampleRateHz);
  const length = Math.max(caller.length, agent.length);
  return [padded(caller, length), padded(agent, length)];
}

function transcriberChannels(caller: Float32Array, agent: Float32Array, { channels }: StreamVariant): Float32Array[] {
  if (channels === 'stereo') return [caller, agent];
  const mix = caller.map((sample, i) => sample + agent[i]!);
  return channels === 'mono' ? [mix] : [mix, mix];
}

function pieces(track: StreamPiece['track'], voice: Float32Array, variant: StreamVariant): StreamPiece[] {
  return cut(track, encode(voice, variant.encoding), variant.encoding.startsWith('l16') ? 2 : 1, variant);
}

function encode(voice: Float32Array, encoding: StreamVariant['encoding']): Uint8Array {
  if (encoding === 'mulaw') return encodeMulaw(voice);
  if (encoding === 'alaw') return encodeAlaw(voice);
  const bytes = encodeS16le([voice]);
  if (encoding === 'l16_be') swapBytes(bytes);
  return bytes;
}

function cut(
  track: StreamPiece['track'],
  bytes: Uint8Array,
  sampleBytes: number,
  variant: StreamVariant,
): StreamPiece[] {
  const frameBytes = Math.floor((variant.sampleRateHz * variant.frameMs) / 1_000) * sampleBytes;
  const bytesPerMs = (variant.sampleRateHz * sampleBytes) / 1_000;
  const found: StreamPiece[] = [];
  for (let chunk = 1, start = 0; start < bytes.length; chunk++) {
    const odd = variant.oddFrames ? ODD_OFFSETS[chunk % ODD_OFFSETS.length]! : 0;
    const end = Math.min(bytes.length, chunk * frameBytes + odd);
    found.push({
      track,
      chunk,
      startMs: start / bytesPerMs,
      endMs: end / bytesPerMs,
      bytes: bytes.subarray(start, end),
    });
    start = end;
  }
  const { loseEvery } = variant;
  return loseEvery === undefined ? found : found.filter(({ chunk }) => chunk % loseEvery !== 0);
}

function padded(samples: Float32Array, length: number): Float32Array {
  if (samples.length === length) return samples;
  const longer = new Float32Array(length);
  longer.set(samples);
  return longer;
}
