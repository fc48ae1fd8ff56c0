/** Whatever dies, nothing was answered "success" without its row, and the database opens again. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Json } from '../../src/cli/client.js';
import { type ListenSimulator, startListenSimulator } from '../../src/telephony/simulator/listen-server.js';
import { eventually } from '../support/eventually.js';
import { fetchText, type LocalService, metricSum, startLocalService } from '../support/local-service.js';
import { childProcesses } from '../support/process-tree.js';
import { VOICE_RATE_HZ, voicePath, voiceSamples } from '../support/voices.js';

const ROUNDS = 10;
const CALLS = 20;
const userId = randomUUID();
let simulator: ListenSimulator;
let dataDir: string;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'voice-auth-crash-'));
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

/** Starts `CALLS` verifications; `onAnswer` sees each answer as it comes. Resolves when all have ended one way or another. */
function verifyMany(
  service: LocalService,
  onAnswer: (result: Json) => void,
  name: 'call' | 'slow' = 'call',
): Promise<unknown> {
  return Promise.allSettled(
    Array.from({ length: CALLS }, async (_, call) =>
      onAnswer(
        await service.client.post('/api/v1/verify-password', { userId, listenUrl: simulator.url(`${name}-${call}`) }),
      ),
    ),
  );
}

async function recordedIds(service: LocalService): Promise<ReadonlySet<string>> {
  const ids = new Set<string>();
  for (let before = ''; ; ) {
    const page = await service.client.get(
      `/api/v1/users/${userId}/auth-history?limit=200${before && `&before=${encodeURIComponent(before)}`}`,
    );
    for (const attempt of page.attempts as Json[]) if (attempt.success === true) ids.add(String(attempt.id));
    if (typeof page.next !== 'string') return ids;
    before = page.next;
  }
}

describe('crashes', () => {
  it(`keeps every answered success over ${ROUNDS} kills during ${CALLS} verifications`, async () => {
    const answered: string[] = [];
    let service = await startLocalService({}, { dataDir });
    for (let round = 1; round <= ROUNDS; round++) {
      let inRound = 0;
      let killed: Promise<unknown> | undefined;
      await verifyMany(service, (result) => {
        if (result.success !== true) return;
        answered.push(String(result.attempt_id));
        inRound += 1;
        // A different number of answers each round, so that the kill meets different phases of the others.
        if (inRound === round) killed = service.server.stop('SIGKILL');
      });
      expect(inRound).toBeGreaterThanOrEqual(round);
      await killed;
      await service.close();
      service = await startLocalService({}, { dataDir });
      const recorded = await recordedIds(service);
      expect(answered.filter((id) => !recorded.has(id))).toEqual([]);
    }
    expect(answered.length).toBeGreaterThanOrEqual((ROUNDS * (ROUNDS + 1)) / 2);
    await service.close();
  }, 180_000);

  it('goes on when its inference children are killed in the middle of calls', async () => {
    const service = await startLocalService({}, { dataDir });
    const outcomes: Json[] = [];
    const metric = async (name: string) => metricSum(await fetchText(service, '/metrics'), `voice_auth_${name}`);
    const before = await metric('inference_seconds_count');
    // At the speed of speech, so that none is over when all are being judged.
    const calls = verifyMany(service, (result) => outcomes.push(result), 'slow');
    await listening(service, CALLS);
    await expect.poll(() => metric('inference_seconds_count')).toBeGreaterThan(before);
    expect(outcomes).toEqual([]);
    const children = await childProcesses(service.server.pid, 'inference-child');
    expect(children.length).toBeGreaterThan(0);
    // Held until requests wait, so that each of them is killed with one that it has not answered.
    for (const pid of children) process.kill(pid, 'SIGSTOP');
    await expect.poll(() => metric('inference_waiting')).toBeGreaterThan(0);
    for (const pid of children) process.kill(pid, 'SIGKILL');
    await calls;
    expect(outcomes.filter(({ success }) => success === true).length).toBe(CALLS);
    const after = await childProcesses(service.server.pid, 'inference-child');
    expect(after.filter((pid) => children.includes(pid))).toEqual([]);
    expect((await fetch(`${service.server.url}/readyz`)).status).toBe(200);
    await service.close();
  });

  it('refuses a second server on the same data folder and says why', async () => {
    const service = await startLocalService({}, { dataDir });
    await expect(startLocalService({}, { dataDir })).rejects.toThrow(/another|in use|locked/i);
    await service.close();
  });
});

describe('shutdown', () => {
  it('lets a running verification finish within the grace period and exits with 0', async () => {
    const service = await startLocalService({ SHUTDOWN_GRACE_SECONDS: '20' }, { dataDir });
    const calls: Json[] = [];
    const done = verifyMany(service, (result) => calls.push(result));
    await listening(service, CALLS);
    expect(await service.server.stop('SIGTERM')).toBe(0);
    await done;
    expect(calls.map(({ decision }) => decision)).toEqual(Array.from({ length: CALLS }, () => 'accept'));
    await service.close();
  });

  it('is not cut short by a second signal', async () => {
    const service = await startLocalService({ SHUTDOWN_GRACE_SECONDS: '20' }, { dataDir });
    const calls: Json[] = [];
    const done = verifyMany(service, (result) => calls.push(result));
    await listening(service, CALLS);
    const stopped = service.server.stop('SIGTERM');
    await eventually(() => expect(service.server.output()).toContain('"event":"draining"'));
    process.kill(service.server.pid, 'SIGTERM');
    expect(await stopped).toBe(0);
    await done;
    expect(calls.map(({ decision }) => decision)).toEqual(Array.from({ length: CALLS }, () => 'accept'));
    await service.close();
  });

  it('does not wait for a stranger who asked for a WebSocket and never leaves', async () => {
    const service = await startLocalService({ SHUTDOWN_GRACE_SECONDS: '0' }, { dataDir });
    const stranger = connect({
      port: Number(new URL(service.server.url).port),
      host: '127.0.0.1',
      allowHalfOpen: true,
    });
    stranger.on('error', () => undefined);
    stranger.write('GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    await new Promise((resolve) => stranger.once('data', resolve));
    expect(await service.server.stop('SIGTERM')).toBe(0);
    stranger.destroy();
    await service.close();
  });

  it('answers `deadline` when the grace period is over, and has recorded that', async () => {
    const service = await startLocalService({ SHUTDOWN_GRACE_SECONDS: '0' }, { dataDir });
    const slow = await startListenSimulator({
      call: () => ({ caller: new Float32Array(16_000), sampleRateHz: 16_000, variant: { afterEnd: 'silence' } }),
    });
    const pending = service.client.post('/api/v1/verify-password', { userId, listenUrl: slow.url('quiet') });
    await listening(service, 1);
    const stopped = service.server.stop('SIGTERM');
    const result = await pending;
    expect(result).toMatchObject({ success: false, decision: 'inconclusive', reason: 'deadline' });
    expect(await stopped).toBe(0);
    await slow.close();
    const again = await startLocalService({}, { dataDir });
    const page = await again.client.get(`/api/v1/users/${userId}/auth-history?limit=1`);
    expect((page.attempts as Json[])[0]).toMatchObject({ id: result.attempt_id, reason: 'deadline' });
    await again.close();
    await service.close();
  });
});

/** Waits until the server says that it listens to so many calls. */
async function listening(service: LocalService, calls: number): Promise<void> {
  for (;;) {
    const page = await (await fetch(`${service.server.url}/metrics`)).text();
    if (Number(/^voice_auth_listen_connections_total\{outcome="open"\} (\d+)/m.exec(page)?.[1] ?? 0) >= calls) return;
  }
}
