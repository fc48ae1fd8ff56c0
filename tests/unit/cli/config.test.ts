import { describe, expect, it } from 'vitest';
import { requireUsable } from '../../../src/cli/config.js';
import { loadConfig } from '../../../src/config/config.js';
import { createApiKey } from '../../../src/http/api-keys.js';
import { createEncryptionKeyEntry } from '../../../src/storage/template-cipher.js';

const check = (settings: Record<string, string>) => requireUsable(loadConfig(settings));

describe('settings that a server could not start with', () => {
  it('are none with the defaults, nor with keys that were made for it', async () => {
    await check({});
    await check({
      API_KEYS: createApiKey('agent', ['verify']).entry,
      EMBEDDING_ENCRYPTION_KEYS: createEncryptionKeyEntry(),
    });
  });

  it('are named all at once, and no secret with them', async () => {
    const checking = check({ API_KEYS: 'sesame', EMBEDDING_ENCRYPTION_KEYS: 'k1:open', MODEL_ID: 'no-such-model' });
    const error = await checking.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ name: 'ConfigurationError' });
    const { message } = error as Error;
    expect(message).toMatch(/API_KEYS: entry 1/);
    expect(message).toMatch(/EMBEDDING_ENCRYPTION_KEYS: Encryption key 1/);
    expect(message).toMatch(/MODEL_ID: .*no-such-model/);
    expect(message).not.toMatch(/sesame|open/);
  });
});
