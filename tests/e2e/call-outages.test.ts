/**
 * What can go wrong behind a call, black box: the database goes away for 3 s, an answer of it is lost, an inference process
 * is killed, the server is told to stop. The tool call gets one answer, or an error, and what it was told is what is recorded.
 *
 * The database is a Supabase project that this test plays: PostgREST's address before the functions of the migrations. The
 * embedded database is a thread of the server and cannot be stopped from outside without the server; over a network it goes
 * away the way it does in production, with connections cut and answers lost, at a moment of the test's choice. Calls are
 * played by hand, so that no step depends on the time another takes; the 3 s are counted in tries of the server.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Json } from '../../src/cli/client.js';
import { HandPlayedCall } from '../support/hand-played-call.js';
import { openHandToldCall } from '../support/hand-told-call.js';
import { type LocalService, metricSum, startLocalService } from '../support/local-service.js';
import { childProcesses } from '../support/process-tree.js';
import { SupabaseProject } from '../support/supabase-project.js';
import { TOLD_CALLS_ENVIRONMENT, ToldCall } from '../support/told-calls.js';
import { VOICE_RATE_HZ, voicePath, voiceSamples } from '../support/voices.js';

const PHONE = '+14155550173';
const SECRETS = [PHONE, PHONE.slice(1), 'hand-played'];
const ACCEPT = { decision: 'accept', reason: 'match' };
const OPEN = { decision: 'inconclusive', reason: 'deadline' };
/** Tries of a server that looks for questions, and repeats one, four times a second each. */
const THREE_SECONDS = 24;

const userId = randomUUID();
const speech = voiceSamples('alice-call-1');
const [before, after] = [speech.subarray(0, VOICE_RATE_HZ), speech.subarray(VOICE_RATE_HZ, 6 * VOICE_RATE_HZ)];
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function enrolled(service: LocalService): Promise<unknown> {
  return service.client.upload('/api/v1/enroll', voicePath('alice-enroll'), { user_id: userId, phone: PHONE });
}

/** A call in progress that the service listens to, with the first second of what the caller says. */
function startCall(service: LocalService, callId: string) {
  return openHandToldCall(service, { callId, callerNumber: PHONE, says: before, cleanups });
}

describe('with a database that is', () => {
  let project: SupabaseProject;
  let service: LocalService;

  beforeAll(async () => {
    project = await SupabaseProject.start();
    service = await startLocalService(
      // Leases end while the database is away: nobody else is there to take the calls.
      { ...TOLD_CALLS_ENVIRONMENT, ...project.environment, CALL_LEASE_SECONDS: '1' },
      { secrets: [...SECRETS, ...project.secrets] },
    );
    await enrolled(service);
  });
  afterAll(async () => {
    await service?.close();
    await project?.close();
  });

  it('gone for 3 s before the question, a call is answered when it is back', async () => {
    const { audio, call } = await startCall(service, 'gone-before');
    project.takeAway();
    const asking = call.verify();
    audio.say(after);
    await expect.poll(() => project.refused).toBeGreaterThanOrEqual(THREE_SECONDS);
    project.bringBack();
    const result = await asking;
    expect(result).toMatchObject(ACCEPT);
    expect(await call.attempts(userId)).toMatchObject([{ ...ACCEPT, id: result.attempt_id }]);
    await call.end();
  });

  it('gone for 3 s between question and answer, a call is answered when it is back', async () => {
    const { audio, call } = await startCall(service, 'gone-between');
    const asked = await questions(service);
    const asking = call.verify();
    await expect.poll(() => questions(service)).toBe(asked + 1);
    project.takeAway();
    audio.say(after);
    await expect.poll(() => project.refused).toBeGreaterThanOrEqual(THREE_SECONDS);
    project.bringBack();
    const result = await asking;
    expect(result).toMatchObject(ACCEPT);
    expect(await call.attempts(userId)).toMatchObject([{ ...ACCEPT, id: result.attempt_id }]);
    await call.end();
  });

  it('gone for longer than the question can wait, nothing is accepted until it is asked again', async () => {
    const { audio, call } = await startCall(service, 'gone-for-long');
    project.takeAway();
    audio.say(after);
    const hurried = new ToldCall(service, {
      callId: call.callId,
      callerNumber: PHONE,
      listenUrl: audio.url,
      variant: { toolTimeoutSeconds: 2 },
    });
    expect(await hurried.verify({ id: 'patient' })).toMatchObject({ error: 'DatabaseUnavailable' });
    project.bringBack();
    expect(await call.attempts(userId)).toEqual([]);
    const result = await call.verify({ id: 'patient' });
    expect(result).toMatchObject(ACCEPT);
    expect(await call.attempts(userId)).toMatchObject([{ ...ACCEPT, id: result.attempt_id }]);
    await call.end();
  });

  it('gone when a call begins, the question makes the service listen', async () => {
    const audio = await HandPlayedCall.start();
    cleanups.push(() => audio.close());
    const call = new ToldCall(service, { callId: 'gone-at-first', callerNumber: PHONE, listenUrl: audio.url });
    project.takeAway();
    await call.begin();
    await expect.poll(() => service.server.output()).toContain('"event":"begin_failed"');
    expect(audio.connections).toBe(0);
    const asking = call.verify();
    await expect.poll(() => project.refused).toBeGreaterThan(2);
    project.bringBack();
    await expect.poll(() => audio.listeners).toBe(1);
    audio.say(after);
    const result = await asking;
    expect(result).toMatchObject(ACCEPT);
    expect(await call.attempts(userId)).toMatchObject([{ ...ACCEPT, id: result.attempt_id }]);
    await call.end();
  });

  it('gone when a call ends, the call is over all the same', async () => {
    const { audio, call } = await startCall(service, 'gone-at-last');
    project.takeAway();
    await call.end();
    await expect.poll(() => audio.listeners).toBe(0);
    project.bringBack();
    await expect.poll(async () => (await call.status()).state).toBe('ended');
    expect(await call.verify()).toMatchObject({ decision: 'inconclusive', reason: 'caller_hung_up' });
    expect(audio.connections).toBe(1);
  });

  it.each(['va_call_ask', 'va_record_attempt', 'va_call_answer'])(
    'there, but its answer to %s is lost, a call has one attempt',
    async (name) => {
      const { audio, call } = await startCall(service, `lost-${name}`);
      project.loseAnswerOf(name);
      audio.say(after);
      const result = await call.verify();
      expect(project.losesAnswer).toBe(false);
      expect(result).toMatchObject(ACCEPT);
      expect(await call.attempts(userId)).toMatchObject([{ ...ACCEPT, id: result.attempt_id }]);
      await call.end();
    },
  );
});

describe('in the middle of a call', () => {
  let dataDir: string;

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'voice-auth-outages-'));
    const service = await startLocalService({}, { dataDir, secrets: SECRETS });
    await enrolled(service);
    await service.close();
  });
  afterAll(() => rm(dataDir, { recursive: true, force: true }));

  const start = async (environment: Readonly<Record<string, string>> = {}) => {
    const service = await startLocalService(
      { ...TOLD_CALLS_ENVIRONMENT, ...environment },
      { dataDir, secrets: SECRETS },
    );
    cleanups.push(() => service.close());
    return service;
  };

  /** The attempts of a call, as a server says that is started anew. */
  async function attemptsAfterRestart(callId: string) {
    const next = await start();
    const attempts = await new ToldCall(next, { callId, callerNumber: PHONE }).attempts(userId);
    await next.close();
    return attempts;
  }

  it('all inference processes are killed: it is decided all the same', async () => {
    // This call says all it has to say at once, so its speech must be able to wait for a slow machine to start processes.
    const service = await start({ INFERENCE_QUEUE_TIMEOUT_MS: '30000' });
    const { audio, call } = await startCall(service, 'children-killed');
    const asking = call.verify();
    await expect.poll(() => questions(service)).toBe(1);
    const children = await childProcesses(service.server.pid, 'inference-child');
    expect(children.length).toBeGreaterThan(0);
    for (const pid of children) process.kill(pid, 'SIGKILL');
    audio.say(after);
    const result = await asking;
    expect(result).toMatchObject(ACCEPT);
    expect(await call.attempts(userId)).toMatchObject([{ ...ACCEPT, id: result.attempt_id }]);
    const now = await childProcesses(service.server.pid, 'inference-child');
    expect(now.filter((pid) => children.includes(pid))).toEqual([]);
  });

  it('the server is told to stop: the question is answered first', async () => {
    const service = await start({ SHUTDOWN_GRACE_SECONDS: '20' });
    const { audio, call } = await startCall(service, 'stopped-in-time');
    const asking = call.verify();
    await expect.poll(() => questions(service)).toBe(1);
    const stopped = service.server.stop('SIGTERM');
    await expect.poll(() => service.server.output()).toContain('"event":"draining"');
    audio.say(after);
    const result = await asking;
    expect(result).toMatchObject(ACCEPT);
    expect(await stopped).toBe(0);
    expect(await attemptsAfterRestart(call.callId)).toMatchObject([{ ...ACCEPT, id: result.attempt_id }]);
  });

  it('the server is told to stop at once: the answer is `deadline`, and recorded', async () => {
    const service = await start({ SHUTDOWN_GRACE_SECONDS: '0' });
    const { call } = await startCall(service, 'stopped-at-once');
    const asking = call.verify();
    await expect.poll(() => questions(service)).toBe(1);
    const stopped = service.server.stop('SIGTERM');
    const result = await asking;
    expect(result).toMatchObject({ decision: 'inconclusive', reason: 'deadline' });
    expect(await stopped).toBe(0);
    expect(await attemptsAfterRestart(call.callId)).toMatchObject([
      { decision: 'inconclusive', reason: 'deadline', id: result.attempt_id },
    ]);
  });

  it.each([
    ['is told to stop: the verdict that was promised comes first', '20', ACCEPT],
    ['is told to stop at once: who was promised a verdict is told that there is none', '0', OPEN],
  ])('the server %s', async (_what, graceSeconds, expected) => {
    const service = await start({ SHUTDOWN_GRACE_SECONDS: graceSeconds, VAPI_LATE_VERDICT: 'message' });
    const control = await startControl();
    const { audio, call } = await openHandToldCall(service, {
      callId: `promised-${graceSeconds}`,
      callerNumber: PHONE,
      controlUrl: control.url,
      variant: { toolTimeoutSeconds: 1 },
      says: before,
      cleanups,
    });
    expect(await call.verify()).toMatchObject({ decision: 'inconclusive', verdict_follows: true });
    const stopped = service.server.stop('SIGTERM');
    await expect.poll(() => service.server.output()).toContain('"event":"draining"');
    if (expected === ACCEPT) audio.say(after);
    expect(await stopped).toBe(0);
    expect(control.verdicts).toMatchObject([expected]);
    expect((await attemptsAfterRestart(call.callId))[0]).toMatchObject({
      ...expected,
      id: control.verdicts[0]!.attempt_id,
    });
  });
});

/** Where a call takes verdicts in. */
async function startControl() {
  const verdicts: Json[] = [];
  const server = createServer(async (request, response) => {
    const { message } = JSON.parse(await text(request)) as { message: { content: string } };
    verdicts.push(JSON.parse(message.content.slice(message.content.indexOf('{'))) as Json);
    response.end('{}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hand-played-control`, verdicts };
}

/** How many questions the server has noted in the database. */
async function questions(service: LocalService): Promise<number> {
  const page = await (await fetch(`${service.server.url}/metrics`)).text();
  return metricSum(page, 'voice_auth_database_seconds_count', 'function="va_call_ask",outcome="ok"');
}
