/** Several server processes behave as one, and whichever of them dies, nothing was answered "success" without its row. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Json } from '../../src/cli/client.js';
import type { CommandError } from '../../src/cli/command-error.js';
import { createEncryptionKeyEntry } from '../../src/storage/template-cipher.js';
import { type ListenSimulator, startListenSimulator } from '../../src/telephony/simulator/listen-server.js';
import { eventually } from '../support/eventually.js';
import { fetchText, type LocalService, metricSum, startLocalService } from '../support/local-service.js';
import { childProcesses, living } from '../support/process-tree.js';
import { VOICE_RATE_HZ, voicePath, voiceSamples } from '../support/voices.js';

const CALLS = 20;
const userId = randomUUID();
let simulator: ListenSimulator;
let dataDir: string;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'voice-auth-workers-'));
  const caller = voiceSamples('alice-call-1');
  const script = (speed: number) => ({ caller, sampleRateHz: VOICE_RATE_HZ, variant: { speed } });
  simulator = await startListenSimulator({ call: (callId) => script(callId.startsWith('slow') ? 1 : 8) });
  const service = await startLocalService({}, { dataDir });
  await service.client.upload('/api/v1/enroll', voicePath('alice-enroll'), { user_id: userId });
  await service.close();
});

afterAll(async () => {
  await simulator.close();
  await rm(dataDir, { recursive: true, force: true });
});

const start = (environment: Readonly<Record<string, string>> = {}) =>
  startLocalService({ WORKERS: '2', SHUTDOWN_GRACE_SECONDS: '20', ...environment }, { dataDir });

/** Starts `CALLS` verifications; `onAnswer` sees each answer as it comes. Resolves with how all of them ended. */
function verifyMany(
  service: LocalService,
  onAnswer: (result: Json) => void = () => undefined,
  name = 'call',
): Promise<PromiseSettledResult<Json>[]> {
  const verify = async (call: number) => {
    const body = { userId, listenUrl: simulator.url(`${name}-${call}`) };
    const result = await service.client.post('/api/v1/verify-password', body);
    onAnswer(result);
    return result;
  };
  return Promise.allSettled(Array.from({ length: CALLS }, (_, call) => verify(call)));
}

function answers(outcomes: readonly PromiseSettledResult<Json>[]): Json[] {
  return outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
}

/** The ids of successes that were answered but are not in the history. */
async function unrecorded(service: LocalService, answered: readonly Json[]): Promise<unknown[]> {
  const recorded = new Set<unknown>();
  for (let before = ''; ; ) {
    const path = `/api/v1/users/${userId}/auth-history?limit=200${before && `&before=${encodeURIComponent(before)}`}`;
    const page = await service.client.get(path);
    for (const attempt of page.attempts as Json[]) recorded.add(attempt.id);
    if (typeof page.next !== 'string') break;
    before = page.next;
  }
  return answered.flatMap(({ attempt_id }) => (recorded.has(attempt_id) ? [] : [attempt_id]));
}

/** Waits until the servers say that together they have begun to listen to so many calls. */
async function listening(service: LocalService, calls: number): Promise<void> {
  for (;;) {
    const page = await fetchText(service, '/metrics');
    if (metricSum(page, 'voice_auth_listen_connections_total', 'outcome="open"') >= calls) return;
  }
}

const workersOf = (service: LocalService) => childProcesses(service.server.pid, 'serve');

/** Every sample of a counter or histogram, by name and labels. */
function counts(page: string): Map<string, number> {
  const counted = [...page.matchAll(/^# TYPE (\S+) (?:counter|histogram)$/gm)].map(([, name]) => name ?? '');
  const samples = page.split('\n').filter((line) => counted.some((name) => line.startsWith(name)));
  return new Map(samples.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
}

describe('two server processes', () => {
  it('serve as one, and count as one', async () => {
    const service = await start();
    const workers = await workersOf(service);
    expect(workers).toHaveLength(2);
    // A terminal sends these to every process of its group; only the first process may act on them.
    for (const pid of workers) for (const signal of ['SIGINT', 'SIGTERM']) process.kill(pid, signal);
    await service.client.upload('/api/v1/enroll', voicePath('alice-enroll'), { user_id: randomUUID() });
    const results = answers(await verifyMany(service));
    expect(results.map(({ decision }) => decision)).toEqual(Array.from({ length: CALLS }, () => 'accept'));
    expect(await unrecorded(service, results)).toEqual([]);
    const servedBy = [...service.server.output().matchAll(/"worker":(\d+).*"msg":"verification recorded"/g)];
    expect(new Set(servedBy.map(([, worker]) => worker)).size).toBe(2);

    // Four connections: each of the two is asked twice.
    for (let round = 0; round < 4; round++) {
      const page = await fetchText(service, '/metrics');
      expect(metricSum(page, 'voice_auth_enrollments_total', 'outcome="enrolled"')).toBe(1);
      expect(metricSum(page, 'voice_auth_verifications_total', 'decision="accept"')).toBe(CALLS);
      expect(metricSum(page, 'voice_auth_verification_score_count')).toBe(CALLS);
      expect(metricSum(page, 'voice_auth_workers_ready')).toBe(2);
      expect(page.match(/^voice_auth_process_start_time_seconds /gm)).toHaveLength(1);
      const health = JSON.parse(await fetchText(service, '/api/v1/health')) as { components: Json[] };
      expect(health.components).toContainEqual({ name: 'workers', ok: true, detail: { configured: 2, ready: 2 } });
      expect(JSON.parse(await fetchText(service, '/readyz'))).toMatchObject({ status: 'ready' });
    }
    await service.close();
    expect(service.server.output().match(/"event":"listening"/g)).toHaveLength(1);
    expect(service.server.output().match(/voice-auth is ready at/g)).toHaveLength(1);
  }, 60_000);

  it('lose only the calls of the one that is killed, and get another', async () => {
    const service = await start();
    const workers = await workersOf(service);
    // At the speed of speech, so that none is over when all have begun.
    const calls = verifyMany(service, () => undefined, 'slow');
    await listening(service, CALLS);
    const before = counts(await fetchText(service, '/metrics'));
    process.kill(workers[0]!, 'SIGKILL');
    const outcomes = await calls;
    const answered = answers(outcomes);
    // The survivor answers its calls, every one; those of the dead one end with their connection, none with an error answer.
    expect(answered.length).toBeGreaterThan(0);
    expect(answered.length).toBeLessThan(CALLS);
    expect(answered.every(({ success }) => success === true)).toBe(true);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect((outcome.reason as CommandError).body).toBeUndefined();
    }
    await eventually(async () => {
      const page = await fetchText(service, '/metrics');
      const after = counts(page);
      expect([...before].filter(([sample, count]) => !((after.get(sample) ?? 0) >= count))).toEqual([]);
      expect(metricSum(page, 'voice_auth_worker_restarts_total')).toBe(1);
      expect(metricSum(page, 'voice_auth_workers_ready')).toBe(2);
    });
    const now = await workersOf(service);
    expect(now).toHaveLength(2);
    expect(now).not.toContain(workers[0]);
    expect(await unrecorded(service, answered)).toEqual([]);
    const again = answers(await verifyMany(service));
    expect(again.filter(({ success }) => success === true)).toHaveLength(CALLS);
    await service.close();
  }, 90_000);

  it('let running verifications finish within the grace period and exit with 0', async () => {
    const service = await start();
    const calls = verifyMany(service);
    await listening(service, CALLS);
    const workers = await workersOf(service);
    expect(await service.server.stop('SIGTERM')).toBe(0);
    expect(await living(workers)).toEqual([]);
    const results = answers(await calls);
    expect(results.map(({ decision }) => decision)).toEqual(Array.from({ length: CALLS }, () => 'accept'));
    await service.close();
    const next = await start();
    expect(await unrecorded(next, results)).toEqual([]);
    await next.close();
  }, 90_000);

  it('answer `deadline` when the grace period is over, and have recorded that', async () => {
    const service = await start({ SHUTDOWN_GRACE_SECONDS: '0' });
    const quiet = { caller: new Float32Array(16_000), sampleRateHz: 16_000, variant: { afterEnd: 'silence' as const } };
    const slow = await startListenSimulator({ call: () => quiet });
    const calls = ['a', 'b', 'c', 'd'].map((call) =>
      service.client.post('/api/v1/verify-password', { userId, listenUrl: slow.url(call) }),
    );
    const ended = Promise.all(calls);
    await listening(service, calls.length);
    const stopped = service.server.stop('SIGTERM');
    const results = await ended;
    for (const result of results) expect(result).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
    expect(await stopped).toBe(0);
    await slow.close();
    await service.close();
    const next = await start();
    expect(await unrecorded(next, results)).toEqual([]);
    await next.close();
  }, 60_000);

  it('end when the process that started them is killed, and leave the data folder free and complete', async () => {
    const service = await start();
    const workers = await workersOf(service);
    const children = (await Promise.all(workers.map((pid) => childProcesses(pid, 'inference-child')))).flat();
    expect(children.length).toBeGreaterThanOrEqual(2);
    let killed: Promise<unknown> | undefined;
    const outcomes = await verifyMany(service, () => {
      killed ??= service.server.stop('SIGKILL');
    });
    await killed;
    const answered = answers(outcomes).filter(({ success }) => success === true);
    expect(answered.length).toBeGreaterThan(0);
    await eventually(async () => expect(await living([...workers, ...children])).toEqual([]));
    await service.close();
    const next = await start();
    expect(await unrecorded(next, answered)).toEqual([]);
    await next.close();
  }, 90_000);

  it('use a Supabase project without opening a database of their own', async () => {
    const folder = join(dataDir, 'supabase');
    const environment = {
      WORKERS: '2',
      SUPABASE_URL: 'http://127.0.0.1:9',
      SUPABASE_SERVICE_ROLE_KEY: 'a-key-that-nobody-will-ask-for',
      EMBEDDING_ENCRYPTION_KEYS: createEncryptionKeyEntry(),
    };
    const service = await startLocalService(environment, { dataDir: folder });
    const health = JSON.parse(await fetchText(service, '/api/v1/health')) as { components: Json[] };
    const away = { name: 'database', ok: false, reason: 'no_answer', detail: { backend: 'supabase' } };
    expect(health.components).toContainEqual(away);
    expect(await service.server.stop('SIGTERM')).toBe(0);
    expect(await readdir(folder)).toEqual(['development-api-key']);
    await service.close();
  });

  it('say why they cannot start, and leave nothing behind', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as { readonly port: number };
    await expect(start({ PORT: String(port) })).rejects.toThrow(`Port ${port} is in use`);
    taken.close();
    await expect(start({ MODEL_ID: 'no-such-model' })).rejects.toThrow(/no-such-model/);
    const service = await start();
    await expect(start()).rejects.toThrow(/another process/i);
    await service.close();
  }, 60_000);
});
