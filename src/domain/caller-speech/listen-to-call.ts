/** Listens to a live call until there is a reason to stop. What is done with the speech is the business of the asker. */
import { VoiceAuthError } from '../errors.js';
import type { CallSource } from '../ports/call-source.js';
import type { ListeningEnd } from '../verification/decide.js';
import type { CallerSpeech } from './caller-speech.js';

export interface ListenOptions {
  /** Longest time from now until listening ends with `deadline`, connecting included. */
  readonly timeoutMs: number;
  readonly connectTimeoutMs: number;
  /** Ends listening with `aborted`. */
  readonly signal: AbortSignal;
  /** Ends listening with `enough`, e.g. after a decision. */
  readonly enough: AbortSignal;
}

/** This much of only mixed audio settles that the stream cannot be used. */
const MIXED_ENOUGH_MS = 2_000;

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
  if (options.signal.aborted) onAbort();
  try {
    source
      .open(
        {
          onFrame: (frame) => {
            speech.push(frame);
            if (speech.full) settle('enough');
            else if (speech.heardMixedMs >= MIXED_ENOUGH_MS && speech.heardMs === 0) settle('mixed');
          },
          onEnd: (end) => {
            if (end.kind === 'failed') fail(end.error);
            else settle(speech.heardMixedMs > 0 && speech.heardMs === 0 ? 'mixed' : 'closed');
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
