/** `voice-auth keys rotate` on a real embedded database and on a Supabase project, in its own process. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inheritedEnvironment } from '../../src/config/client-environment.js';
import { openStorage, type Storage } from '../../src/storage/open-storage.js';
import { createEncryptionKeyEntry } from '../../src/storage/template-cipher.js';
import { builtModule } from '../support/built.js';
import {
  enrollmentOf,
  openTestDatabase,
  storageOptions,
  temporaryFolder,
  testEmbedding,
} from '../support/embedded-storage.js';
import { privacyLeaks } from '../support/privacy.js';
import { SupabaseProject } from '../support/supabase-project.js';

const MAIN = fileURLToPath(builtModule('cli/main.js'));
/** More than one page of the database. */
const PEOPLE = 52;
const [older, newer] = [createEncryptionKeyEntry(), createEncryptionKeyEntry()];
const idOf = (entry: string) => entry.slice(0, entry.indexOf(':'));

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeEach(async () => {
  folder = await temporaryFolder();
});
afterEach(() => folder.remove());

function rotate(environment: Readonly<Record<string, string>>, ...args: string[]) {
  // A busy machine may need long for the first call.
  const env = { ...inheritedEnvironment(), DATABASE_TIMEOUT: '60', ...environment };
  return new Promise<{ readonly code: number; readonly out: string; readonly err: string }>((resolve) => {
    execFile(process.execPath, [MAIN, 'keys', 'rotate', ...args], { env }, (error, out, err) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, out, err });
    });
  });
}

describe('keys rotate', { timeout: 120_000 }, () => {
  async function withStorage<T>(keys: readonly string[], use: (storage: Storage) => Promise<T>): Promise<T> {
    const config = { supabase: undefined, dataDir: folder.path, timeoutMs: 20_000, encryptionKeys: [...keys] };
    const storage = await openStorage(config, storageOptions());
    try {
      return await use(storage);
    } finally {
      await storage.close();
    }
  }
  const inFolder = (...keys: readonly string[]) => ({
    DATA_DIR: folder.path,
    EMBEDDING_ENCRYPTION_KEYS: keys.join(','),
  });

  it('makes the older key unnecessary, and can be run again', async () => {
    const userIds = Array.from({ length: PEOPLE }, () => randomUUID());
    await withStorage([older], async ({ store }) => {
      for (const userId of userIds) await store.saveEnrollment(enrollmentOf(userId));
    });
    const dry = await rotate(inFolder(newer, older), '--json', '--dry-run');
    expect(dry).toMatchObject({ code: 0, err: '' });
    const counts = { keyId: idOf(newer), voiceprints: PEOPLE, samples: PEOPLE, unreadable: [] };
    expect(JSON.parse(dry.out)).toEqual({ ...counts, droppable: [], dryRun: true });

    const run = await rotate(inFolder(newer, older), '--json');
    expect(JSON.parse(run.out)).toEqual({ ...counts, droppable: [idOf(older)], dryRun: false });
    const again = await rotate(inFolder(newer, older));
    expect(again.out).toMatch(
      /^0 voiceprints and 0 samples encrypted anew .*\nNo template needs k[0-9a-f]{8} any more/,
    );
    for (const { out, err } of [run, again]) expect(privacyLeaks(out + err, [...userIds, older, newer])).toEqual([]);

    await withStorage([newer], async ({ store }) => {
      for (const userId of userIds) {
        const user = await store.findUser(userId);
        expect(user?.voiceprint?.centroid).toEqual(testEmbedding(1));
        expect(user?.samples.map(({ embedding }) => embedding)).toEqual([testEmbedding(2)]);
      }
      expect(await store.verifyAuditChain()).toMatchObject({ intact: true, events: 2 * PEOPLE });
    });
  });

  it('leaves alone and names what it cannot read, and what was replaced meanwhile', async () => {
    const [damaged, sound] = [randomUUID(), randomUUID()];
    const version = await withStorage([older], async ({ store }) => {
      await store.saveEnrollment(enrollmentOf(damaged));
      return (await store.saveEnrollment(enrollmentOf(sound))).version;
    });
    const database = await openTestDatabase(join(folder.path, 'database'));
    await database.transaction([
      {
        sql: 'update voice_auth.voice_samples set template = set_byte(template, 40, 255 - get_byte(template, 40)) where user_id = $1',
        params: [damaged],
      },
    ]);
    const stale = JSON.stringify({ version: version - 1, key_id: idOf(older), template: `\\x${'00'.repeat(40)}` });
    const putBack = {
      sql: 'select public.va_put_back_templates($1, $2, $3, $4) as put',
      params: [sound, 'k', stale, '[]'],
    };
    expect(await database.transaction([putBack])).toEqual([{ put: { voiceprints: 0, samples: 0 } }]);
    await database.close();

    const { code, out } = await rotate(inFolder(newer, older));
    expect(code).toBe(1);
    expect(out).toContain('1 voiceprint and 1 sample encrypted anew');
    expect(out).toContain('No key can be taken out of the key ring.');
    expect(out).toContain(`enroll anew: ${damaged}`);
  });

  it('encrypts older samples of a newer voiceprint anew', async () => {
    const first = enrollmentOf(randomUUID());
    const { version } = await withStorage([older], ({ store }) => store.saveEnrollment(first));
    const second = enrollmentOf(first.userId, { expectedVersion: version, keptSampleIds: [first.newSample.id] });
    await withStorage([newer, older], async ({ store }) => {
      await store.saveEnrollment(second);
      expect(await store.reencrypt({})).toMatchObject({ voiceprints: 0, samples: 1, droppable: [idOf(older)] });
    });
    await withStorage([newer], async ({ store }) => {
      expect((await store.findUser(first.userId))?.samples).toHaveLength(2);
    });
  });

  it('puts nothing back in the place of what another key has encrypted since', async () => {
    const enrollment = enrollmentOf(randomUUID());
    const { version } = await withStorage([newer], ({ store }) => store.saveEnrollment(enrollment));
    const database = await openTestDatabase(join(folder.path, 'database'));
    const stale = { key_id: idOf(older), template: `\\x${'00'.repeat(40)}` };
    const put = await database.transaction([
      {
        sql: 'select public.va_put_back_templates($1, $2, $3, $4) as put',
        params: [
          enrollment.userId,
          'k',
          JSON.stringify({ version, ...stale }),
          JSON.stringify([{ id: enrollment.newSample.id, ...stale }]),
        ],
      },
    ]);
    await database.close();
    expect(put).toEqual([{ put: { voiceprints: 0, samples: 0 } }]);
  });

  it('refuses without a key that is needed', async () => {
    await withStorage([older], ({ store }) => store.saveEnrollment(enrollmentOf(randomUUID())));
    const { code, err } = await rotate(inFolder(newer));
    expect([code, err]).toEqual([
      1,
      expect.stringContaining(`key ${idOf(older)}, which EMBEDDING_ENCRYPTION_KEYS lacks`),
    ]);
  });

  it('works on a Supabase project too', async () => {
    const project = await SupabaseProject.start();
    const { SUPABASE_URL: url, SUPABASE_SERVICE_ROLE_KEY: key, EMBEDDING_ENCRYPTION_KEYS: first } = project.environment;
    const config = { supabase: { url: url!, key: key! }, dataDir: '', timeoutMs: 20_000 };
    const userId = randomUUID();
    const before = await openStorage({ ...config, encryptionKeys: [first!] }, storageOptions());
    await before.store.saveEnrollment(enrollmentOf(userId));
    const run = await rotate({ ...project.environment, EMBEDDING_ENCRYPTION_KEYS: `${newer},${first}` }, '--json');
    expect(JSON.parse(run.out)).toMatchObject({ voiceprints: 1, samples: 1, droppable: [idOf(first!)] });
    const after = await openStorage({ ...config, encryptionKeys: [newer] }, storageOptions());
    expect((await after.store.findUser(userId))?.voiceprint?.centroid).toEqual(testEmbedding(1));
    await project.close();
  });
});
