/** Long work on many items: some at a time, stoppable, with progress. */

export interface LaneOptions {
  /** Items worked on at a time. */
  readonly jobs: number;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
}

/**
 * The results in the order of the items. The first failure stops the others and is thrown; `signal.reason` when aborted. When
 * this returns or throws, nothing is running any more.
 */
export async function inLanes<T, R>(
  items: readonly T[],
  options: LaneOptions,
  work: (item: T, index: number, signal: AbortSignal) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = new Array(items.length);
  let [next, done] = [0, 0];
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const lane = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      signal.throwIfAborted();
      results[index] = await work(items[index]!, index, signal);
      options.onProgress(++done, items.length);
    }
  };
  const lanes = Array.from({ length: options.jobs }, () =>
    lane().catch((error: unknown) => {
      failed.abort(error);
      throw error;
    }),
  );
  const ends = await Promise.allSettled(lanes);
  options.signal.throwIfAborted();
  if (ends.some((end) => end.status === 'rejected')) throw failed.signal.reason;
  return results;
}
