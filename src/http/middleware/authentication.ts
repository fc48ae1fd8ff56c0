/**
 * Who asks, and may they? A good key always passes; bad ones are counted per address, so that a guesser is answered more
 * and more cheaply.
 */
import type { RequestHandler } from 'express';
import { VoiceAuthError } from '../../domain/errors.js';
import { FailureCounts } from '../../domain/failure-counts.js';
import type { Metrics } from '../../observability/metrics.js';
import { type ApiKeyRing, mayDo, type Scope } from '../api-keys.js';
import { addressOf } from '../client-address.js';
import { stateOf } from '../request-state.js';

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

/** Requests that could not show who they are, counted per address. Share one instance among all ways to ask. */
export class AuthenticationFailures {
  private readonly counts = new FailureCounts();
  /** Those among them that kept us waiting for the rest of a body. */
  private readonly unfinishedCounts = new FailureCounts();

  constructor(
    private readonly options: {
      readonly metrics: Metrics;
      /** Per address; more are answered 429. 0 = no limit. */
      readonly maxPerMinute: number;
    },
  ) {}

  /** Counts a failure and returns what it is answered with: `Unauthorized` with `message`, or `RateLimited`. */
  refusal(address: string, message: string): VoiceAuthError {
    const { maxPerMinute } = this.options;
    const { count, resetInMs } = this.counts.add(address);
    if (maxPerMinute === 0 || count <= maxPerMinute) return new VoiceAuthError('Unauthorized', message);
    return this.rateLimited(resetInMs);
  }

  /** The same for a body that was to show who sends it and was not sent to its end. */
  unfinished(address: string, message: string): VoiceAuthError {
    this.unfinishedCounts.add(address);
    return this.refusal(address, message);
  }

  /**
   * What an address that has left too many bodies unfinished is refused with, before anything is read that only its body
   * could prove; else undefined. Bodies that came whole and proved nothing are not held against the next one: a platform
   * sends those of all its customers from the same few addresses, and one of them could keep the others out.
   */
  refusalUnread(address: string): VoiceAuthError | undefined {
    const { maxPerMinute } = this.options;
    if (maxPerMinute === 0 || this.unfinishedCounts.of(address) <= maxPerMinute) return undefined;
    return this.rateLimited(this.counts.add(address).resetInMs);
  }

  private rateLimited(resetInMs: number): VoiceAuthError {
    this.options.metrics.rateLimited.inc({ limit: 'failed_authentication' });
    const retryAfterSeconds = resetInMs / 1000;
    return new VoiceAuthError('RateLimited', 'Too many requests without valid credentials', { retryAfterSeconds });
  }
}
