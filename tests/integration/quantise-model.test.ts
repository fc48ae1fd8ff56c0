/** The INT8 script on a toy network: what it rounds, that the runtime computes it in integers, and what it refuses. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ActivationHistogram, measureActivations } from '../../scripts/activation-histograms.js';
import { cosine } from '../../src/domain/scoring/embedding.js';

const script = fileURLToPath(new URL('../../scripts/quantise-model.py', import.meta.url));
const toyNetwork = fileURLToPath(new URL('../support/toy-network.py', import.meta.url));
/** Debian's onnx belongs to Debian's Python, which need not be the first on the path. */
const python = ['python3', '/usr/bin/python3'].find(
  (command) => spawnSync(command, ['-c', 'import onnx, numpy']).status === 0,
);
if (!python) console.log('quantise-model is skipped: it needs Python 3 with onnx (apt install python3-onnx).');

describe.skipIf(!python)('quantise-model.py (skips without python3-onnx)', () => {
  let folder: string;
  let activations: Readonly<Record<string, ActivationHistogram>>;
  const file = (name: string) => join(folder, name);
  const windows = [0.02, 0.05, 0.11].map((pitch) =>
    Float32Array.from({ length: 4000 }, (_, i) => 0.3 * Math.sin(i * pitch) * Math.sin(i * 0.003)),
  );

  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(python!, [script, ...args], { encoding: 'utf8' });
    return { status, output: stdout + stderr };
  };
  const make = (...args: string[]) => {
    const { status, output } = run(...args);
    expect(output).not.toContain('Traceback');
    expect(status).toBe(0);
  };
  const makeStatic = (out: string, ...args: string[]) =>
    make('static', file('toy.onnx'), file('activations.json'), file(out), ...args);
  const writeActivations = (name: string, tensors: typeof activations) =>
    writeFileSync(file(name), JSON.stringify({ windows: windows.length, tensors }));

  /** Least cosine between the embeddings of the toy network and of another, unit length or not. */
  const agreement = async (name: string): Promise<number> => {
    const sessions = await Promise.all(['toy.onnx', name].map((path) => InferenceSession.create(file(path))));
    const cosines: number[] = [];
    for (const samples of windows) {
      const [full, rounded] = (await Promise.all(
        sessions.map(async (session) => {
          const outputs = await session.run({ waveform: new Tensor('float32', samples, [1, samples.length]) });
          const values = outputs.embedding!.data as Float32Array;
          const length = Math.hypot(...values);
          return values.map((value) => value / length);
        }),
      )) as [Float32Array, Float32Array];
      cosines.push(cosine(full, rounded));
    }
    return Math.min(...cosines);
  };

  /** How often an operator is in the graph that the runtime made of a model for itself. */
  const kernels = async (name: string, operator: string): Promise<number> => {
    await InferenceSession.create(file(name), {
      graphOptimizationLevel: 'extended',
      optimizedModelFilePath: file('optimised.onnx'),
    });
    const listing = 'import onnx, sys; print(sum(n.op_type == sys.argv[2] for n in onnx.load(sys.argv[1]).graph.node))';
    return Number(
      spawnSync(python!, ['-c', listing, file('optimised.onnx'), operator], { encoding: 'utf8' }).stdout.trim(),
    );
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'quantise-'));
    expect(spawnSync(python!, [toyNetwork, file('toy.onnx')]).status).toBe(0);
    make('observe', file('toy.onnx'), file('observed.onnx'));
    activations = await measureActivations(file('observed.onnx'), windows);
    writeActivations('activations.json', activations);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('observes what stands before and behind every convolution of the network, not the front end', () => {
    expect(Object.keys(activations).sort()).toEqual(['c_relu', 'log', 'm_out', 'se_out', 'squeezed']);
    expect(activations.c_relu!.min).toBe(0);
    const frames = Math.floor((4000 - 32) / 16) + 1;
    expect(activations.log!.counts.reduce((sum, count) => sum + count)).toBe(windows.length * frames * 8);
  });

  it.each(['minmax', 'percentile', 'entropy'])(
    'makes integer kernels that agree with the network: %s',
    async (method) => {
      makeStatic('int8.onnx', '--method', method);
      expect(await kernels('int8.onnx', 'QLinearConv')).toBe(2);
      // The front end, and the gate with its sigmoid.
      expect(await kernels('int8.onnx', 'Conv')).toBe(1);
      expect(await kernels('int8.onnx', 'FusedConv')).toBe(1);
      expect(await agreement('int8.onnx')).toBeGreaterThan(0.99);
    },
  );

  it('rounds only the nodes that are named', async () => {
    makeStatic('one.onnx', '--only', '/m/');
    expect(await kernels('one.onnx', 'QLinearConv')).toBe(1);
    expect(await agreement('one.onnx')).toBeGreaterThan(0.99);
  });

  it('has weights of seven bits on request', async () => {
    makeStatic('seven.onnx', '--reduce-range');
    expect(await agreement('seven.onnx')).toBeGreaterThan(0.99);
  });

  it('cuts rare values off by percentile', async () => {
    const { min, max, counts } = activations.c_relu!;
    // One value fifty times as large as all others: bins fifty times as wide.
    const wide: number[] = new Array(counts.length).fill(0);
    for (const [bin, count] of counts.entries()) wide[Math.floor(bin / 50)]! += count;
    wide[wide.length - 1] = 1;
    writeActivations('rare.json', { ...activations, c_relu: { min, max: max * 50, counts: wide } });
    make('static', file('toy.onnx'), file('rare.json'), file('rare.onnx'), '--method', 'minmax');
    const whole = await agreement('rare.onnx');
    make(
      'static',
      file('toy.onnx'),
      file('rare.json'),
      file('cut.onnx'),
      '--method',
      'percentile',
      '--percentile',
      '99.9',
    );
    expect(await agreement('cut.onnx')).toBeGreaterThan(whole);
  });

  it('writes the same bytes from the same input', () => {
    for (const name of ['first.onnx', 'second.onnx']) makeStatic(name);
    expect(readFileSync(file('first.onnx')).equals(readFileSync(file('second.onnx')))).toBe(true);
  });

  it('rounds dense layers, and convolutions if asked, as values come', async () => {
    make('dynamic', file('toy.onnx'), file('dynamic.onnx'));
    expect(await agreement('dynamic.onnx')).toBeGreaterThan(0.999);
    make('dynamic', file('toy.onnx'), file('convolutions.onnx'), '--convolutions');
    expect(await agreement('convolutions.onnx')).toBeGreaterThan(0.99);
    expect(await kernels('convolutions.onnx', 'ConvInteger')).toBe(3);
  });

  it('refuses activations of another network, and patterns that name nothing', () => {
    writeActivations('other.json', { log: activations.log! });
    expect(run('static', file('toy.onnx'), file('other.json'), file('no.onnx'))).toMatchObject({
      status: 1,
      output: expect.stringContaining('the activations lack c_relu, m_out'),
    });
    expect(run('dynamic', file('toy.onnx'), file('no.onnx'), '--only', 'nothing').output).toContain(
      'no node to quantise',
    );
  });

  it('explains itself', () => {
    const { status, output } = run('--help');
    expect(status).toBe(0);
    expect(output).toContain('measure-activations.ts');
  });
});
