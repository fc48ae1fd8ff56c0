/**
 * One signal of several, for the time of one piece of work. `AbortSignal.any` does the same, but a signal that lives as long
 * as the process keeps a little of every composite that was ever made of it (Node 20), and there is one for every question.
 */
import { setMaxListeners } from 'node:events';

export interface LinkedSignal {
  /** Aborted with the first of its sources, for the same reason. */
  readonly signal: AbortSignal;
  /** Lets go of the sources; to be called when the work is done. The signal stays as it is then. */
  unlink(): void;
}

/** Links a new signal to `sources`. */
export function linkSignals(sources: readonly AbortSignal[]): LinkedSignal {
  const linked = new AbortController();
  const onAbort = (event: Event) => linked.abort((event.target as AbortSignal).reason);
  const unlink = () => {
    for (const source of sources) source.removeEventListener('abort', onAbort);
  };
  const aborted = sources.find((source) => source.aborted);
  if (aborted) {
    linked.abort(aborted.reason);
    return { signal: linked.signal, unlink };
  }
  for (const source of sources) {
    // As many as there is work at once: no sign of a leak.
    setMaxListeners(0, source);
    source.addEventListener('abort', onAbort);
  }
  return { signal: linked.signal, unlink };
}
