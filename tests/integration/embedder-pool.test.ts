/**
 * The inference pool with real children, which are stopped and killed on purpose. SIGSTOP makes the tests deterministic:
 * a stopped child has its request and does not answer it until it is continued or killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import type { InferencePoolOptions } from '../../src/embedder/inference-pool.js';
import type { Priority } from '../../src/embedder/waiting-line.js';
import { eventually, isRunning, PoolUnderTest, shippedLoad, tone } from '../support/inference.js';

const open: PoolUnderTest[] = [];
const folders: string[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map(({ pool }) => pool.drain(0)));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function create(options: Partial<InferencePoolOptions> = {}): PoolUnderTest {
  const test = new PoolUnderTest(options);
  open.push(test);
  return test;
}

async function started(options: Partial<InferencePoolOptions> = {}): Promise<PoolUnderTest> {
  const test = create(options);
  await test.pool.start();
  return test;
}

const embed = (test: PoolUnderTest, waveform = tone(1.5), priority: Priority = 'live', signal?: AbortSignal) =>
  test.pool.run<'embed'>({ kind: 'embed', waveform }, signal ? { priority, signal } : { priority });

const lastPid = (test: PoolUnderTest) => test.readyPids.at(-1)!;
const stop = (pid: number) => process.kill(pid, 'SIGSTOP');
const resume = (pid: number) => process.kill(pid, 'SIGCONT');
const kill = (pid: number) => process.kill(pid, 'SIGKILL');
const outcome = (promise: Promise<unknown>) =>
  promise.then(
    () => 'answered',
    (error: { code?: string }) => error.code ?? String(error),
  );

/** A copy of the shipped model that a test may damage. */
function modelCopy(): string {
  const folder = mkdtempSync(join(tmpdir(), 'voice-auth-pool-'));
  folders.push(folder);
  const path = join(folder, 'model.onnx');
  copyFileSync(shippedLoad().speaker.path, path);
  return path;
}

describe('a running pool', () => {
  it('infers in other processes while the event loop of this one turns', async () => {
    const test = await started({ children: 2 });
    expect(new Set(test.readyPids).size).toBe(2);
    expect(test.readyPids).not.toContain(process.pid);
    let answered = false;
    const inference = embed(test, tone(60)).finally(() => {
      answered = true;
    });
    let turns = 0;
    while (!answered) {
      await nextTurn();
      turns++;
    }
    await inference;
    // A run on this thread would end within the turn that it began in; sending and receiving alone take a few turns.
    expect(turns).toBeGreaterThan(50);
  });

  it.skipIf(!existsSync('/proc/self/environ'))('gives its children nothing of the environment', async () => {
    process.env.VOICE_AUTH_TEST_SECRET = 'not-for-children';
    try {
      const test = await started();
      expect(readFileSync(`/proc/${lastPid(test)}/environ`, 'utf8')).not.toContain('not-for-children');
    } finally {
      delete process.env.VOICE_AUTH_TEST_SECRET;
    }
  });

  it('keeps its children through SIGTERM and SIGINT, which a process group may get', async () => {
    const test = await started();
    process.kill(lastPid(test), 'SIGTERM');
    process.kill(lastPid(test), 'SIGINT');
    await embed(test);
    expect(test.readyPids).toHaveLength(1);
    expect(isRunning(lastPid(test))).toBe(true);
  });
});

describe('admission', () => {
  it('refuses what does not fit into the queue, and lets a live call displace an upload', async () => {
    const test = await started({ maxWaiting: 2 });
    stop(lastPid(test));
    const running = outcome(embed(test));
    const upload1 = outcome(embed(test, tone(1.5), 'upload'));
    const upload2 = outcome(embed(test, tone(1.5), 'upload'));
    const refused = embed(test, tone(1.5), 'upload');
    await expect(refused).rejects.toMatchObject({ code: 'Busy', retryAfterSeconds: 1 });
    const live = outcome(embed(test));
    expect(await upload2).toBe('Busy');
    expect(test.pool.health()).toEqual({ ok: true, children: 1, ready: 1, waiting: 2, running: 1 });
    expect(await test.count('inference_waiting')).toBe(2);
    resume(lastPid(test));
    expect(await Promise.all([running, upload1, live])).toEqual(['answered', 'answered', 'answered']);
    expect(await test.count('inference_rejected_total', { cause: 'queue_full' })).toBe(1);
    expect(await test.count('inference_rejected_total', { cause: 'displaced' })).toBe(1);
    expect(await test.count('inference_waiting')).toBe(0);
  });

  it('does not let a request wait longer than the queue deadline', async () => {
    const test = await started({ queueTimeoutMs: 60 });
    stop(lastPid(test));
    const running = outcome(embed(test));
    await expect(embed(test)).rejects.toMatchObject({ code: 'Busy', retryAfterSeconds: 1 });
    expect(test.pool.health()).toMatchObject({ waiting: 0, running: 1 });
    resume(lastPid(test));
    // The one that was already with the child is past the deadline too, but no longer in the queue.
    expect(await running).toBe('answered');
    expect(await test.count('inference_rejected_total', { cause: 'deadline' })).toBe(1);
  });

  it('answers live calls before uploads, and each in the order of arrival', async () => {
    const test = await started();
    stop(lastPid(test));
    const answered: string[] = [];
    const request = (name: string, priority: Priority) =>
      embed(test, tone(1.5), priority).then(() => answered.push(name));
    const all = [
      request('first', 'upload'),
      request('upload 1', 'upload'),
      request('live 1', 'live'),
      request('upload 2', 'upload'),
      request('live 2', 'live'),
    ];
    resume(lastPid(test));
    await Promise.all(all);
    expect(answered).toEqual(['first', 'live 1', 'live 2', 'upload 1', 'upload 2']);
    expect(await test.count('inference_queue_seconds', { priority: 'upload' })).toBeGreaterThan(0);
  });
});

describe('cancellation', () => {
  it('takes a waiting request out of the queue', async () => {
    const test = await started();
    stop(lastPid(test));
    const running = embed(test);
    const cancel = new AbortController();
    const waiting = embed(test, tone(1.5), 'live', cancel.signal);
    cancel.abort(new Error('hung up'));
    await expect(waiting).rejects.toThrow('hung up');
    expect(test.pool.health().waiting).toBe(0);
    await expect(embed(test, tone(1.5), 'live', cancel.signal)).rejects.toThrow('hung up');
    resume(lastPid(test));
    await running;
  });

  it('lets a running inference finish in its child, which goes on to serve others', async () => {
    const test = await started();
    stop(lastPid(test));
    const cancel = new AbortController();
    const cancelled = embed(test, tone(5, 2), 'live', cancel.signal);
    cancel.abort(new Error('hung up'));
    await expect(cancelled).rejects.toThrow('hung up');
    expect(test.pool.health().running).toBe(1);
    const next = embed(test, tone(1.5, 3));
    resume(lastPid(test));
    const { embedding } = await next;
    // The answer of the cancelled request must not be taken for that of the next one.
    expect(embedding).toEqual((await embed(test, tone(1.5, 3))).embedding);
    expect(embedding).not.toEqual((await embed(test, tone(5, 2))).embedding);
    expect(test.readyPids).toHaveLength(1);
  });

  it('does not retry a cancelled request whose child is lost', async () => {
    const test = await started();
    stop(lastPid(test));
    const cancel = new AbortController();
    const cancelled = embed(test, tone(5), 'live', cancel.signal);
    cancel.abort(new Error('hung up'));
    await expect(cancelled).rejects.toThrow('hung up');
    kill(lastPid(test));
    await eventually(() => test.readyPids.length === 2);
    expect(test.pool.health()).toMatchObject({ waiting: 0, running: 0 });
  });
});

describe('a lost child', () => {
  it('is replaced, and its request answered as if nothing had happened', async () => {
    const test = await started();
    const expected = await embed(test, tone(3));
    stop(lastPid(test));
    const request = embed(test, tone(3));
    expect(test.pool.health().running).toBe(1);
    kill(lastPid(test));
    expect((await request).embedding).toEqual(expected.embedding);
    expect(test.readyPids).toHaveLength(2);
    expect(isRunning(test.readyPids[0]!)).toBe(false);
    expect(await test.count('inference_child_restarts_total')).toBe(1);
  });

  it('fails its request the second time, and the pool recovers', async () => {
    const test = await started();
    stop(lastPid(test));
    const request = outcome(embed(test));
    test.onReady = stop;
    kill(lastPid(test));
    await eventually(() => test.readyPids.length === 2 && test.pool.health().running === 1);
    test.onReady = undefined;
    kill(lastPid(test));
    expect(await request).toBe('InferenceUnavailable');
    expect((await embed(test)).embedding).toHaveLength(192);
    expect(test.readyPids).toHaveLength(3);
    expect(test.pool.health()).toEqual({ ok: true, children: 1, ready: 1, waiting: 0, running: 0 });
  });

  it('that hangs is killed, and its request answered by the next', async () => {
    const test = await started({ runTimeoutMs: 2000 });
    stop(lastPid(test));
    expect((await embed(test)).embedding).toHaveLength(192);
    expect(test.readyPids).toHaveLength(2);
    expect(isRunning(test.readyPids[0]!)).toBe(false);
  });

  it('is not blamed on a request when all children go at once', async () => {
    const test = await started({ children: 4 });
    const pids = [...test.readyPids];
    for (const pid of pids) stop(pid);
    // One child has it; the others look idle until it is known that they are gone, too.
    const request = outcome(embed(test));
    for (const pid of pids) kill(pid);
    expect(await request).toBe('answered');
  });

  it('is busy, not unavailable, while its only child takes longer to come back than a request may wait', async () => {
    const test = await started({ queueTimeoutMs: 60 });
    stop(lastPid(test));
    const waiting = outcome(embed(test));
    kill(lastPid(test));
    expect(await waiting).toBe('Busy');
    await eventually(() => test.pool.health().ready === 1);
    expect((await embed(test)).embedding).toHaveLength(192);
  });

  it('never mixes up answers, however many are lost under load', async () => {
    const test = await started({ children: 2, maxWaiting: 60 });
    const expected = await Promise.all([1, 2, 3].map((voice) => embed(test, tone(2, voice))));
    let done = 0;
    const outcomes = await Promise.all(
      Array.from({ length: 48 }, async (_, index) => {
        const code = await embed(test, tone(2, 1 + (index % 3))).then(
          (answer) => {
            expect(answer.embedding).toEqual(expected[index % 3]?.embedding);
            return 'answered';
          },
          (error: { code: string }) => error.code,
        );
        if (++done % 12 === 0 && isRunning(lastPid(test))) kill(lastPid(test));
        return code;
      }),
    );
    for (const code of outcomes) expect(['answered', 'InferenceUnavailable']).toContain(code);
    expect(outcomes.filter((code) => code === 'answered').length).toBeGreaterThan(40);
    await eventually(() => test.pool.health().ready === 2);
    expect(test.pool.health()).toEqual({ ok: true, children: 2, ready: 2, waiting: 0, running: 0 });
  });
});

describe('a model that does not load', () => {
  it('fails the start with the reason and leaves no process', async () => {
    const path = modelCopy();
    writeFileSync(path, 'not a model');
    const test = create({ children: 2, load: shippedLoad(path) });
    await expect(test.pool.start()).rejects.toMatchObject({
      code: 'InferenceUnavailable',
      message: expect.stringMatching(/do not start: .*model\.onnx/),
    });
    await expect(embed(test)).rejects.toMatchObject({ code: 'InferenceUnavailable' });
  });

  it('fails the start when the manifest names another tensor or another size', async () => {
    const load = shippedLoad();
    const wrongTensor = create({ load: { ...load, speaker: { ...load.speaker, inputTensor: 'audio' } } });
    await expect(wrongTensor.pool.start()).rejects.toThrow('the speaker model has no input "audio"');
    const wrongSize = create({ load: { ...load, speaker: { ...load.speaker, embeddingSize: 256 } } });
    await expect(wrongSize.pool.start()).rejects.toThrow('gives 192 values, its manifest says 256');
  });

  it('makes the pool unhealthy after three failed starts, and healthy again once it loads', async () => {
    const path = modelCopy();
    const intact = readFileSync(path);
    const test = await started({ load: shippedLoad(path) });
    stop(lastPid(test));
    const stranded = outcome(embed(test));
    writeFileSync(path, 'not a model');
    kill(lastPid(test));
    // Retried, but there is no child to retry it on.
    expect(await stranded).toBe('InferenceUnavailable');
    expect(test.pool.health()).toEqual({ ok: false, children: 1, ready: 0, waiting: 0, running: 0 });
    await expect(embed(test)).rejects.toMatchObject({ code: 'InferenceUnavailable' });
    writeFileSync(path, intact);
    await eventually(() => test.pool.health().ok);
    expect((await embed(test)).embedding).toHaveLength(192);
  });
});

describe('drain', () => {
  it('finishes what was admitted, refuses the rest and leaves no process', async () => {
    const test = await started({ children: 2 });
    const admitted = Array.from({ length: 5 }, () => embed(test));
    const drained = test.pool.drain(20_000);
    await expect(embed(test)).rejects.toMatchObject({ code: 'InferenceUnavailable' });
    expect(test.pool.health().ok).toBe(false);
    await drained;
    for (const { embedding } of await Promise.all(admitted)) expect(embedding).toHaveLength(192);
    expect(test.readyPids.map(isRunning)).toEqual([false, false]);
    expect(await test.count('inference_child_restarts_total')).toBe(0);
    await test.pool.drain(0);
  });

  it('rejects and kills what does not finish in time', async () => {
    const test = await started();
    stop(lastPid(test));
    const running = outcome(embed(test));
    const waiting = outcome(embed(test));
    await test.pool.drain(30);
    expect(await Promise.all([running, waiting])).toEqual(['InferenceUnavailable', 'InferenceUnavailable']);
    expect(isRunning(lastPid(test))).toBe(false);
  });

  it('ends a start that is under way', async () => {
    const test = create({ children: 2 });
    const start = outcome(test.pool.start());
    await test.pool.drain(0);
    expect(await start).toBe('InferenceUnavailable');
    expect(test.pool.health()).toMatchObject({ ok: false, ready: 0 });
  });
});

describe('a server that is killed', () => {
  it('takes its children along, busy as they are', async () => {
    const script = fileURLToPath(new URL('../support/pool-parent.mjs', import.meta.url));
    const parent = spawn(process.execPath, [script, JSON.stringify(shippedLoad())], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      const pids = await readyPids(parent, 2);
      expect(pids.map(isRunning)).toEqual([true, true]);
      parent.kill('SIGKILL');
      await eventually(() => !pids.some(isRunning));
    } finally {
      parent.kill('SIGKILL');
    }
  });
});

async function readyPids(parent: ChildProcess, count: number): Promise<number[]> {
  const pids: number[] = [];
  for await (const line of createInterface({ input: parent.stdout! })) {
    pids.push((JSON.parse(line) as { pid: number }).pid);
    if (pids.length === count) break;
  }
  return pids;
}
