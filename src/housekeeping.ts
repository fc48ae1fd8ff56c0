/**
 * What the server does by the hour, and once soon after its start: removes what has had its time, counts for the metrics. And
 * by the minute: forgets people who were erased, wherever that was done, and what questions held that nobody answered.
 */
import type { PeopleInMemory } from './domain/users/people-in-memory.js';
import type { UserDirectory } from './domain/users/user-directory.js';
import type { Logger } from './observability/logger.js';
import type { Metrics } from './observability/metrics.js';
import type { StoreMaintenance } from './storage/supabase-auth-store.js';

export interface HousekeepingParts {
  readonly store: Pick<StoreMaintenance, 'purge' | 'forgetOldCalls'>;
  readonly users: Pick<UserDirectory, 'outdated'>;
  readonly people: Pick<PeopleInMemory, 'forgetTheErased'>;
  readonly metrics: Pick<Metrics, 'outdatedVoiceprints' | 'housekeepingLastSuccess'>;
  readonly logger: Logger;
  /** Undefined = attempts are kept. */
  readonly attemptRetentionMs: number | undefined;
}

const EVERY_MS = 3_600_000;
/** After a failure. What has had its time is promised to be gone within the hour. */
const RETRY_MS = 60_000;
/** A server that has just started has callers to hear first. */
const FIRST_AFTER_MS = 30_000;
/** How long a template may stay in memory after an erasure of which this process has not heard, and a number in a question. */
const FORGET_EVERY_MS = 60_000;
/** Between two steps of one purge: calls come first. */
const PAUSE_MS = 250;

/** Starts it. `close` ends it: a purge under way stops at its next step. */
export function startHousekeeping(parts: HousekeepingParts): { close(): Promise<void> } {
  const stop = new AbortController();
  const byTheHour = async (work: () => Promise<boolean>) => {
    while (!stop.signal.aborted) {
      const done = await work();
      await pause(done ? EVERY_MS : RETRY_MS, stop.signal);
    }
  };
  const keeping = pause(FIRST_AFTER_MS, stop.signal).then(() => byTheHour(() => keepHouse(parts, stop.signal)));
  const counting = byTheHour(() => countOutdated(parts));
  const forget = async () => {
    for (;;) {
      await pause(FORGET_EVERY_MS, stop.signal);
      if (stop.signal.aborted) return;
      await forgetTheErased(parts, stop.signal);
      await forgetOldCalls(parts);
    }
  };
  const ended = Promise.all([keeping, counting, forget()]);
  return {
    close: async () => {
      stop.abort();
      await ended;
    },
  };
}

/**
 * Erases people whose retention has ended, and removes old attempts, calls and counters, in steps until none is left. False
 * when it failed.
 */
async function keepHouse(parts: HousekeepingParts, signal: AbortSignal): Promise<boolean> {
  const { store, metrics, logger, attemptRetentionMs } = parts;
  const total = { users: 0, attempts: 0 };
  try {
    for (let more = true; more && !signal.aborted; ) {
      const removed = await store.purge(attemptRetentionMs);
      total.users += removed.users;
      total.attempts += removed.attempts;
      more = removed.more;
      if (more) await pause(PAUSE_MS, signal);
    }
    if (!signal.aborted) metrics.housekeepingLastSuccess.setToCurrentTime();
    logger.info({ event: 'housekeeping', ...total }, 'old data removed');
    return true;
  } catch (error) {
    logger.warn({ err: error, event: 'housekeeping', ...total }, 'old data could not be removed; tried again later');
    return false;
  }
}

async function forgetTheErased({ people, logger }: HousekeepingParts, signal: AbortSignal): Promise<void> {
  try {
    await people.forgetTheErased(signal);
  } catch (error) {
    logger.warn({ err: error, event: 'forget_erased' }, 'erased people could not be looked for; tried again later');
  }
}

async function forgetOldCalls({ store, logger }: HousekeepingParts): Promise<void> {
  try {
    await store.forgetOldCalls();
  } catch (error) {
    logger.warn(
      { err: error, event: 'forget_calls' },
      'what old questions held could not be removed; tried again later',
    );
  }
}

/** For the metrics: the index answers it, but not for every scrape. False when it failed. */
async function countOutdated({ users, metrics, logger }: HousekeepingParts): Promise<boolean> {
  try {
    metrics.outdatedVoiceprints.set((await users.outdated({ limit: 1, before: undefined })).total);
    return true;
  } catch (error) {
    logger.warn(
      { err: error, event: 'outdated_count' },
      'users of another model could not be counted; tried again later',
    );
    return false;
  }
}

/** Resolves after `ms`, or when aborted. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms).unref();
    signal.addEventListener('abort', done);
  });
}
