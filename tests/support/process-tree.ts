/** Who was started by whom, read from /proc. */
import { readdir, readFile } from 'node:fs/promises';

/** Process ids of the living children of `parent` whose command line contains `text`. */
export async function childProcesses(parent: number, text: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const [stat, commandLine] = await Promise.all([
      readFile(`/proc/${name}/stat`, 'utf8').catch(() => ''),
      readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => ''),
    ]);
    const parentPid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    if (parentPid === parent && commandLine.includes(text)) found.push(Number(name));
  }
  return found;
}

/** Which of the processes are still there, those aside that only wait for their parent to take note of their end. */
export async function living(pids: readonly number[]): Promise<number[]> {
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')));
  return pids.filter((_, index) => {
    const stat = stats[index] ?? '';
    return stat !== '' && stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z';
  });
}
