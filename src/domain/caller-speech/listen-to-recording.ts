/** Feeds a decoded recording through the same gate and detector as a live call. */
import { channelCorrelation, downmix } from '../../audio/pcm.js';
import { VoiceAuthError } from '../errors.js';
import type { DecodedRecording } from '../ports/recordings.js';
import type { CallerSpeech } from './caller-speech.js';

const CHUNK_MS = 500;
/**
 * Two microphones, or two sides of one, hear the same room: their signals correlate. Below this the channels hold
 * different people (a recorded call), and mixing them would compare the caller with caller and agent at once.
 */
const SAME_SCENE_CORRELATION = 0.5;

/**
 * Pushes `recording` into `speech` and waits until all of it has been judged (or the store is full). `channel` says which
 * channel of a stereo recording holds the caller. Throws `AudioProcessingError` when that must be said and is not, or
 * names a channel that is not there.
 */
export async function listenToRecording(
  recording: DecodedRecording,
  speech: CallerSpeech,
  options: { readonly channel: 0 | 1 | undefined; readonly signal: AbortSignal },
): Promise<void> {
  const samples = callerChannel(recording, options.channel);
  const chunkSamples = Math.round((CHUNK_MS / 1000) * recording.sampleRateHz);
  for (let at = 0; at < samples.length && !speech.full; at += chunkSamples) {
    if (options.signal.aborted) throw new VoiceAuthError('Timeout', 'The request was given up');
    speech.push({
      samples: samples.subarray(at, at + chunkSamples),
      sampleRateHz: recording.sampleRateHz,
      track: 'caller',
      startMs: (at / recording.sampleRateHz) * 1000,
    });
    await speech.ready();
  }
  await speech.finish();
}

function callerChannel(recording: DecodedRecording, channel: 0 | 1 | undefined): Float32Array {
  const [first, second] = recording.channels;
  if (!first) throw new VoiceAuthError('AudioProcessingError', 'The recording has no audio');
  if (channel !== undefined) {
    const chosen = recording.channels[channel];
    if (chosen) return chosen;
    throw new VoiceAuthError('AudioProcessingError', `The recording has no channel ${channel}`, {
      details: { check: 'channels', found: recording.channels.length, needed: channel + 1 },
    });
  }
  if (!second) return first;
  if (channelCorrelation(first, second) >= SAME_SCENE_CORRELATION) return downmix([first, second]);
  throw new VoiceAuthError(
    'AudioProcessingError',
    'The two channels of the recording differ: say which one holds the caller with channel 0 or 1',
    { details: { check: 'channels', found: 2, needed: 1 } },
  );
}
