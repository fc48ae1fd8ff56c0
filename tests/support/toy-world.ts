/**
 * What every test of a use case needs: a database per file, a fresh service and user per test, and afterwards the
 * certainty that nothing is left running, nothing failed unheard, and nothing was given away in a log.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { VoiceAuthError } from '../../src/domain/errors.js';
import type { AttemptSummary, AuthStore, EnrolledUser } from '../../src/domain/ports/auth-store.js';
import type { CallStore } from '../../src/domain/ports/call-store.js';
import { openStorage, type Storage } from '../../src/storage/open-storage.js';
import { storageOptions, temporaryFolder } from './embedded-storage.js';
import { privacyLeaks } from './privacy.js';
import { settled } from './toy-models.js';
import { AUDIO_URL, LISTEN_URL, ToyService } from './toy-service.js';
import { failOnUnhandledRejections } from './unhandled-rejections.js';

export const PHONE = '+14155550123';

export class ToyWorld {
  private storage: Storage | undefined;
  private fresh: ToyService | undefined;
  userId = '';

  get store(): AuthStore {
    if (!this.storage) throw new Error('the database is not open');
    return this.storage.store;
  }

  get calls(): CallStore {
    if (!this.storage) throw new Error('the database is not open');
    return this.storage.calls;
  }

  get service(): ToyService {
    if (!this.fresh) throw new Error('there is a service in tests only');
    return this.fresh;
  }

  async open(dataDir: string): Promise<void> {
    this.storage = await openStorage(
      { supabase: undefined, dataDir, timeoutMs: 20_000, encryptionKeys: undefined },
      storageOptions(),
    );
  }

  /** A service and a user that nothing has happened to yet. */
  renew(): void {
    this.fresh = new ToyService(this.store);
    this.userId = randomUUID();
  }

  async close(): Promise<void> {
    await this.storage?.close();
  }

  user(): Promise<EnrolledUser | undefined> {
    return this.store.findUser(this.userId);
  }

  /** Recorded attempts, newest first; empty when there is no such user. */
  async history(): Promise<readonly AttemptSummary[]> {
    return (await this.store.authHistory(this.userId, { limit: 50, before: undefined }))?.attempts ?? [];
  }

  /** Recorded attempts as `decision/reason`, newest first. */
  async recorded(): Promise<string[]> {
    return (await this.history()).map(({ decision, reason }) => `${decision}/${reason}`);
  }

  async failedAttempts(): Promise<number | undefined> {
    return (await this.store.userStatus(this.userId))?.failedAttempts;
  }
}

/** Registers the hooks and returns what they fill. */
export function toyWorld(): ToyWorld {
  const world = new ToyWorld();
  let folder: Awaited<ReturnType<typeof temporaryFolder>> | undefined;
  beforeAll(async () => {
    folder = await temporaryFolder();
    await world.open(join(folder.path, 'data'));
  });
  afterAll(async () => {
    await world.close();
    await folder?.remove();
  });
  beforeEach(() => world.renew());
  afterEach(async () => {
    const { service, userId } = world;
    await settled();
    expect([service.work.active, service.recordings.active, await service.count('active_calls')]).toEqual([0, 0, 0]);
    expect(privacyLeaks(service.logs, [PHONE, LISTEN_URL, AUDIO_URL, userId, 'secret'])).toEqual([]);
  });
  failOnUnhandledRejections();
  return world;
}

export const databaseDown = () =>
  Promise.reject(new VoiceAuthError('DatabaseUnavailable', 'The database does not answer'));
