/** Random numbers that are the same in every run: an evaluation must be repeatable. */

/**
 * Uniform numbers in [0, 1) from a 32-bit seed: mulberry32 (T. Ettinger, 2017), period 2^32. Not for
 * secrets.
 */
export function randomGenerator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
