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
  readonly metrics: Metrics;
  /** Failures per minute and address after which the answer is 429; 0 = no limit. */
  readonly maxFailuresPerMinute: number;
}

/** Makes, for each scope, the middleware that asks for it. */
export function authentication(options: AuthenticationOptions): (scope: Scope) => RequestHandler {
  const failures = new FailureCounter();
  return (scope) => (req, res, next) => {
    const key = BEARER.exec(req.get('authorization') ?? '')?.[1];
    const holder = key === undefined ? undefined : options.keys.identify(key);
    if (!holder) {
      const { count, resetInMs } = failures.add(addressOf(req));
      if (options.maxFailuresPerMinute > 0 && count > options.maxFailuresPerMinute) {
        options.metrics.rateLimited.inc({ limit: 'failed_authentication' });
        throw new VoiceAuthError('RateLimited', 'Too many requests without a valid API key', {
          retryAfterSeconds: resetInMs / 1000,
        });
      }
      res.setHeader('WWW-Authenticate', 'Bearer');
      throw new VoiceAuthError('Unauthorized', 'A valid API key is required: Authorization: Bearer <key>');
    }
    stateOf(req).actor = holder.id;
    if (!mayDo(holder, scope)) throw new VoiceAuthError('Forbidden', `This API key lacks the scope "${scope}"`);
    next();
  };
}

/** The client's address as a rate limit sees it: IPv6 by /56, since a client owns at least that much. */
export function addressOf(req: Request): string {
  return ipKeyGenerator(req.ip ?? '');
}

class FailureCounter {
  private readonly windows = new Map<string, { count: number; readonly endsAt: number }>();

  add(address: string): { readonly count: number; readonly resetInMs: number } {
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
