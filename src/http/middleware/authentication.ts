/**
 * Who asks, and may they? A good key always passes; bad ones are counted per address, so that a guesser is answered more
 * and more cheaply. The count is kept in memory on purpose: strangers must not be able to make the database work.
 */
import type { Request, RequestHandler } from 'express';
import { ipKeyGenerator } from 'express-rate-limit';
import { VoiceAuthError } from '../../domain/errors.js';
import type { Metrics } from '../../observability/metrics.js';
import { type ApiKeyRing, mayDo, type Scope } from '../api-keys.js';
import { stateOf } from '../request-state.js';

const WINDOW_MS = 60_000;
const MAX_ADDRESSES = 10_000;
const BEARER = /^bearer +(\S{1,200})$/i;

export interface AuthenticationOptions {
  readonly keys: ApiKeyRing;
  readonly failures: AuthenticationFailures;
}

/** Makes, for each scope, the middleware that asks for it. */
export function authentication(options: AuthenticationOptions): (scope: Scope) => RequestHandler {
  return (scope) => (req, _res, next) => {
    const key = BEARER.exec(req.get('authorization') ?? '')?.[1];
    const holder = key === undefined ? undefined : options.keys.identify(key);
    if (!holder) {
      throw options.failures.refusal(addressOf(req), 'A valid API key is required: Authorization: Bearer <key>');
    }
    const state = stateOf(req);
    state.actor = holder.id;
    state.isAdmin = mayDo(holder, 'admin');
    if (!mayDo(holder, scope)) throw new VoiceAuthError('Forbidden', `This API key lacks the scope "${scope}"`);
    next();
  };
}

/** The client's address as a rate limit sees it: IPv6 by /56, since a client owns at least that much. */
export function addressOf(req: Request): string {
  return ipKeyGenerator(req.ip ?? '');
}

/** Requests that could not show who they are, counted per address. Share one instance among all ways to ask. */
export class AuthenticationFailures {
  private readonly windows = new Map<string, { count: number; readonly endsAt: number }>();

  constructor(
    private readonly options: {
      readonly metrics: Metrics;
      /** Per address; more are answered 429. 0 = no limit. */
      readonly maxPerMinute: number;
    },
  ) {}

  /** Counts a failure and returns what it is answered with: `Unauthorized` with `message`, or `RateLimited`. */
  refusal(address: string, message: string): VoiceAuthError {
    const { metrics, maxPerMinute } = this.options;
    const { count, resetInMs } = this.add(address);
    if (maxPerMinute === 0 || count <= maxPerMinute) return new VoiceAuthError('Unauthorized', message);
    metrics.rateLimited.inc({ limit: 'failed_authentication' });
    const retryAfterSeconds = resetInMs / 1000;
    return new VoiceAuthError('RateLimited', 'Too many requests without valid credentials', { retryAfterSeconds });
  }

  private add(address: string): { readonly count: number; readonly resetInMs: number } {
    const now = performance.now();
    let window = this.windows.get(address);
    if (!window || window.endsAt <= now) {
      this.windows.delete(address);
      if (this.windows.size >= MAX_ADDRESSES) this.forgetOldest();
      window = { count: 0, endsAt: now + WINDOW_MS };
      this.windows.set(address, window);
    }
    window.count += 1;
    return { count: window.count, resetInMs: window.endsAt - now };
  }

  /** All windows are equally long and a map keeps insertion order, so the first one ends first. */
  private forgetOldest(): void {
    const oldest = this.windows.keys().next();
    if (!oldest.done) this.windows.delete(oldest.value);
  }
}
