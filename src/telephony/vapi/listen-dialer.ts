/**
 * Connects to a listen URL. Platforms refuse listeners for the first moments of a call, so refusals are retried with
 * back-off and jitter until the deadline; answers that no waiting will change end it at once. The URL is a secret: no
 * error, log line or span carries it, nor the texts of the errors of the network layers, which may quote it.
 */
import type { LookupFunction } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { VoiceAuthError } from '../../domain/errors.js';
import { isHostRefused } from '../../outbound/guarded-lookup.js';

export interface DialOptions {
  readonly lookup: LookupFunction;
  readonly bearerToken: string | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Called with the socket in the moment it opens: listeners attached here miss nothing. */
  readonly onOpen: (socket: WebSocket) => void;
  /** Told about every attempt that failed and is followed by another; `answer` is safe to show. */
  readonly onRetry?: (answer: string) => void;
}

/** `reason` is a stable word for metrics. */
export type DialOutcome =
  | { readonly kind: 'open'; readonly attempts: number }
  | {
      readonly kind: 'failed';
      readonly attempts: number;
      readonly reason: 'aborted' | 'timeout' | 'unauthorized' | 'redirect' | 'blocked' | 'certificate';
      readonly error: VoiceAuthError;
    };

/** What ws understands beyond its published types. */
interface SocketOptions extends WebSocket.ClientOptions {
  readonly lookup: LookupFunction;
  readonly closeTimeout: number;
}

type FinalReason = 'unauthorized' | 'redirect' | 'blocked' | 'certificate';

type Attempt =
  | { readonly kind: 'open' }
  | { readonly kind: 'again'; readonly answer: string }
  | { readonly kind: 'final'; readonly reason: FinalReason };

/** Longest message: five seconds of the fastest format, for a platform that sends its backlog in one piece. */
const MAX_MESSAGE_BYTES = 1024 * 1024;
const MAX_HANDSHAKE_MS = 5_000;
const FIRST_BACKOFF_MS = 150;
const MAX_BACKOFF_MS = 2_000;
/** A peer that does not answer our close frame is cut off after this. */
const CLOSE_TIMEOUT_MS = 1_000;
/** Silence on the connection after which the operating system asks whether the peer is still there. */
const KEEP_ALIVE_MS = 15_000;

const NO_ANSWER = 'no answer';

const FINAL_MESSAGES: Readonly<Record<FinalReason, string>> = {
  unauthorized: 'The listen socket refused our authentication',
  redirect: 'The listen socket answered with a redirect, which is not followed',
  blocked: 'The host of the listen URL has no usable public address',
  certificate: 'The host of the listen URL has no valid certificate',
};

/** Tries until the connection is open, the time is up, `signal` fires, or the answer is final. Never rejects. */
export async function dialListenSocket(url: URL, options: DialOptions): Promise<DialOutcome> {
  const { signal, timeoutMs } = options;
  const deadline = performance.now() + timeoutMs;
  let answer = NO_ANSWER;
  for (let attempts = 1; ; attempts++) {
    const remainingMs = deadline - performance.now();
    if (signal.aborted) return failure('aborted', attempts - 1, 'Connecting to the listen socket was stopped');
    if (remainingMs <= 0) {
      const message = `The listen socket could not be opened within ${timeoutMs / 1_000} s (attempts: ${attempts - 1}, last answer: ${answer})`;
      return failure('timeout', attempts - 1, message);
    }
    const attempt = await dialOnce(url, options, Math.min(remainingMs, MAX_HANDSHAKE_MS)).catch(networkAnswer);
    if (attempt.kind === 'open') return { kind: 'open', attempts };
    if (attempt.kind === 'final') return failure(attempt.reason, attempts, FINAL_MESSAGES[attempt.reason]);
    // The last attempt may have had no time left to be answered; what the peer said before that says more.
    if (attempt.answer !== NO_ANSWER) answer = attempt.answer;
    if (signal.aborted) continue;
    options.onRetry?.(attempt.answer);
    // Never longer than the time that is left, so that the deadline is kept.
    await pause(Math.min(backoffMs(attempts), deadline - performance.now()), signal);
  }
}

function failure(
  reason: Extract<DialOutcome, { kind: 'failed' }>['reason'],
  attempts: number,
  message: string,
): DialOutcome {
  return { kind: 'failed', reason, attempts, error: new VoiceAuthError('ListenConnectionError', message) };
}

/** Doubling, between half and all of it at random, so that many calls that start together do not retry together. */
function backoffMs(attempts: number): number {
  const fullMs = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (attempts - 1));
  return fullMs * (0.5 + Math.random() / 2);
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0) return;
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}

function dialOnce(url: URL, options: DialOptions, timeoutMs: number): Promise<Attempt> {
  const { lookup, bearerToken, signal, onOpen } = options;
  return new Promise((resolve) => {
    const socketOptions: SocketOptions = {
      lookup,
      followRedirects: false,
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE_BYTES,
      // Text that is not UTF-8 is somebody's mistake, not a reason to lose the call.
      skipUTF8Validation: true,
      // One message per turn of the event loop: a single read can hold twenty thousand tiny ones.
      allowSynchronousEvents: false,
      closeTimeout: CLOSE_TIMEOUT_MS,
      ...(bearerToken === undefined ? {} : { headers: { authorization: `Bearer ${bearerToken}` } }),
    };
    const socket = new WebSocket(url, socketOptions);
    // A timer of our own: the handshake time-out of ws starts anew with every byte that trickles in.
    const timer = setTimeout(() => settle({ kind: 'again', answer: NO_ANSWER }), timeoutMs);
    const onAbort = () => settle({ kind: 'again', answer: 'stopped' });
    let settled = false;
    const settle = (attempt: Attempt) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      if (attempt.kind !== 'open') socket.terminate();
      resolve(attempt);
    };
    signal.addEventListener('abort', onAbort);
    // Stays for the life of the socket: terminating a socket that still connects is reported as an error.
    socket.on('error', (error) => settle(networkAnswer(error)));
    socket.on('unexpected-response', (_request, response) => settle(httpAnswer(response.statusCode ?? 0)));
    socket.on('upgrade', (response) => response.socket.setKeepAlive(true, KEEP_ALIVE_MS));
    socket.on('open', () => {
      if (settled) return;
      settle({ kind: 'open' });
      onOpen(socket);
    });
  });
}

function httpAnswer(status: number): Attempt {
  if (status === 401 || status === 403) return { kind: 'final', reason: 'unauthorized' };
  if (status >= 300 && status < 400) return { kind: 'final', reason: 'redirect' };
  return { kind: 'again', answer: `HTTP ${status}` };
}

function networkAnswer(error: unknown): Attempt {
  if (isHostRefused(error)) return { kind: 'final', reason: 'blocked' };
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (/CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)/.test(code)) return { kind: 'final', reason: 'certificate' };
  return { kind: 'again', answer: /^[A-Z0-9_]{1,40}$/.test(code) ? code : 'connection error' };
}
