/** One process per data folder, also when starters race and when earlier ones were killed. */
import { chmod, mkdir, readdir, symlink, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type DirectoryLock, lockDirectory } from '../../src/storage/directory-lock.js';
import { temporaryFolder } from '../support/embedded-storage.js';
import { LineProcess } from '../support/line-process.js';

describe('directory lock', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  beforeEach(async () => {
    folder = await temporaryFolder();
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await folder.remove();
  });

  const holder = (path = folder.path) => new LineProcess('./lock-holder.mjs', [path]);
  const socketFiles = async () => (await readdir(folder.path)).filter((name) => name.startsWith('lock-'));

  it('is held by one of two processes, and free again when that one is killed', async () => {
    const first = holder();
    expect(await first.firstLines(1)).toEqual(['locked']);
    const second = holder();
    const [answer] = await second.firstLines(1);
    expect(answer).toContain('DirectoryLockError');
    expect(answer).toContain(`pid ${first.pid}`);
    expect(answer).toContain(folder.path);
    await second.finish();
    await expect(lockDirectory(folder.path)).rejects.toMatchObject({ name: 'DirectoryLockError' });

    await first.kill();
    expect(await socketFiles()).toHaveLength(1);
    const third = holder();
    expect(await third.firstLines(1)).toEqual(['locked']);
    expect(await socketFiles()).toHaveLength(1);
    await third.finish();
    expect(third.lines).toEqual(['locked', 'released']);
    expect(await socketFiles()).toEqual([]);
  });

  it('says whose a folder has to be that it may not write to', async () => {
    await chmod(folder.path, 0o500);
    // The superuser may write anywhere.
    const superuser = process.geteuid?.() === 0;
    if (superuser) process.seteuid?.(65534);
    try {
      const message = `${folder.path} cannot be written to (EACCES): give it to the user that runs the server, or set DATA_DIR`;
      await expect(lockDirectory(folder.path)).rejects.toMatchObject({ name: 'DirectoryLockError', message });
    } finally {
      if (superuser) process.seteuid?.(0);
      await chmod(folder.path, 0o700);
    }
  });

  it('goes to exactly one of many processes that race over stale sockets', async () => {
    for (let count = 0; count < 2; count++) {
      const victim = holder();
      await victim.firstLines(1);
      await victim.kill();
    }
    const racers = Array.from({ length: 5 }, () => holder());
    const answers = await Promise.all(racers.map(async (racer) => (await racer.firstLines(1))[0]));
    expect(answers.filter((answer) => answer === 'locked')).toHaveLength(1);
    expect(answers.filter((answer) => answer?.startsWith('DirectoryLockError'))).toHaveLength(4);
    await Promise.all(racers.map((racer) => racer.finish()));
    expect(await socketFiles()).toEqual([]);
  });

  it('goes to exactly one of many starters, round after round', async () => {
    for (let round = 0; round < 25; round++) {
      const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => lockDirectory(folder.path)));
      const won = outcomes.filter(
        (outcome): outcome is PromiseFulfilledResult<DirectoryLock> => outcome.status === 'fulfilled',
      );
      expect(won).toHaveLength(1);
      await won[0]?.value.release();
    }
    expect(await socketFiles()).toEqual([]);
  });

  it('knows the folder under every name', async () => {
    const other = `${folder.path}-link`;
    await symlink(folder.path, other);
    const lock = await lockDirectory(folder.path);
    await expect(lockDirectory(other)).rejects.toMatchObject({ name: 'DirectoryLockError' });
    await lock.release();
    await (await lockDirectory(other)).release();
    await unlink(other);
  });

  it('also works for paths that are too long for a socket', async () => {
    vi.stubEnv('TMPDIR', folder.path);
    const long = join(folder.path, 'd'.repeat(90), 'd'.repeat(90));
    await mkdir(long, { recursive: true });
    const lock = await lockDirectory(long);
    await expect(lockDirectory(long)).rejects.toThrow(long);
    const sibling = join(folder.path, 'd'.repeat(90), 'e'.repeat(90));
    await mkdir(sibling);
    await (await lockDirectory(sibling)).release();
    await lock.release();
    await (await lockDirectory(long)).release();
  });
});
