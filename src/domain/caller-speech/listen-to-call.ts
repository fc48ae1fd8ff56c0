/** Listens to a live call until there is a reason to stop. What is done with the speech is the business of the asker. */
import { VoiceAuthError } from '../errors.js';
import type { CallSource } from '../ports/call-source.js';
import type { CallerSpeech } from './caller-speech.js';

/**
 * Why listening ended: the far side hung up, the deadline came, all the speech that is used at most was heard, the asker
 * or the server gave up, only mixed audio came, or a recording was at its end.
 */
export type ListeningEnd = 'closed' | 'deadline' | 'enough' | 'aborted' | 'mixed' | 'recording_end';

export interface ListenOptions {
  /** Longest time from now until listening ends with `deadline`, connecting included. */
  readonly timeoutMs: number;
  readonly connectTimeoutMs: number;
  /** Ends listening with `aborted`. */
  readonly signal: AbortSignal;
  /** Ends listening with `enough`, e.g. after a decision. */
  readonly enough: AbortSignal;
}

/**
 * This much mixed audio settles that the stream cannot be used, unless there was real caller audio as well: the moment
 * before an announced stereo stream shows itself as the same signal twice does not count as that. What is too quiet to be
 * speech shows nothing and counts for neither: before anybody speaks the channels of any call may be alike.
 */
export const MIXED_ENOUGH_MS = 2_000;
const CALLER_BEFORE_MIXED_MS = 1_000;

/**
 * Opens `source` and feeds `speech` until the call closes, time is up, the speech store is full, or a signal fires. When
 * this returns the connection is closed or closing and no more audio comes. Throws `ListenConnectionError` when the call
 * could not be listened to, or broke off by a fault rather than a hang-up.
 */
export async function listenToCall(
  source: CallSource,
  speech: CallerSpeech,
  options: ListenOptions,
): Promise<ListeningEnd> {
  if (options.signal.aborted) return 'aborted';
  if (options.enough.aborted) return 'enough';
  const stop = new AbortController();
  let settle: (end: ListeningEnd) => void = () => undefined;
  let fail: (error: unknown) => void = () => undefined;
  const ended = new Promise<ListeningEnd>((resolve, reject) => {
    settle = resolve;
    fail = reject;
  });
  const onAbort = () => settle('aborted');
  const onEnough = () => settle('enough');
  let open = false;
  const deadline = setTimeout(() => {
    if (open) settle('deadline');
    else fail(new VoiceAuthError('ListenConnectionError', 'The call could not be connected to in time'));
  }, options.timeoutMs);
  options.signal.addEventListener('abort', onAbort);
  options.enough.addEventListener('abort', onEnough);
  try {
    source
      .open(
        {
          onFrame: (frame) => {
            if (stop.signal.aborted) return;
            speech.push(frame);
            if (speech.full) settle('enough');
            else if (speech.heardMixedMs >= MIXED_ENOUGH_MS && isMixed(speech)) settle('mixed');
          },
          onEnd: (end) => {
            if (end.kind === 'failed') fail(end.error);
            else settle(isMixed(speech) ? 'mixed' : 'closed');
          },
        },
        { signal: stop.signal, connectTimeoutMs: Math.min(options.connectTimeoutMs, options.timeoutMs) },
      )
      .then(
        () => {
          open = true;
        },
        (error: unknown) => fail(error),
      );
    return await ended;
  } catch (error) {
    if (error instanceof VoiceAuthError) throw error;
    throw new VoiceAuthError('ListenConnectionError', 'The call could not be listened to', { cause: error });
  } finally {
    clearTimeout(deadline);
    options.signal.removeEventListener('abort', onAbort);
    options.enough.removeEventListener('abort', onEnough);
    stop.abort();
  }
}

/** Whether what came was caller and agent in one channel. */
export function isMixed(speech: CallerSpeech): boolean {
  return speech.heardMixedMs > 0 && speech.heardAudibleMs < CALLER_BEFORE_MIXED_MS;
}
