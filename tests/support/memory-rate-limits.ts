/** A rate-limit store for tests: fixed windows that never end, and a switch that makes counting fail. */
import { VoiceAuthError } from '../../src/domain/errors.js';
import type { RateLimitStore } from '../../src/domain/ports/auth-store.js';

export class MemoryRateLimits implements RateLimitStore {
  readonly hits = new Map<string, number>();
  failing = false;

  async hit(key: string, windowMs: number): Promise<{ hits: number; resetAt: Date }> {
    if (this.failing) throw new VoiceAuthError('DatabaseUnavailable', 'The database does not answer');
    const hits = (this.hits.get(key) ?? 0) + 1;
    this.hits.set(key, hits);
    return { hits, resetAt: new Date(Date.now() + windowMs) };
  }
}
