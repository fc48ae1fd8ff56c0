/** How fast two models are and what memory they take, measured in turns: the machine is never the same twice. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const WINDOWS_S = [2, 3, 5, 10];
const ROUNDS = 15;
const ROUND_MS = 200;
const LOADS = 9;
const PROFILED_RUNS = 30;
const OPTIONS = { intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: 'sequential' } as const;

export interface ComparedModel {
  readonly name: string;
  readonly path: string;
  readonly inputTensor: string;
  readonly sampleRateHz: number;
}

type Pair = readonly [ComparedModel, ComparedModel];

/** Prints window times, what the time goes into, loading, memory and size of both models. */
export async function compareSpeed(models: Pair, speech: Float32Array): Promise<void> {
  const sessions = await Promise.all(models.map(({ path }) => InferenceSession.create(path, OPTIONS)));
  console.log(
    `\nProcessor time on one thread, medians of ${ROUNDS} rounds in turns; ratio: median of the rounds' ratios`,
  );
  console.log(`${'window'.padEnd(9)}${names(models)}ratio`);
  for (const seconds of WINDOWS_S) {
    const rounds: number[][] = [[], []];
    const tensors = models.map(({ sampleRateHz }) => windowOf(speech, seconds * sampleRateHz));
    for (let round = -1; round < ROUNDS; round++) {
      for (const [side, session] of sessions.entries()) {
        const ms = await windowMs(() => session.run({ [models[side]!.inputTensor]: tensors[side]! }));
        if (round >= 0) rounds[side]!.push(ms);
      }
    }
    const ratio = median(rounds[0]!.map((ms, i) => ms / rounds[1]![i]!));
    const columns = rounds.map((all) => `${median(all).toFixed(2)} ms`.padEnd(28)).join('');
    console.log(`${`${seconds} s`.padEnd(9)}${columns}${ratio.toFixed(2)}`);
  }

  const loads: number[][] = [[], []];
  for (let i = 0; i < LOADS; i++) {
    for (const [side, { path }] of models.entries()) {
      const startedMs = performance.now();
      const session = await InferenceSession.create(path, OPTIONS);
      loads[side]!.push(performance.now() - startedMs);
      await session.release();
    }
  }
  const memory = [await memoryBytes(models[0]), await memoryBytes(models[1])];
  const sizes = models.map(({ path }) => statSync(path).size);
  console.log(`${'load'.padEnd(9)}${loads.map((all) => `${median(all).toFixed(0)} ms`.padEnd(28)).join('')}`);
  console.log(`${'memory'.padEnd(9)}${memory.map((bytes) => mb(bytes).padEnd(28)).join('')}(resident, 10 s windows)`);
  console.log(`${'file'.padEnd(9)}${sizes.map((bytes) => mb(bytes).padEnd(28)).join('')}`);
  for (const model of models) await printKernels(model, windowOf(speech, 3 * model.sampleRateHz));
}

/** Processor time, which other work on the machine disturbs less than it does the clock. */
async function windowMs(run: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  const cpu = process.cpuUsage();
  let count = 0;
  while (performance.now() - startedMs < ROUND_MS) {
    await run();
    count++;
  }
  const { user, system } = process.cpuUsage(cpu);
  return (user + system) / 1000 / count;
}

async function memoryBytes({ path, inputTensor }: ComparedModel): Promise<number> {
  const all: number[] = [];
  for (let i = 0; i < 3; i++) {
    const child = fork(new URL('./model-memory.mjs', import.meta.url), [path, inputTensor], { execArgv: [] });
    const [{ bytes }] = (await once(child, 'message')) as [{ bytes: number }];
    all.push(bytes);
  }
  return median(all);
}

/** Which kernels the runtime really runs, from its own profile: fused integer kernels are called `QLinear...`. */
async function printKernels({ name, path, inputTensor }: ComparedModel, tensor: Tensor): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'voice-auth-profile-'));
  try {
    const session = await InferenceSession.create(path, {
      ...OPTIONS,
      enableProfiling: true,
      profileFilePrefix: join(folder, 'profile'),
    });
    for (let i = 0; i < PROFILED_RUNS; i++) await session.run({ [inputTensor]: tensor });
    session.endProfiling();
    const [file = ''] = readdirSync(folder);
    const events = JSON.parse(readFileSync(join(folder, file), 'utf8')) as ProfileEvent[];
    const nodes = new Map<string, { kernel: string; us: number[] }>();
    for (const { cat, name: node, dur, args } of events) {
      if (cat !== 'Node' || !node.endsWith('_kernel_time')) continue;
      const entry = nodes.get(node) ?? { kernel: args.op_name, us: [] };
      entry.us.push(dur);
      nodes.set(node, entry);
    }
    const kernels = new Map<string, { us: number; count: number }>();
    for (const { kernel, us } of nodes.values()) {
      const entry = kernels.get(kernel) ?? { us: 0, count: 0 };
      kernels.set(kernel, { us: entry.us + median(us), count: entry.count + 1 });
    }
    const listed = [...kernels.entries()].sort(([, a], [, b]) => b.us - a.us).slice(0, 8);
    console.log(
      `${name}, 3 s: ${listed.map(([kernel, { us, count }]) => `${count} ${kernel} ${(us / 1000).toFixed(2)} ms`).join(', ')}`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface ProfileEvent {
  readonly cat: string;
  readonly name: string;
  readonly dur: number;
  readonly args: { readonly op_name: string };
}

function windowOf(speech: Float32Array, count: number): Tensor {
  const samples = Float32Array.from({ length: count }, (_, i) => speech[i % speech.length]!);
  return new Tensor('float32', samples, [1, count]);
}

function names(models: Pair): string {
  return models.map(({ name }) => name.slice(-26).padEnd(28)).join('');
}

function mb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}
