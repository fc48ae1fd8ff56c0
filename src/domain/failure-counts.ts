/**
 * Failures of strangers, counted per address and minute. The counts are kept in memory, by each process for itself, on
 * purpose: strangers must not be able to make the database work.
 */

const WINDOW_MS = 60_000;
const MAX_ADDRESSES = 10_000;

export class FailureCounts {
  private readonly windows = new Map<string, { count: number; readonly endsAt: number }>();

  /** Counts a failure. Says how many there are in this minute of the address, and how long it still lasts. */
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

  /** Failures in the present minute of an address. */
  of(address: string): number {
    const window = this.windows.get(address);
    return window && window.endsAt > performance.now() ? window.count : 0;
  }

  /** All windows are equally long and a map keeps insertion order, so the first one ends first. */
  private forgetOldest(): void {
    const oldest = this.windows.keys().next();
    if (!oldest.done) this.windows.delete(oldest.value);
  }
}
