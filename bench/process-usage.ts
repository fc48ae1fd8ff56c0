/** What a server process and all processes below it use, as the kernel counts it (Linux: proc(5)). */
import { readdirSync, readFileSync } from 'node:fs';

/** What a server and all its processes use. */
export interface Usage {
  /** Seconds of processor time so far: the server processes, and the inference processes. */
  readonly serverCpuSeconds: number;
  readonly inferenceCpuSeconds: number;
  readonly rssBytes: number;
  /** The same, apart. */
  readonly serverRssBytes: number;
  readonly inferenceRssBytes: number;
  readonly processes: number;
  readonly descriptors: number;
  readonly threads: number;
}

/** Clock ticks per second of the times in /proc/<pid>/stat: USER_HZ, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;

/** Sums over `pid` and its descendants; processes that end meanwhile are left out. */
export function usageOf(pid: number): Usage {
  const total = {
    serverCpuSeconds: 0,
    inferenceCpuSeconds: 0,
    rssBytes: 0,
    serverRssBytes: 0,
    inferenceRssBytes: 0,
    processes: 0,
    descriptors: 0,
    threads: 0,
  };
  for (const id of processTree(pid)) {
    try {
      const fields = statOf(id);
      const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
      const rssBytes = Number(fields[21]) * PAGE_BYTES;
      if (readFileSync(`/proc/${id}/cmdline`, 'utf8').includes('inference-child')) {
        total.inferenceCpuSeconds += cpuSeconds;
        total.inferenceRssBytes += rssBytes;
      } else {
        total.serverCpuSeconds += cpuSeconds;
        total.serverRssBytes += rssBytes;
      }
      total.threads += Number(fields[17]);
      total.rssBytes += rssBytes;
      total.descriptors += readdirSync(`/proc/${id}/fd`).length;
      total.processes++;
    } catch {
      // It ended between being listed and being read.
    }
  }
  return total;
}

/** Fields of /proc/<pid>/stat after the name, which may hold blanks and brackets; index 0 is field 3 (state). */
function statOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

function processTree(root: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      parents.set(Number(name), Number(statOf(Number(name))[1]));
    } catch {
      // It ended meanwhile.
    }
  }
  const tree = [root];
  for (const pid of tree) for (const [child, parent] of parents) if (parent === pid) tree.push(child);
  return tree;
}
