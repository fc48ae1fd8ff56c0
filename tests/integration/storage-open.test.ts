/** Opening storage: the data folder's keys and lock, and a Supabase project that is not ready for us. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { StorageConfig } from '../../src/config/config.js';
import { openStorage } from '../../src/storage/open-storage.js';
import { createEncryptionKeyEntry } from '../../src/storage/template-cipher.js';
import { enrollmentOf, storageOptions, temporaryFolder } from '../support/embedded-storage.js';
import { SupabaseProject } from '../support/supabase-project.js';

describe('embedded storage', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let config: StorageConfig;
  beforeEach(async () => {
    folder = await temporaryFolder();
    config = { supabase: undefined, dataDir: join(folder.path, 'data'), timeoutMs: 20_000, encryptionKeys: undefined };
  });
  afterEach(() => folder.remove());

  const modeOf = async (...path: string[]) => (await stat(join(config.dataDir, ...path))).mode & 0o777;

  it('keeps folder, database and key to its owner, and lets nobody else in while open', {
    timeout: 60_000,
  }, async () => {
    const first = await openStorage(config, storageOptions());
    expect(first.backend).toBe('embedded');
    const userId = randomUUID();
    await first.store.saveEnrollment(enrollmentOf(userId));
    expect([await modeOf(), await modeOf('database'), await modeOf('encryption.keys')]).toEqual([0o700, 0o700, 0o600]);
    await expect(openStorage(config, storageOptions())).rejects.toMatchObject({ name: 'DirectoryLockError' });
    await first.store.ping();
    await first.close();
    await first.close();
    await expect(first.store.ping()).rejects.toMatchObject({ code: 'DatabaseUnavailable' });

    const second = await openStorage(config, storageOptions());
    expect((await second.store.findUser(userId))?.samples).toHaveLength(1);
    await second.close();
  });

  it('does not make a new key for an old database', { timeout: 60_000 }, async () => {
    await (await openStorage(config, storageOptions())).close();
    const keyFile = join(config.dataDir, 'encryption.keys');
    const keys = (await readFile(keyFile, 'utf8')).trim();
    await rm(keyFile);
    await expect(openStorage(config, storageOptions())).rejects.toMatchObject({
      name: 'StorageError',
      message: expect.stringContaining(keyFile),
    });
    const configured = await openStorage({ ...config, encryptionKeys: [keys] }, storageOptions());
    await configured.close();
  });
});

describe('the key ring', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  beforeEach(async () => {
    folder = await temporaryFolder();
  });
  afterEach(() => folder.remove());

  it('must have the keys that templates of the embedded database are encrypted with', { timeout: 60_000 }, async () => {
    const config = {
      supabase: undefined,
      dataDir: join(folder.path, 'data'),
      timeoutMs: 20_000,
      encryptionKeys: undefined,
    };
    const keyFile = join(config.dataDir, 'encryption.keys');
    const first = await openStorage(config, storageOptions());
    const userId = randomUUID();
    await first.store.saveEnrollment(enrollmentOf(userId));
    await first.close();
    const old = (await readFile(keyFile, 'utf8')).trim();
    const [oldId] = old.split(':');
    const fresh = createEncryptionKeyEntry();

    await expect(openStorage({ ...config, encryptionKeys: [fresh] }, storageOptions())).rejects.toMatchObject({
      name: 'StorageError',
      message: expect.stringMatching(
        new RegExp(`key ${oldId}, which EMBEDDING_ENCRYPTION_KEYS lacks: .*; ${keyFile} has what was used`),
      ),
    });
    const both = await openStorage({ ...config, encryptionKeys: [fresh, old] }, storageOptions());
    expect((await both.store.findUser(userId))?.samples).toHaveLength(1);
    await both.close();

    await writeFile(keyFile, fresh);
    await expect(openStorage(config, storageOptions())).rejects.toMatchObject({
      name: 'StorageError',
      message: expect.stringContaining(`key ${oldId}, which ${keyFile} lacks`),
    });
  });

  it('must have those of a Supabase project', { timeout: 60_000 }, async () => {
    const project = await SupabaseProject.start();
    const { SUPABASE_URL: url, SUPABASE_SERVICE_ROLE_KEY: key, EMBEDDING_ENCRYPTION_KEYS: old } = project.environment;
    const config = { supabase: { url: url!, key: key! }, dataDir: '', timeoutMs: 20_000, encryptionKeys: [old!] };
    const { store } = await openStorage(config, storageOptions());
    await store.saveEnrollment(enrollmentOf(randomUUID()));
    await expect(
      openStorage({ ...config, encryptionKeys: [createEncryptionKeyEntry()] }, storageOptions()),
    ).rejects.toMatchObject({
      name: 'StorageError',
      message: expect.stringContaining(`key ${old!.split(':')[0]}, which EMBEDDING_ENCRYPTION_KEYS lacks`),
    });
    await project.close();
  });
});

describe('a Supabase project', () => {
  const keys = { dataDir: '', timeoutMs: 2000, encryptionKeys: [createEncryptionKeyEntry()] };

  /** Nobody is enrolled in it. */
  async function withProject<T>(status: number, body: unknown, use: (config: StorageConfig) => Promise<T>): Promise<T> {
    const server = createServer((request, response) => {
      const answer = request.url?.endsWith('/va_key_ids') ? [] : body;
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      return await use({ ...keys, supabase: { url, key: 'a-service-role-key' } });
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  /** Answers as scripted, by name of the function, or cuts every connection. */
  async function moodyProject(answers: Readonly<Record<string, unknown>>) {
    const server = createServer((request, response) => {
      if (project.away) return void request.destroy();
      const answer = answers[request.url!.split('/').at(-1)!];
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const close = async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    };
    const project = { access: { url, key: 'a-service-role-key' }, away: false, close };
    return project;
  }

  it.each([
    [200, { schema_version: 9 }],
    [404, { code: 'PGRST202', message: 'Could not find the function public.va_ping', details: null, hint: null }],
  ])('without the migrations is refused at start (%i)', async (status, body) => {
    const opening = withProject(status, body, (config) => openStorage(config, storageOptions()));
    await expect(opening).rejects.toMatchObject({
      name: 'StorageError',
      message: expect.stringContaining('apply supabase/migrations'),
    });
  });

  it('that refuses the key is refused at start', async () => {
    const opening = withProject(401, { message: 'Invalid API key' }, (config) => openStorage(config, storageOptions()));
    await expect(opening).rejects.toMatchObject({
      name: 'StorageError',
      message: expect.stringContaining('SUPABASE_SERVICE_ROLE_KEY'),
    });
  });

  it('is used when it has them', async () => {
    await withProject(200, { schema_version: 10 }, async (config) => {
      const storage = await openStorage(config, storageOptions());
      expect(storage.backend).toBe('supabase');
      await storage.store.ping();
      await storage.close();
    });
  });

  it('that is down does not keep the service from starting', async () => {
    const config = await withProject(200, {}, async (used) => used);
    const storage = await openStorage(config, storageOptions());
    await expect(storage.store.ping()).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
  });

  it('that comes back without the migrations is not one to serve from until it has them', async () => {
    const answers = { va_ping: { schema_version: 10 }, va_key_ids: [] as unknown[] };
    const project = await moodyProject(answers);
    project.away = true;
    const { store } = await openStorage({ ...keys, supabase: project.access }, storageOptions());
    await expect(store.ping()).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    project.away = false;
    answers.va_ping = { schema_version: 9 };
    await expect(store.ping()).rejects.toMatchObject({ name: 'StorageError', fault: 'migrations_missing' });
    answers.va_ping = { schema_version: 10 };
    await store.ping();
    // Also later: it may have been restored from a backup.
    answers.va_ping = { schema_version: 9 };
    await expect(store.ping()).rejects.toMatchObject({ fault: 'migrations_missing' });
    await project.close();
  });

  it('that comes back with templates of a foreign key is not one to serve from until the ring has it', async () => {
    const [keyId] = keys.encryptionKeys[0]!.split(':');
    const inUse = (key: string) => [{ key_id: key, voiceprints: 1, samples: 1 }];
    const answers = { va_ping: { schema_version: 10 }, va_key_ids: inUse('foreign') };
    const project = await moodyProject(answers);
    project.away = true;
    const { store } = await openStorage({ ...keys, supabase: project.access }, storageOptions());
    await expect(store.ping()).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    project.away = false;
    const refusal = { name: 'StorageError', fault: 'keys_missing', message: expect.stringContaining('key foreign') };
    await expect(store.ping()).rejects.toMatchObject(refusal);
    await expect(store.ping()).rejects.toMatchObject(refusal);
    answers.va_key_ids = inUse(keyId!);
    await store.ping();
    await project.close();
  });

  it('needs encryption keys', async () => {
    const config = { ...keys, encryptionKeys: undefined, supabase: { url: 'http://127.0.0.1:1', key: 'a-key' } };
    await expect(async () => openStorage(config, storageOptions())).rejects.toThrow('EMBEDDING_ENCRYPTION_KEYS');
  });
});
