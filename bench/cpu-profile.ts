/** Where a process's time went, from a V8 CPU profile: self time by part of the code, and the functions that took most. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface ProfileRow {
  readonly name: string;
  /** Of the time in which the process was not idle. */
  readonly share: number;
}

export interface ProfileSummary {
  /** Seconds of work. */
  readonly busySeconds: number;
  readonly parts: readonly ProfileRow[];
  readonly functions: readonly ProfileRow[];
}

/** Sums all profiles of a folder. Throws when there is none. */
export function summariseProfiles(folder: string, top: number): ProfileSummary {
  const files = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'));
  if (files.length === 0) throw new Error(`no CPU profile in ${folder}`);
  const parts = new Map<string, number>();
  const functions = new Map<string, number>();
  for (const file of files) {
    const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile;
    const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
    samples.forEach((id, index) => {
      const frame = frames.get(id);
      if (!frame || frame.functionName === '(idle)') return;
      const micros = timeDeltas[index] ?? 0;
      const part = partOf(frame);
      add(parts, part, micros);
      add(functions, `${frame.functionName || '(anonymous)'} (${part})`, micros);
    });
  }
  const busy = [...parts.values()].reduce((sum, micros) => sum + micros, 0);
  const rows = (sums: ReadonlyMap<string, number>) =>
    [...sums]
      .sort(([, a], [, b]) => b - a)
      .slice(0, top)
      .map(([name, micros]) => ({ name, share: micros / busy }));
  return { busySeconds: busy / 1e6, parts: rows(parts), functions: rows(functions) };
}

/** Room of our own code, name of a package, or what V8 calls its own work. */
function partOf({ functionName, url }: { readonly functionName: string; readonly url: string }): string {
  const own = /\/dist\/([^/]+)(?:\/([^/]+)\/)?/.exec(url);
  if (own) return `our ${own[1]!.replace('.js', '')}${own[2] ? `/${own[2]}` : ''}`;
  const bundled = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url);
  if (bundled) return `package ${bundled[1]}`;
  if (url.startsWith('node:')) return `node:${url.slice(5).split('/').slice(0, 2).join('/')}`;
  return functionName === '(garbage collector)' || functionName === '(program)' ? functionName : '(native code)';
}

function add(sums: Map<string, number>, name: string, micros: number): void {
  sums.set(name, (sums.get(name) ?? 0) + micros);
}
