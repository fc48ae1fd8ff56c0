/** Work ends with the shutdown while it lasts, and leaves nothing on its signal: that one lives as long as the process. */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { decided, TOO_LITTLE } from '../support/scripted-calls.js';
import { countingListeners } from '../support/toy-calls.js';
import { openCall, questionOf, ToyProcess } from '../support/toy-calls-service.js';
import { play } from '../support/toy-service.js';
import { toyWorld } from '../support/toy-world.js';
import { callObject, toolMessage, webhookHarness } from '../support/webhook-harness.js';

const VOICE = { degrees: 1, seconds: 5 };
const world = toyWorld();

beforeEach(() => {
  vi.spyOn(AbortSignal, 'any');
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** Fails when something is left: a listener, or what Node keeps of every composite. Says how many listeners there were. */
function watching(shutdown: AbortSignal) {
  const add = vi.spyOn(shutdown, 'addEventListener');
  const listeners = countingListeners(shutdown);
  return () => {
    expect(listeners()).toBe(0);
    for (const [sources] of vi.mocked(AbortSignal.any).mock.calls) expect([...sources]).not.toContain(shutdown);
    expect(add).toHaveBeenCalled();
  };
}

describe('nothing is left on the signal of the shutdown by', () => {
  it('enrollments and verifications', async () => {
    const done = watching(world.service.shutdown.signal);
    await world.service.enroll(world.userId, { degrees: 0, seconds: 5 });
    expect((await world.service.verifyUpload(world.userId, VOICE)).decision).toBe('accept');
    await expect(world.service.enroll(randomUUID(), { degrees: 1, seconds: 0.5 })).rejects.toThrow();
    done();
  });

  it('questions about calls', async () => {
    await world.service.enroll(world.userId, VOICE);
    const here = new ToyProcess(world.store, world.calls);
    try {
      const done = watching(here.toys.shutdown.signal);
      const { call, audio } = await openCall(here);
      await play(audio, VOICE);
      expect(await here.service.verify(questionOf(call, { userId: world.userId }))).toMatchObject({ kind: 'decided' });
      await expect(here.service.verify(questionOf(call, { requestId: 'other', userId: 'nobody' }))).rejects.toThrow();
      done();
    } finally {
      await here.service.close();
    }
  });

  it('webhooks and late verdicts', async () => {
    const h = webhookHarness({ lateVerdict: 'message' });
    const done = watching(h.shutdown.signal);
    await h.deliver({ type: 'status-update', status: 'in-progress', call: callObject() });
    h.calls.onVerify = async () => decided(TOO_LITTLE);
    await h.deliver(toolMessage('verify_caller'));
    await h.webhook.close();
    expect([h.calls.begun.length, h.vapi.delivered.length]).toEqual([1, 1]);
    done();
  });
});
