import { vi } from 'vitest';

/** Waits until `condition` no longer throws, for as long as a busy machine may need; `vi.waitFor` itself gives up after a second. */
export function eventually<T>(condition: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(condition, { timeout: 30_000 });
}
