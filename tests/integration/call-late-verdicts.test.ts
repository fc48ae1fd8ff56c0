/** Verdicts that are owed to calls of VAPI when these end: the real webhook over real calls, with toy models. */
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { CallServiceDeps } from '../../src/domain/calls/call-service.js';
import { createLogger } from '../../src/observability/logger.js';
import { VapiWebhook } from '../../src/telephony/vapi/webhook/vapi-webhook.js';
import type { ToyCall } from '../support/toy-calls.js';
import { dialled, ToyProcess } from '../support/toy-calls-service.js';
import { settled } from '../support/toy-models.js';
import { play, replacing } from '../support/toy-service.js';
import { databaseDown, toyWorld } from '../support/toy-world.js';
import { callObject, onlyResult, ScriptedVapi, SECRET, webhookConfig } from '../support/webhook-harness.js';

const CALLER = '+14566836490';
const STRANGER = { degrees: 45, seconds: 4 };
/** Hopeless, so that a look rejects before the last one. */
const SOMEBODY_ELSE = { degrees: 90, seconds: 10 };

const world = toyWorld();
let here: ToyProcess;
let vapi: ScriptedVapi;
let webhook: VapiWebhook;

function start(parts: Partial<CallServiceDeps> = {}): void {
  here = new ToyProcess(world.store, world.calls, { parts });
  const { metrics, shutdown } = here.toys;
  webhook = new VapiWebhook({
    config: webhookConfig({ lateVerdict: 'message', toolTimeoutMs: 400 }),
    calls: here.service,
    api: vapi,
    metrics,
    logger: createLogger('silent', new PassThrough()),
    shutdown: shutdown.signal,
  });
}

beforeEach(async () => {
  await world.service.enroll(world.userId, { degrees: 0, seconds: 5 }, { phone: CALLER });
  vapi = new ScriptedVapi();
  start();
});
afterEach(async () => {
  here.toys.shutdown.abort();
  await webhook.close();
  await here.service.close();
  await world.store.eraseUser(world.userId, { correlationId: 'erase-00001', actor: 'test-key' });
});

function deliver(message: object) {
  return webhook.handle({
    headers: { 'x-vapi-secret': SECRET },
    body: Buffer.from(JSON.stringify({ message })),
    correlationId: 'corr-0001',
    signal: new AbortController().signal,
  });
}

/** A call on which `verify_caller` was answered before anything was said, so that its verdict is owed. */
async function owed(id: string): Promise<ToyCall> {
  const before = here.dialled.length;
  await deliver({ type: 'status-update', status: 'in-progress', call: callObject({ id }) });
  const audio = await dialled(here, before + 1);
  expect(await verifyCaller(id, 'first')).toMatch(/the verdict follows/);
  return audio;
}

async function verifyCaller(id: string, toolCallId: string, server: object = {}): Promise<string> {
  const toolCalls = [{ id: toolCallId, name: 'verify_caller', server }];
  return onlyResult(await deliver({ type: 'tool-calls', toolCalls, call: callObject({ id }) }));
}

/** The call ends, and its audio with it; resolves when no verdict is owed any more. */
async function hangUp(id: string, audio: ToyCall): Promise<void> {
  await deliver({ type: 'status-update', status: 'ended', call: callObject({ id }) });
  expect(audio.stopped).toBe(true);
  audio.end({ kind: 'stopped' });
  await webhook.settled();
}

it('a caller who hangs up after a look has a failed attempt, and five of them lock', async () => {
  start({ config: { ...here.toys.verificationConfig, maxFailedAttempts: 5 } });
  for (let i = 1; i <= 5; i++) {
    const id = `late-and-over-${i}`;
    const audio = await owed(id);
    await play(audio, STRANGER);
    await hangUp(id, audio);
    expect([await world.failedAttempts(), (await world.recorded())[0]]).toEqual([i, 'reject/no_match']);
  }
  expect(await here.toys.count('lockouts_total')).toBe(1);
  expect(await here.toys.count('tool_calls_total', { tool: 'late_verdict', outcome: 'stopped' })).toBe(5);
  expect(vapi.delivered).toEqual([]);
  await deliver({ type: 'status-update', status: 'in-progress', call: callObject({ id: 'locked-out' }) });
  expect(await verifyCaller('locked-out', 'first')).toMatch(/^locked_out/);
});

it('a caller who hangs up while the database is away has a failed attempt when it is back', async () => {
  let tries = 0;
  start({
    store: replacing(world.store, {
      recordAttempt: (attempt) => (++tries === 2 ? databaseDown() : world.store.recordAttempt(attempt)),
    }),
    callStore: replacing(world.calls, { endCall: databaseDown }),
  });
  const audio = await owed('over-in-an-outage');
  await play(audio, STRANGER);
  await hangUp('over-in-an-outage', audio);
  expect([await world.failedAttempts(), (await world.recorded())[0]]).toEqual([1, 'reject/no_match']);
});

it('a caller who hangs up before the first look has none', async () => {
  const audio = await owed('too-short-call');
  await play(audio, { degrees: STRANGER.degrees, seconds: 1.9 });
  await hangUp('too-short-call', audio);
  expect((await world.recorded())[0]).toBe('inconclusive/caller_hung_up');
  expect(await world.failedAttempts()).toBe(0);
});

it('asking again while a verdict is owed costs one failed attempt, and the new question is told of it', async () => {
  let found = 0;
  const store = replacing(world.store, {
    findUser: async (userId) => {
      const user = await world.store.findUser(userId);
      found++;
      return user;
    },
  });
  start({ store });
  const audio = await owed('asked-again');
  // Looked for before the question, by it, and for the verdict that is owed.
  await expect.poll(() => found).toBe(3);
  const asking = verifyCaller('asked-again', 'second', { timeoutSeconds: 20 });
  await expect.poll(() => found).toBe(4);
  await settled();
  await play(audio, SOMEBODY_ELSE);
  expect(await asking).toMatch(/^not_verified/);
  await webhook.settled();
  expect(await world.failedAttempts()).toBe(1);
  expect(vapi.delivered).toEqual([]);
});
