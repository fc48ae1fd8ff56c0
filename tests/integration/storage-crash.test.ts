/** What was acknowledged is there after kill -9. */
import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { openStorage, type Storage } from '../../src/storage/open-storage.js';
import { enrollmentOf, storageOptions, temporaryFolder } from '../support/embedded-storage.js';
import { LineProcess } from '../support/line-process.js';

it('keeps every acknowledged attempt when the process is killed, three times over', { timeout: 180_000 }, async () => {
  const folder = await temporaryFolder();
  const config = { supabase: undefined, dataDir: folder.path, timeoutMs: 20_000, encryptionKeys: undefined };
  const userId = randomUUID();
  const inStorage = async <T>(work: (store: Storage['store']) => Promise<T>): Promise<T> => {
    const storage = await openStorage(config, storageOptions());
    try {
      return await work(storage.store);
    } finally {
      await storage.close();
    }
  };
  try {
    await inStorage((store) => store.saveEnrollment(enrollmentOf(userId)));
    const acknowledged: string[] = [];
    for (let round = 1; round <= 3; round++) {
      const writer = new LineProcess('./attempt-writer.mjs', [folder.path, userId]);
      await writer.firstLines(round * 15);
      await writer.kill();
      acknowledged.push(...writer.lines.filter((line) => line.length === 36));
    }
    await inStorage(async (store) => {
      const stored = new Set<string>();
      let before: string | undefined;
      do {
        const page = await store.authHistory(userId, { limit: 200, before });
        for (const { id } of page?.attempts ?? []) stored.add(id);
        before = page?.next;
      } while (before !== undefined);
      expect(acknowledged.filter((id) => !stored.has(id))).toEqual([]);
      // At most the three that were under way at each kill were written without an answer.
      expect(stored.size).toBeLessThanOrEqual(acknowledged.length + 9);
      expect((await store.findUser(userId))?.samples).toHaveLength(1);
      expect(await store.verifyAuditChain()).toMatchObject({ intact: true, events: 1 });
    });
  } finally {
    await folder.remove();
  }
});
