/**
 * One suite over every storage backend. To run it against a Supabase project of yours (with the migrations applied, and
 * nobody enrolled), set VOICE_AUTH_TEST_SUPABASE_URL and VOICE_AUTH_TEST_SUPABASE_KEY (service role).
 */
import { describe, it } from 'vitest';
import { openStorage } from '../../src/storage/open-storage.js';
import { createEncryptionKeyEntry } from '../../src/storage/template-cipher.js';
import { storageOptions, temporaryFolder } from '../support/embedded-storage.js';
import { describeAuthStore } from './auth-store-contract.js';
import { describeCallStore } from './call-store-contract.js';

const url = process.env.VOICE_AUTH_TEST_SUPABASE_URL;
const key = process.env.VOICE_AUTH_TEST_SUPABASE_KEY;

const openEmbedded = async () => {
  const folder = await temporaryFolder();
  const config = { supabase: undefined, dataDir: folder.path, timeoutMs: 20_000, encryptionKeys: undefined };
  const storage = await openStorage(config, storageOptions());
  return { ...storage, close: () => storage.close().finally(folder.remove) };
};
describeAuthStore('the embedded database', openEmbedded);
describeCallStore('the embedded database', openEmbedded);

if (url && key) {
  const encryptionKeys = [createEncryptionKeyEntry()];
  const openProject = () =>
    openStorage({ supabase: { url, key }, dataDir: '', timeoutMs: 20_000, encryptionKeys }, storageOptions());
  describeAuthStore('a Supabase project', openProject);
  describeCallStore('a Supabase project', openProject);
} else {
  describe('auth store on a Supabase project', () => {
    it.skip('needs VOICE_AUTH_TEST_SUPABASE_URL and VOICE_AUTH_TEST_SUPABASE_KEY', () => undefined);
  });
}
