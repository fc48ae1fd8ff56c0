/** What `serve` and `config` say of settings that cannot be, or do nothing, before anything is opened. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inheritedEnvironment } from '../../src/config/client-environment.js';
import { builtModule } from '../support/built.js';
import { temporaryFolder } from '../support/embedded-storage.js';

const MISSPELLED = 'VOICE_TRESHOLD is not a setting; did you mean VOICE_THRESHOLD?';

describe('settings', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  beforeEach(async () => {
    folder = await temporaryFolder();
  });
  afterEach(() => folder.remove());

  const run = (verb: string, settings: Record<string, string>) => {
    const env = { ...inheritedEnvironment(), DATA_DIR: join(folder.path, 'data'), ...settings };
    return spawnSync(process.execPath, [fileURLToPath(builtModule('cli/main.js')), verb], { encoding: 'utf8', env });
  };

  it.each(['1', '2'])('stop a server of %s process before it opens its data folder, all named', (workers) => {
    const { status, stdout, stderr } = run('serve', {
      WORKERS: workers,
      MODEL_ID: 'no-such-model',
      API_KEYS: 'sesame',
      VOICE_TRESHOLD: 'open-to-all',
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/API_KEYS: entry 1/);
    expect(stderr).toMatch(/MODEL_ID: .*no-such-model/);
    expect(stdout.trim().split('\n')).toEqual([expect.stringContaining(MISSPELLED)]);
    expect(stdout + stderr).not.toMatch(/sesame|open-to-all/);
    expect(existsSync(join(folder.path, 'data'))).toBe(false);
  });

  it('name a model that is not here, and how a published one is fetched', () => {
    const models = run('serve', { MODEL_ID: 'wespeaker-ecapa512-lm' }).stderr;
    expect(models).toMatch(/MODEL_ID: There is no model package "wespeaker-ecapa512-lm" in .*; there are .*phone-/);
    expect(models).toMatch(/; get it with: voice-auth models pull wespeaker-ecapa512-lm$/m);
  });

  it('are warned of by config when they look misspelled', () => {
    const { status, stdout, stderr } = run('config', { VOICE_TRESHOLD: '0.9' });
    expect(status).toBe(0);
    expect(stderr).toBe(`warning: ${MISSPELLED}\n`);
    expect(stdout).not.toContain('VOICE_TRESHOLD');
  });
});
