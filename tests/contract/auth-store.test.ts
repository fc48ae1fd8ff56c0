/**
 * One suite over every storage backend. To run it against a Supabase project of yours (with the migrations applied), set
 * VOICE_AUTH_TEST_SUPABASE_URL and VOICE_AUTH_TEST_SUPABASE_KEY (service role).
 */
import { describe, it } from 'vitest';
import { openStorage } from '../../src/storage/open-storage.js';
import { createEncryptionKeyEntry } from '../../src/storage/template-cipher.js';
import { storageOptions, temporaryFolder } from '../support/embedded-storage.js';
import { describeAuthStore } from './auth-store-contract.js';

const url = process.env.VOICE_AUTH_TEST_SUPABASE_URL;
const key = process.env.VOICE_AUTH_TEST_SUPABASE_KEY;

describeAuthStore('the embedded database', async () => {
  const folder = await temporaryFolder();
  const config = { supabase: undefined, dataDir: folder.path, timeoutMs: 20_000, encryptionKeys: undefined };
  const storage = await openStorage(config, storageOptions());
  return { ...storage, close: () => storage.close().finally(folder.remove) };
});

if (url && key) {
  const encryptionKeys = [createEncryptionKeyEntry()];
  describeAuthStore('a Supabase project', () =>
    openStorage({ supabase: { url, key }, dataDir: '', timeoutMs: 20_000, encryptionKeys }, storageOptions()),
  );
} else {
  describe('auth store on a Supabase project', () => {
    it.skip('needs VOICE_AUTH_TEST_SUPABASE_URL and VOICE_AUTH_TEST_SUPABASE_KEY', () => undefined);
  });
}
