/** Cuts a stretch of net speech into the windows that each make one embedding. */

/** Samples `start` (inclusive) to `end` (exclusive). */
export interface SampleRange {
  readonly start: number;
  readonly end: number;
}

export interface WindowLengths {
  /** Shortest window worth an embedding. */
  readonly minSamples: number;
  readonly preferredSamples: number;
}

/**
 * Windows over `totalSamples` of speech: consecutive ones of the preferred length and one for the rest. A rest shorter
 * than the minimum gets a window of the minimum length that ends at the end, so it overlaps the one before; speech
 * shorter than the minimum gets none. When more speech arrives only the last window can change, so a call re-embeds no
 * other. Throws `RangeError` unless 1 <= minSamples <= preferredSamples and all are integers.
 */
export function sliceWindows(totalSamples: number, lengths: WindowLengths): SampleRange[] {
  const { minSamples, preferredSamples } = lengths;
  if (![totalSamples, minSamples, preferredSamples].every(Number.isSafeInteger)) {
    throw new RangeError('window lengths must be whole numbers of samples');
  }
  if (totalSamples < 0 || minSamples < 1 || preferredSamples < minSamples) {
    throw new RangeError(`no windows of ${minSamples} to ${preferredSamples} samples in ${totalSamples}`);
  }
  if (totalSamples < minSamples) return [];
  const windows: SampleRange[] = [];
  let start = 0;
  for (; start + preferredSamples <= totalSamples; start += preferredSamples) {
    windows.push({ start, end: start + preferredSamples });
  }
  if (start < totalSamples) windows.push({ start: Math.min(start, totalSamples - minSamples), end: totalSamples });
  return windows;
}
