import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { prepareDataFolder, readOrCreateSecret, readSecret } from '../../../src/storage/data-folder.js';
import { temporaryFolder } from '../../support/embedded-storage.js';

describe('data folder', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  beforeEach(async () => {
    folder = await temporaryFolder();
  });
  afterEach(() => folder.remove());

  const modeOf = async (path: string) => (await stat(path)).mode & 0o777;

  it('is created for its owner only, also below folders that are missing', async () => {
    const path = join(folder.path, 'a', 'data');
    await prepareDataFolder(path);
    expect(await modeOf(path)).toBe(0o700);
  });

  it('is refused when everyone may write to it, or when it is a file', async () => {
    const open = join(folder.path, 'open');
    await mkdir(open);
    await chmod(open, 0o777);
    await expect(prepareDataFolder(open)).rejects.toThrow(`chmod 700 '${open}'`);
    const file = join(folder.path, 'file');
    await writeFile(file, '');
    await expect(prepareDataFolder(file)).rejects.toMatchObject({
      name: 'DataFolderError',
      message: `${file} is a file, not a folder; set DATA_DIR`,
    });
  });

  it('makes a secret once, readable by its owner only', async () => {
    const path = join(folder.path, 'data', 'a.key');
    expect(await readSecret(path)).toBeUndefined();
    expect(await readOrCreateSecret(path, () => 'first')).toBe('first');
    expect(await readOrCreateSecret(path, () => 'second')).toBe('first');
    expect(await readSecret(path)).toBe('first');
    expect(await modeOf(path)).toBe(0o600);
    expect(await readFile(path, 'utf8')).toBe('first\n');
    expect(await readdir(join(folder.path, 'data'))).toEqual(['a.key']);
  });

  it('gives all racing makers the same secret', async () => {
    const path = join(folder.path, 'a.key');
    let made = 0;
    const make = () => `secret-${made++}`;
    const secrets = await Promise.all(Array.from({ length: 8 }, () => readOrCreateSecret(path, make)));
    expect(new Set(secrets).size).toBe(1);
    expect(await readdir(folder.path)).toEqual(['a.key']);
  });

  it.each([0o640, 0o604, 0o620])('refuses a secret with mode %o and says how to put it right', async (mode) => {
    const path = join(folder.path, 'a.key');
    await writeFile(path, 'hush');
    await chmod(path, mode);
    const failure = await readOrCreateSecret(path, () => 'new').catch((error: unknown) => error);
    expect(failure).toMatchObject({ name: 'DataFolderError' });
    expect(String(failure)).toContain(`chmod 600 '${path}'`);
    expect(String(failure)).not.toContain('hush');
  });

  it('refuses an empty secret instead of replacing it', async () => {
    const path = join(folder.path, 'a.key');
    await writeFile(path, ' \n', { mode: 0o600 });
    await expect(readOrCreateSecret(path, () => 'new')).rejects.toThrow('is empty');
  });
});
