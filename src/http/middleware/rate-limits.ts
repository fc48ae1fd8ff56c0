/**
 * Limits shared by all replicas through the database: per client address on every API operation, per claimed user on
 * enrollment and verification. When the database cannot count, writes are refused; reads go on and meet the database
 * themselves.
 */
import { createHash } from 'node:crypto';
import type { Request, RequestHandler } from 'express';
import { rateLimit, type Store } from 'express-rate-limit';
import { VoiceAuthError } from '../../domain/errors.js';
import type { RateLimitStore } from '../../domain/ports/auth-store.js';
import type { Metrics } from '../../observability/metrics.js';
import { addressOf } from '../client-address.js';
import { stateOf } from '../request-state.js';

const WINDOW_MS = 60_000;

/** Too many of what, and the setting that says how many are. */
const REFUSALS = {
  address: { what: 'requests from this address', setting: 'RATE_LIMIT_PER_MINUTE' },
  user: { what: 'enrollments and verifications of this user', setting: 'USER_RATE_LIMIT_PER_MINUTE' },
} as const;

export interface RateLimitOptions {
  /** Per window; 0 = no limit. */
  readonly limit: number;
  readonly store: RateLimitStore;
  readonly metrics: Metrics;
}

/** Per client address, with `RateLimit-*` headers. */
export function addressLimit(options: RateLimitOptions): RequestHandler {
  return limiter('address', options, (req) => addressOf(req));
}

/** Per claimed user; runs after validation. Its counts are not announced: they belong to the user, not to the asker. */
export function userLimit(options: RateLimitOptions): RequestHandler {
  return limiter('user', options, (req) => stateOf(req).claimedUserId ?? '');
}

function limiter(
  name: 'address' | 'user',
  options: RateLimitOptions,
  subject: (req: Request) => string,
): RequestHandler {
  if (options.limit === 0) return (_req, _res, next) => next();
  const limit = rateLimit({
    windowMs: WINDOW_MS,
    limit: options.limit,
    store: sharedStore(options.store),
    // Hashed: the table of counters needs no addresses or user ids in it.
    keyGenerator: (req) => `${name}:${createHash('sha256').update(subject(req)).digest('base64url')}`,
    standardHeaders: name === 'address' ? 'draft-6' : false,
    legacyHeaders: false,
    // Its start-up checks print to the console; configuration checks the number of proxies.
    validate: false,
    handler: (req, _res, next) => {
      options.metrics.rateLimited.inc({ limit: name });
      next(tooMany(req, name, options.limit));
    },
  });
  return (req, res, next) => {
    limit(req, res, (error?: unknown) => {
      if (error === undefined || (!isRateLimited(error) && req.method === 'GET')) next();
      else if (error instanceof VoiceAuthError) next(error);
      else next(new VoiceAuthError('DatabaseUnavailable', 'Requests cannot be counted right now', { cause: error }));
    });
  };
}

function sharedStore(store: RateLimitStore): Store {
  return {
    increment: async (key) => {
      const { hits, resetAt } = await store.hit(key, WINDOW_MS);
      return { totalHits: hits, resetTime: resetAt };
    },
    // Every request counts, whatever came of it, so nothing is ever taken back.
    decrement: () => undefined,
    resetKey: () => undefined,
  };
}

function tooMany(req: Request, name: 'address' | 'user', limit: number): VoiceAuthError {
  const info = (req as { rateLimit?: { resetTime?: Date } }).rateLimit;
  const resetAt = info?.resetTime?.getTime() ?? Date.now() + WINDOW_MS;
  const retryAfterSeconds = Math.max(1, Math.ceil((resetAt - Date.now()) / 1000));
  const { what, setting } = REFUSALS[name];
  const message = `Too many ${what}: ${limit} a minute (${setting}); try again in ${retryAfterSeconds} s`;
  return new VoiceAuthError('RateLimited', message, { retryAfterSeconds });
}

function isRateLimited(error: unknown): boolean {
  return error instanceof VoiceAuthError && error.code === 'RateLimited';
}
