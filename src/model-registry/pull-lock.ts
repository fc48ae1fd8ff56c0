/** One pull of a model at a time: a file with the id of the process that works, left over when that process is gone. */
import { open, readFile, rm } from 'node:fs/promises';
import { ModelPullError } from './model-pull-error.js';

/**
 * Locks of this very process. In containers a command has the same process id every time it runs, so a lock with the own id
 * that is not among them was left by a run before.
 */
const held = new Set<string>();

/** Takes the lock and returns what lets go of it. Throws `ModelPullError` while another process has it. */
export async function lockPull(path: string): Promise<() => Promise<void>> {
  for (let tries = 0; ; tries += 1) {
    try {
      const handle = await open(path, 'wx');
      await handle.writeFile(String(process.pid));
      await handle.close();
      held.add(path);
      return async () => {
        held.delete(path);
        await rm(path, { force: true });
      };
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    const owner = Number(await readFile(path, 'utf8').catch(() => ''));
    if (tries > 0 || (owner === process.pid ? held.has(path) : isRunning(owner))) {
      throw new ModelPullError('busy', `Process ${owner} is pulling this model already`);
    }
    await rm(path, { force: true });
  }
}

function isRunning(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
