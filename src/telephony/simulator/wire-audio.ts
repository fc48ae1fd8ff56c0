/** A call's audio as the bytes of the wire, cut into frames: computed once per script, shared by all its listeners. */
import { encodeS16le } from '../../audio/pcm.js';
import { resample } from '../../audio/resampler.js';
import type { WireVariant } from './variants.js';

/** Who says what: mono samples in [-1, 1) at one rate, both from the start of the call; the shorter is filled up. */
export interface CallAudio {
  readonly caller: Float32Array;
  readonly agent?: Float32Array;
  readonly sampleRateHz: number;
}

export interface WireAudio {
  readonly bytes: Uint8Array;
  /** End of frame k in `bytes`; the last is the length. */
  readonly frameEnds: Uint32Array;
  readonly bytesPerSecond: number;
  readonly durationMs: number;
}

/** How far odd frame ends lie from the even ones; all odd, so every frame splits a sample, most a sample pair as well. */
const ODD_OFFSETS = [1, -1, 3, -3, 5];

/** Renders the audio in the variant's rate, layout and framing. */
export function wireAudio(audio: CallAudio, variant: WireVariant): WireAudio {
  const caller = resample(audio.caller, audio.sampleRateHz, variant.sampleRateHz);
  const agent = resample(audio.agent ?? new Float32Array(0), audio.sampleRateHz, variant.sampleRateHz);
  const length = Math.max(caller.length, agent.length);
  const bytes = encodeS16le(channels(padded(caller, length), padded(agent, length), variant));
  const bytesPerSecond = variant.sampleRateHz * (variant.layout === 'stereo' ? 4 : 2);
  return {
    bytes,
    frameEnds: frameEnds(bytes.length, (bytesPerSecond * variant.frameMs) / 1_000, variant),
    bytesPerSecond,
    durationMs: (bytes.length * 1_000) / bytesPerSecond,
  };
}

function channels(caller: Float32Array, agent: Float32Array, variant: WireVariant): readonly Float32Array[] {
  const heard = variant.callerSilent ? new Float32Array(caller.length) : caller;
  if (variant.layout === 'mono_caller') return [heard];
  if (variant.layout === 'mono_mixed') return [heard.map((sample, i) => sample + agent[i]!)];
  return variant.callerChannel === 0 ? [heard, agent] : [agent, heard];
}

function frameEnds(total: number, frameBytes: number, { layout, oddBytes }: WireVariant): Uint32Array {
  const align = layout === 'stereo' ? 4 : 2;
  const ends: number[] = [];
  for (let frame = 1; ; frame++) {
    const even = Math.floor((frame * frameBytes) / align) * align;
    const end = oddBytes ? even + ODD_OFFSETS[frame % ODD_OFFSETS.length]! : even;
    if (end >= total) break;
    ends.push(end);
  }
  if (total > 0) ends.push(total);
  return Uint32Array.from(ends);
}

function padded(samples: Float32Array, length: number): Float32Array {
  if (samples.length === length) return samples;
  const longer = new Float32Array(length);
  longer.set(samples);
  return longer;
}
