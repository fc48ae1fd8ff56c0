/** Fetches or takes a recording, decodes it, and feeds it through the same gate and detector as a live call. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { channelCorrelation, downmix } from '../../audio/pcm.js';
import type { WorkLimit } from '../admission.js';
import { VoiceAuthError } from '../errors.js';
import type { DecodedRecording, RecordingDecoder, RecordingFetcher } from '../ports/recordings.js';
import type { CallerSpeech } from './caller-speech.js';

export type RecordingSource =
  | { readonly kind: 'audio_url'; readonly audioUrl: string; readonly channel: 0 | 1 | undefined }
  | { readonly kind: 'upload'; readonly bytes: Uint8Array; readonly channel: 0 | 1 | undefined };

export interface RecordingDeps {
  readonly fetcher: RecordingFetcher;
  readonly decoder: RecordingDecoder;
  /** Bounds how many decoded recordings are in memory at once. */
  readonly recordings: WorkLimit;
}

const CHUNK_MS = 500;
/**
 * Two microphones, or two sides of one, hear the same room: their signals correlate. Below this the channels hold
 * different people (a recorded call), and mixing them would compare the caller with caller and agent at once.
 */
const SAME_SCENE_CORRELATION = 0.5;
/** Correlation is estimated on blocks spread over the recording: enough to tell, and quick however long it is. */
const CORRELATION_BLOCKS = 64;
const CORRELATION_BLOCK_SAMPLES = 4_096;

/**
 * Judges all of a recording into `speech` (or as much as it stores). Throws what fetcher and decoder throw, `Busy` when
 * too many recordings are in memory, `Timeout` when `signal` fires, and `AudioProcessingError` when it must be said
 * which channel holds the caller and is not, or a channel is named that is not there.
 */
export async function listenToRecording(
  source: RecordingSource,
  speech: CallerSpeech,
  options: RecordingDeps & { readonly signal: AbortSignal },
): Promise<void> {
  const { fetcher, decoder, recordings, signal } = options;
  const bytes = source.kind === 'upload' ? source.bytes : await fetcher.fetch(source.audioUrl, { signal });
  await recordings.run(async () => {
    const recording = await decoder.decode(bytes, { signal });
    const channels = callerChannels(recording, source.channel);
    const length = channels[0]?.length ?? 0;
    const chunkSamples = Math.round((CHUNK_MS / 1000) * recording.sampleRateHz);
    for (let at = 0; at < length && !speech.full; at += chunkSamples) {
      if (signal.aborted) throw new VoiceAuthError('Timeout', 'The request was given up');
      speech.push({
        samples: downmix(channels.map((channel) => channel.subarray(at, at + chunkSamples))),
        sampleRateHz: recording.sampleRateHz,
        track: 'caller',
        startMs: (at / recording.sampleRateHz) * 1000,
      });
      await speech.ready();
      // Quiet audio never waits for the detector; without this a long recording would hold up every live call.
      await nextTurn();
    }
    await speech.finish();
  });
}

/** The channels to mix down: one that was asked for, a mono file's only one, or both of the same scene. */
function callerChannels(recording: DecodedRecording, channel: 0 | 1 | undefined): readonly Float32Array[] {
  if (channel !== undefined) {
    const chosen = recording.channels[channel];
    if (chosen) return [chosen];
    throw new VoiceAuthError('AudioProcessingError', `The recording has no channel ${channel}`, {
      details: { check: 'channels', found: recording.channels.length, needed: channel + 1 },
    });
  }
  if (sameScene(recording.channels)) return recording.channels;
  throw new VoiceAuthError(
    'AudioProcessingError',
    'The two channels of the recording differ: say which one holds the caller with channel 0 or 1',
    { details: { check: 'channels', found: 2, needed: 1 } },
  );
}

function sameScene([first, second]: readonly Float32Array[]): boolean {
  if (!first || !second) return true;
  return channelCorrelation(spreadBlocks(first), spreadBlocks(second)) >= SAME_SCENE_CORRELATION;
}

function spreadBlocks(samples: Float32Array): Float32Array {
  const step = Math.floor(samples.length / CORRELATION_BLOCKS);
  if (step <= CORRELATION_BLOCK_SAMPLES) return samples;
  const blocks = new Float32Array(CORRELATION_BLOCKS * CORRELATION_BLOCK_SAMPLES);
  for (let block = 0; block < CORRELATION_BLOCKS; block++) {
    const from = block * step;
    blocks.set(samples.subarray(from, from + CORRELATION_BLOCK_SAMPLES), block * CORRELATION_BLOCK_SAMPLES);
  }
  return blocks;
}
