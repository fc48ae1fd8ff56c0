/**
 * Our pool against sherpa-onnx on the same network and the same speech, in turns. sherpa gets the network without its
 * log-mel front end (scripts/export-for-sherpa.py), because it computes filter banks itself: as many frames, by
 * FFT where ours is a convolution in the graph. Each side computes in one process with one thread; ours gets its windows over
 * the channel, as in the service, while sherpa's loop has them at hand.
 */
import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PoolSpeakerEmbedder } from '../src/embedder/pool-speaker-embedder.js';
import { type VoiceFile, voiceSamples } from '../tests/support/voices.js';
import {
  flatOut,
  live,
  manifest,
  median,
  modelPath,
  type PoolBench,
  round,
  startUsage,
  withPool,
} from './inference-pool-bench.js';

const ROUNDS = 7;
const MEASURE_MS = 500;
const VOICES = fileURLToPath(new URL('../tests/fixtures/voices/', import.meta.url));
/** Debian's onnx belongs to Debian's Python, which need not be the first on the path. */
const PYTHONS = ['python3', '/usr/bin/python3'];

interface SherpaAnswer {
  readonly embedding: Float32Array;
  readonly count: number;
  readonly elapsedMs: number;
  readonly cpuMs: number;
}

/** Windows per second of wall clock, and of processor time. */
interface Speed {
  readonly wall: number;
  readonly core: number;
  /** Processor time of the server counted too; the same as `core` where there is no server. */
  readonly coreInAll: number;
}

export async function compareWithSherpa(): Promise<void> {
  const python = PYTHONS.find((command) => spawnSync(command, ['-c', 'import onnx']).status === 0);
  if (!python) {
    console.log(
      '\nThe comparison with sherpa-onnx is skipped: it needs Python 3 with onnx (apt install python3-onnx).',
    );
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'voice-auth-bench-'));
  try {
    const cut = join(folder, 'model.onnx');
    const script = fileURLToPath(new URL('../scripts/export-for-sherpa.py', import.meta.url));
    const { status, stderr } = spawnSync(python, [script, modelPath, cut], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`export-for-sherpa.py failed: ${stderr}`);
    const sherpa = fork(new URL('./sherpa-embedder.mjs', import.meta.url), [cut], {
      serialization: 'advanced',
      execArgv: [],
    });
    await once(sherpa, 'message');
    await withPool(1, {}, (bench) => compare(bench, sherpa));
    sherpa.disconnect();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function compare(bench: PoolBench, sherpa: ChildProcess): Promise<void> {
  const embedder = new PoolSpeakerEmbedder(manifest, bench.pool);
  const ask = async (samples: Float32Array, measureMs: number) => {
    sherpa.send({ samples, measureMs });
    return ((await once(sherpa, 'message')) as [SherpaAnswer])[0];
  };

  const agreement: Record<string, Record<string, number>> = {};
  for (const file of readdirSync(VOICES).filter((name) => name.endsWith('.wav'))) {
    const voice = voiceSamples(file.slice(0, -4) as VoiceFile);
    const columns: Record<string, number> = {};
    for (const seconds of [3, 10]) {
      const window = voice.slice(0, seconds * manifest.sampleRateHz);
      const { embedding } = await ask(window, 0);
      columns[`cosine, first ${seconds} s`] = round(cosine(await embedder.embed(window, live), embedding), 4);
    }
    agreement[file] = columns;
  }
  console.log('\nOur embedding and sherpa-onnx’s of the same speech: one network, two front ends');
  console.table(agreement);

  const speech = voiceSamples('alice-enroll');
  const rows: Record<string, Record<string, string | number>> = {};
  for (const seconds of [2, 3, 5, 10]) {
    const window = speech.slice(0, seconds * manifest.sampleRateHz);
    const ours: Speed[] = [];
    const theirs: Speed[] = [];
    for (let i = 0; i < ROUNDS; i++) {
      ours.push(await measurePool(bench, embedder, window));
      const { count, elapsedMs, cpuMs } = await ask(window, MEASURE_MS);
      theirs.push({
        wall: (count * 1000) / elapsedMs,
        core: (count * 1000) / cpuMs,
        coreInAll: (count * 1000) / cpuMs,
      });
    }
    const of = (speeds: readonly Speed[], key: keyof Speed) => median(speeds.map((speed) => speed[key]));
    const ratio = (key: keyof Speed) => round(median(ours.map((speed, i) => speed[key] / theirs[i]![key])));
    rows[`window of ${seconds} s`] = {
      'frames, ours': Math.floor((window.length - 400) / 160) + 1,
      sherpa: Math.floor((window.length + 80) / 160),
      'windows/s, ours': round(of(ours, 'wall'), 1),
      'sherpa ': round(of(theirs, 'wall'), 1),
      'ratio, wall': ratio('wall'),
      'ratio, per core': ratio('core'),
      'ratio, per core, server counted': ratio('coreInAll'),
    };
  }
  console.log(`\nOne inference process against sherpa-onnx, one thread each (medians of ${ROUNDS} rounds in turns)`);
  console.table(rows);
}

async function measurePool(bench: PoolBench, embedder: PoolSpeakerEmbedder, window: Float32Array): Promise<Speed> {
  const usage = startUsage(bench);
  // Two at a time: while one is computed, the next waits in the queue.
  const count = await flatOut(2, MEASURE_MS, () => embedder.embed(window, live));
  const { elapsedMs, childCpuMs, parentCpuMs } = usage();
  return {
    wall: (count * 1000) / elapsedMs,
    core: (count * 1000) / childCpuMs,
    coreInAll: (count * 1000) / (childCpuMs + parentCpuMs),
  };
}

function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
