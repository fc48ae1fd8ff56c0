import { vi } from 'vitest';

/**
 * Waits until `condition` no longer throws, for as long as a busy machine may need (`vi.waitFor` itself gives up after a second), and less than
 * the 30 s that a test has, so that what is read is the condition's own message. As long as `expect.poll` waits.
 */
export function eventually<T>(condition: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(condition, { timeout: 20_000 });
}
