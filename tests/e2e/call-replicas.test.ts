/**
 * Calls among several server processes on one database, black box: whichever is asked gives the answer of the one that
 * listens, and when that one is killed, the next event of the call makes another one listen.
 *
 * Mostly WORKERS=2: two whole server processes behind one port, on the embedded database that the first process serves
 * them, so that kill -9 hits a listener and never the database, and each new connection goes to the next process in turn.
 * Which of them listens is in its log lines ("worker"), and which process that is in the environment it was started with.
 * The last test has two servers that know nothing of each other but the Supabase project they share, as on two machines:
 * there nobody rings, and there is no doubt who is asked.
 */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Json } from '../../src/cli/client.js';
import { openHandToldCall } from '../support/hand-told-call.js';
import { type LocalService, metricSum, startLocalService } from '../support/local-service.js';
import { childProcesses, living } from '../support/process-tree.js';
import { SupabaseProject } from '../support/supabase-project.js';
import { TOLD_CALLS_ENVIRONMENT, ToldCall } from '../support/told-calls.js';
import { VOICE_RATE_HZ, voicePath, voiceSamples } from '../support/voices.js';

const PHONE = '+14155550174';
const SECRETS = [PHONE, PHONE.slice(1), 'hand-played'];
const ACCEPT = { decision: 'accept', reason: 'match' };
const ENVIRONMENT = { ...TOLD_CALLS_ENVIRONMENT, CALL_LEASE_SECONDS: '1' };
/** So that the next process in turn gets each event. */
const FRESH = { connection: 'close' };
const QUESTIONS = 6;

const userId = randomUUID();
const speech = voiceSamples('alice-call-1');
const [before, after] = [speech.subarray(0, VOICE_RATE_HZ), speech.subarray(VOICE_RATE_HZ, 6 * VOICE_RATE_HZ)];
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function enroll(service: LocalService): Promise<unknown> {
  return service.client.upload('/api/v1/enroll', voicePath('alice-enroll'), { user_id: userId, phone: PHONE });
}

/** A call in progress that is listened to, with the first second of what the caller says. */
function startCall(service: LocalService, callId: string) {
  return openHandToldCall(service, { callId, callerNumber: PHONE, headers: FRESH, says: before, cleanups });
}

/** Workers that have written such a line about a call. */
function workersThat(service: LocalService, event: string, callId: string): string[] {
  const lines = service.server.output().split('\n');
  const told = lines.filter((line) => line.includes(`"event":"${event}"`) && line.includes(`"call_id":"${callId}"`));
  return [...new Set(told.map((line) => /"worker":(\d+)/.exec(line)?.[1] ?? ''))];
}

/** The process of a worker: the primary names each in its environment. */
async function processOf(service: LocalService, worker: string): Promise<number> {
  for (const pid of await childProcesses(service.server.pid, 'serve')) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8');
    if (environment.split('\0').includes(`NODE_UNIQUE_ID=${worker}`)) return pid;
  }
  throw new Error(`no process is worker ${worker}`);
}

/** Kills the process that listens to a call; resolves when it is gone. */
async function killListener(service: LocalService, callId: string): Promise<void> {
  const [listener = ''] = workersThat(service, 'call_session', callId);
  const pid = await processOf(service, listener);
  process.kill(pid, 'SIGKILL');
  await expect.poll(() => living([pid])).toEqual([]);
}

async function metric(service: LocalService, name: string): Promise<number> {
  const page = await fetch(`${service.server.url}/metrics`, { headers: FRESH });
  return metricSum(await page.text(), name);
}

describe('two processes behind one port', () => {
  let service: LocalService;

  beforeAll(async () => {
    service = await startLocalService({ ...ENVIRONMENT, WORKERS: '2' }, { secrets: SECRETS });
    await enroll(service);
  });
  afterAll(() => service?.close());
  beforeEach(async () => {
    // One that was killed is replaced.
    await expect.poll(() => metric(service, 'voice_auth_workers_ready')).toBe(2);
  });

  it('give one answer to a tool call that reaches both of them', async () => {
    const { audio, call } = await startCall(service, 'asked-of-both');
    const asking = Promise.all(Array.from({ length: QUESTIONS }, () => call.verify({ id: 'one-and-the-same' })));
    audio.say(after);
    const answers = await asking;
    expect(answers[0]).toMatchObject(ACCEPT);
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    // The same again, now that it has been answered.
    expect(await call.verify({ id: 'one-and-the-same' })).toEqual(answers[0]);
    expect(await call.verify({ id: 'one-and-the-same' })).toEqual(answers[0]);
    expect(workersThat(service, 'tool_call', call.callId)).toHaveLength(2);
    expect(workersThat(service, 'call_session', call.callId)).toHaveLength(1);
    expect(audio.connections).toBe(1);
    expect(await call.attempts(userId)).toMatchObject([{ ...ACCEPT, id: answers[0]?.attempt_id }]);
    await call.end();
    await expect.poll(() => audio.listeners).toBe(0);
  });

  it('say the same about a call, whichever is asked', async () => {
    const { call } = await startCall(service, 'status-of-both');
    // What the listener hears itself may be newer than what it has told the others, but not for long.
    await expect
      .poll(async () => {
        const told = await Promise.all(
          Array.from({ length: 4 }, async () => {
            const { state, net_speech_seconds, claimed } = await freshStatus(service, call.callId);
            return JSON.stringify({ state, net_speech_seconds, claimed });
          }),
        );
        return new Set(told).size;
      })
      .toBe(1);
    expect(await freshStatus(service, call.callId)).toMatchObject({ state: 'listening', claimed: true });
    // The end is told to one, and heard by the one that listens.
    await call.end();
    expect(await freshStatus(service, call.callId)).toMatchObject({ state: 'ended' });
    expect(await freshStatus(service, call.callId)).toMatchObject({ state: 'ended' });
  });

  it('lose no call with the one that listens: the next tool call is taken over and answered', async () => {
    const { audio, call } = await startCall(service, 'listener-killed');
    const takeovers = await metric(service, 'voice_auth_call_takeovers_total');
    await killListener(service, call.callId);
    await expect.poll(async () => (await freshStatus(service, call.callId)).state).toBe('lost');
    const asking = call.verify();
    await expect.poll(() => audio.connections).toBe(2);
    audio.say(after);
    const result = await asking;
    expect(result).toMatchObject(ACCEPT);
    expect(workersThat(service, 'call_session', call.callId)).toHaveLength(2);
    expect(await metric(service, 'voice_auth_call_takeovers_total')).toBe(takeovers + 1);
    await expect.poll(() => freshStatus(service, call.callId)).toMatchObject({ state: 'listening', claimed: true });
    expect(await call.attempts(userId)).toMatchObject([{ ...ACCEPT, id: result.attempt_id }]);
    await call.end();
    expect(await freshStatus(service, call.callId)).toMatchObject({ state: 'ended' });
  });

  it('answer a tool call again whose process was killed while it waited', async () => {
    const { audio, call } = await startCall(service, 'killed-while-asked');
    const asked = Array.from({ length: QUESTIONS }, () => call.verify({ id: 'asked-again' }).catch(() => 'lost'));
    await expect.poll(() => questionsNoted(service, call.callId)).toHaveLength(QUESTIONS);
    expect(new Set(questionsNoted(service, call.callId)).size).toBe(2);
    await killListener(service, call.callId);
    // Those who asked the dead one have no answer; those who asked the other one are answered when it has taken over.
    await expect.poll(() => audio.connections).toBe(2);
    audio.say(after);
    const answers = await Promise.all(asked);
    const told = answers.filter((answer): answer is Json => answer !== 'lost');
    expect(told.length).toBeGreaterThan(0);
    const again = await call.verify({ id: 'asked-again' });
    expect(again).toMatchObject(ACCEPT);
    for (const answer of told) expect(answer).toEqual(again);
    expect(await call.attempts(userId)).toMatchObject([{ ...ACCEPT, id: again.attempt_id }]);
    await call.end();
  });
});

/** How a call stands, as the next process in turn says. */
async function freshStatus(service: LocalService, callId: string): Promise<Json> {
  const headers = { ...FRESH, authorization: `Bearer ${service.apiKey}` };
  return (await (await fetch(`${service.server.url}/api/v1/calls/vapi/${callId}`, { headers })).json()) as Json;
}

/** For each tool call about a call that has reached a process: which worker that is. */
function questionsNoted(service: LocalService, callId: string): string[] {
  const lines = service.server.output().split('\n');
  const told = lines.filter((line) => line.includes('"type":"tool-calls"') && line.includes(`"call_id":"${callId}"`));
  return told.map((line) => /"worker":(\d+)/.exec(line)?.[1] ?? '');
}

describe('two servers on one Supabase project', () => {
  it('answer for each other, and take over from each other', async () => {
    const project = await SupabaseProject.start();
    cleanups.push(() => project.close());
    const start = () =>
      startLocalService(
        { ...ENVIRONMENT, ...project.environment, INFERENCE_CHILDREN: '1' },
        { secrets: [...SECRETS, ...project.secrets] },
      );
    const [one, other] = await Promise.all([start(), start()]);
    cleanups.push(() => Promise.all([one.close(), other.close()]));
    await enroll(one);

    const { audio, call } = await startCall(one, 'across-servers');
    const elsewhere = new ToldCall(other, {
      callId: call.callId,
      callerNumber: PHONE,
      listenUrl: audio.url,
      headers: FRESH,
    });
    await expect.poll(async () => (await elsewhere.status()).state).toBe('listening');
    const asking = [call.verify({ id: 'both-asked' }), elsewhere.verify({ id: 'both-asked' })] as const;
    audio.say(after);
    const [here, there] = await Promise.all(asking);
    expect(here).toMatchObject(ACCEPT);
    expect(there).toEqual(here);
    expect(audio.connections).toBe(1);

    await one.server.stop('SIGKILL');
    await expect.poll(async () => (await elsewhere.status()).state).toBe('lost');
    const second = elsewhere.verify({ id: 'after-the-death' });
    await expect.poll(() => audio.connections).toBe(2);
    audio.say(after);
    const result = await second;
    expect(result).toMatchObject(ACCEPT);
    expect(await metric(other, 'voice_auth_call_takeovers_total')).toBe(1);
    const attempts = await elsewhere.attempts(userId);
    expect(attempts.map(({ id }) => id)).toEqual([result.attempt_id, here.attempt_id]);
    await elsewhere.end();
    expect(await elsewhere.status()).toMatchObject({ state: 'ended' });
  }, 60_000);
});
