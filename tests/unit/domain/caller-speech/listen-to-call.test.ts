import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { encodeS16le } from '../../../../src/audio/pcm.js';
import { CallerSpeech } from '../../../../src/domain/caller-speech/caller-speech.js';
import { type ListeningEnd, listenToCall } from '../../../../src/domain/caller-speech/listen-to-call.js';
import { VoiceAuthError } from '../../../../src/domain/errors.js';
import { createLogger } from '../../../../src/observability/logger.js';
import { Metrics } from '../../../../src/observability/metrics.js';
import { ListenDecoder } from '../../../../src/telephony/vapi/listen-decoder.js';
import { countingListeners, ToyCall } from '../../../support/toy-calls.js';
import { joined, TOY_FRAME_MS, TOY_RATE_HZ, ToyDetector, toySpeech } from '../../../support/toy-models.js';

type Outcome = ListeningEnd | { readonly failed: unknown };

/** One listening, whose outcome can be looked at without waiting for it. */
class Listening {
  readonly asker = new AbortController();
  readonly enough = new AbortController();
  readonly speech = new CallerSpeech({
    detector: new ToyDetector(),
    maxSpeechMs: 2000,
    inference: { priority: 'live' },
  });
  outcome: Outcome | undefined;
  private readonly listeners = [countingListeners(this.asker.signal), countingListeners(this.enough.signal)];

  constructor(readonly call: ToyCall) {}

  start(): this {
    listenToCall(this.call, this.speech, {
      timeoutMs: 10_000,
      connectTimeoutMs: 4000,
      signal: this.asker.signal,
      enough: this.enough.signal,
    }).then(
      (end) => {
        this.outcome = end;
      },
      (error: unknown) => {
        this.outcome = { failed: error };
      },
    );
    return this;
  }

  get listenersLeft(): number {
    return this.listeners.reduce((total, count) => total + count(), 0);
  }
}

/** Runs what only waits for promises, and nothing that waits for time. */
const tick = () => vi.advanceTimersByTimeAsync(0);
const failure = (outcome: Outcome | undefined) =>
  typeof outcome === 'object' && outcome.failed instanceof VoiceAuthError ? outcome.failed : undefined;

let unhandled: unknown[];
const onUnhandled = (reason: unknown) => unhandled.push(reason);

beforeEach(() => {
  unhandled = [];
  process.on('unhandledRejection', onUnhandled);
  vi.useFakeTimers();
});
afterEach(async () => {
  await tick();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', onUnhandled);
  expect(unhandled).toEqual([]);
});

/** What must hold however listening ended. */
function expectEnded(listening: Listening, outcome: Outcome): void {
  expect(listening.outcome).toEqual(outcome);
  expect(listening.call.stopped).toBe(true);
  expect(listening.listenersLeft).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
}

describe('listenToCall', () => {
  it('passes the audio on and ends when the call does', async () => {
    const listening = new Listening(new ToyCall()).start();
    await tick();
    listening.call.say(toySpeech(30, 10));
    expect(listening.speech.heardMs).toBeCloseTo(10 * TOY_FRAME_MS, 6);
    await tick();
    expect(listening.outcome).toBeUndefined();
    expect(listening.call.stopped).toBe(false);
    listening.call.end();
    await tick();
    expectEnded(listening, 'closed');
  });

  it('ends when the asker or the server gives up', async () => {
    const listening = new Listening(new ToyCall()).start();
    await tick();
    listening.asker.abort(new Error('gone'));
    await tick();
    expectEnded(listening, 'aborted');
  });

  it('ends when somebody has heard enough', async () => {
    const listening = new Listening(new ToyCall()).start();
    await tick();
    listening.enough.abort();
    await tick();
    expectEnded(listening, 'enough');
  });

  it('ends when the speech store is full', async () => {
    const listening = new Listening(new ToyCall()).start();
    for (let i = 0; i < 20; i++) {
      listening.call.say(toySpeech(30, 8));
      await tick();
    }
    expectEnded(listening, 'enough');
    expect(listening.speech.full).toBe(true);
  });

  it('ends when the time is up, not before', async () => {
    const listening = new Listening(new ToyCall()).start();
    await vi.advanceTimersByTimeAsync(9999);
    expect(listening.outcome).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    expectEnded(listening, 'deadline');
  });

  it('ends after two seconds of nothing but mixed audio', async () => {
    const listening = new Listening(new ToyCall()).start();
    await tick();
    listening.call.say(toySpeech(30, 62), 'mixed');
    await tick();
    expect(listening.outcome).toBeUndefined();
    listening.call.say(toySpeech(30, 1), 'mixed');
    await tick();
    expectEnded(listening, 'mixed');
  });

  it('says mixed also when a moment of it was taken for the caller', async () => {
    const listening = new Listening(new ToyCall()).start();
    listening.call.say(toySpeech(30, 31));
    listening.call.say(toySpeech(30, 62), 'mixed');
    await tick();
    expect(listening.outcome).toBeUndefined();
    listening.call.say(toySpeech(30, 1), 'mixed');
    await tick();
    expectEnded(listening, 'mixed');
  });

  it.each([
    ['digital silence', () => 0],
    ['an idle code of A-law', () => 8],
    ['the noise of a line', (i: number) => (i % 2 === 0 ? 20 : -20)],
  ])('says mixed also when %s came before it, for however long', async (_, stepAt) => {
    const listening = new Listening(new ToyCall()).start();
    listening.call.say(new Float32Array(3 * TOY_RATE_HZ).map((_, i) => stepAt(i) / 32_768));
    listening.call.say(toySpeech(30, 5));
    listening.call.say(toySpeech(30, 63), 'mixed');
    await tick();
    expectEnded(listening, 'mixed');
  });

  it('listens on when some of the audio is mixed, and more than a moment is of the caller', async () => {
    const listening = new Listening(new ToyCall()).start();
    listening.call.say(toySpeech(30, 32));
    listening.call.say(toySpeech(30, 100), 'mixed');
    await tick();
    expect(listening.outcome).toBeUndefined();
    listening.call.end();
    await tick();
    expectEnded(listening, 'closed');
  });

  it('listens on while the two channels of a call are alike only in that nobody speaks', async () => {
    const listening = new Listening(new ToyCall()).start();
    const decoder = new ListenDecoder({
      config: {
        sampleRateHz: TOY_RATE_HZ,
        channels: 2,
        callerChannel: 0,
        monoIsCaller: false,
        bearerToken: undefined,
      },
      metrics: new Metrics(),
      logger: createLogger('silent'),
      onFrame: (frame) => listening.call.sink?.onFrame(frame),
    });
    const offset = new Float32Array(3 * TOY_RATE_HZ).fill(8 / 32_768);
    const beep = toySpeech(90, 10);
    const caller = toySpeech(30, 60);
    const agent = new Float32Array(caller.length).fill(8 / 32_768);
    // A beep for both sides makes them mixed until one of them speaks.
    decoder.audio(encodeS16le([joined(offset, beep, offset, caller), joined(offset, beep, offset, agent)]), 0);
    await tick();
    expect(listening.outcome).toBeUndefined();
    expect(listening.speech.heardMixedMs).toBeGreaterThan(0);
    expect(listening.speech.netSpeechMs).toBeGreaterThan(500);
    listening.asker.abort();
    await tick();
    expectEnded(listening, 'aborted');
  });

  it('says mixed when a short call had nothing else', async () => {
    const listening = new Listening(new ToyCall()).start();
    listening.call.say(toySpeech(30, 5), 'mixed');
    listening.call.end();
    await tick();
    expectEnded(listening, 'mixed');
  });

  it('understands a call that was over before its opening was announced', async () => {
    const listening = new Listening(new ToyCall(false)).start();
    listening.call.say(toySpeech(30, 5));
    listening.call.end();
    listening.call.connect();
    await tick();
    expectEnded(listening, 'closed');
    expect(listening.speech.heardMs).toBeGreaterThan(0);
  });

  it('takes nothing more after its end, whatever the source does', async () => {
    const listening = new Listening(new ToyCall()).start();
    listening.call.say(toySpeech(30, 5));
    listening.enough.abort();
    await tick();
    const heardMs = listening.speech.heardMs;
    listening.call.say(toySpeech(30, 50));
    listening.call.end({ kind: 'failed', error: new VoiceAuthError('ListenConnectionError', 'too late') });
    listening.call.end();
    listening.asker.abort();
    await vi.advanceTimersByTimeAsync(20_000);
    expectEnded(listening, 'enough');
    expect(listening.speech.heardMs).toBe(heardMs);
  });

  it('does not even dial when nobody wants to know any more', async () => {
    const gone = new Listening(new ToyCall());
    gone.asker.abort();
    gone.start();
    await tick();
    expect(gone.outcome).toBe('aborted');
    expect(gone.call.sink).toBeUndefined();

    const satisfied = new Listening(new ToyCall());
    satisfied.enough.abort();
    satisfied.start();
    await tick();
    expect(satisfied.outcome).toBe('enough');
    expect(satisfied.call.sink).toBeUndefined();
    expect([gone.listenersLeft, satisfied.listenersLeft, vi.getTimerCount()]).toEqual([0, 0, 0]);
  });
});

describe('a call that cannot be listened to', () => {
  it('was refused', async () => {
    const listening = new Listening(new ToyCall(false)).start();
    const refused = new VoiceAuthError('ListenConnectionError', 'The listen socket was refused');
    listening.call.refuse(refused);
    await tick();
    expectEnded(listening, { failed: refused });
  });

  it('was refused by something that names what it choked on: that is not passed on', async () => {
    const listening = new Listening(new ToyCall(false)).start();
    const cause = new Error('connect ECONNREFUSED wss://example.test/secret');
    listening.call.refuse(cause);
    await tick();
    const error = failure(listening.outcome);
    expect(error).toMatchObject({ code: 'ListenConnectionError', cause });
    expect(error?.message).not.toContain('secret');
    expectEnded(listening, { failed: error });
  });

  it('throws instead of answering', async () => {
    class BrokenCall extends ToyCall {
      override open(): Promise<void> {
        throw new TypeError('wss://example.test/secret');
      }
    }
    const listening = new Listening(new BrokenCall()).start();
    await tick();
    expect(failure(listening.outcome)).toMatchObject({ code: 'ListenConnectionError' });
    expect(listening.listenersLeft).toBe(0);
  });

  it('broke off by a fault', async () => {
    const listening = new Listening(new ToyCall()).start();
    const fault = new VoiceAuthError('ListenConnectionError', 'The listen socket sent an invalid message');
    listening.call.say(toySpeech(30, 5));
    listening.call.end({ kind: 'failed', error: fault });
    await tick();
    expectEnded(listening, { failed: fault });
  });

  it('is still connecting when the time is up', async () => {
    const listening = new Listening(new ToyCall(false)).start();
    expect(listening.call.options?.connectTimeoutMs).toBe(4000);
    await vi.advanceTimersByTimeAsync(10_000);
    const error = failure(listening.outcome);
    expect(error?.code).toBe('ListenConnectionError');
    expectEnded(listening, { failed: error });
    // The source notices later that it was stopped.
    listening.call.refuse();
    await tick();
    expectEnded(listening, { failed: error });
  });

  it('is given up while connecting', async () => {
    const listening = new Listening(new ToyCall(false)).start();
    listening.asker.abort();
    await tick();
    expectEnded(listening, 'aborted');
    listening.call.refuse();
    await tick();
    expectEnded(listening, 'aborted');
  });

  it('may connect no longer than it may be listened to', async () => {
    const call = new ToyCall(false);
    const never = new AbortController().signal;
    const speech = new CallerSpeech({
      detector: new ToyDetector(),
      maxSpeechMs: 2000,
      inference: { priority: 'live' },
    });
    const ended = listenToCall(call, speech, {
      timeoutMs: 700,
      connectTimeoutMs: 4000,
      signal: never,
      enough: never,
    }).catch((error: unknown) => error);
    expect(call.options?.connectTimeoutMs).toBe(700);
    await vi.advanceTimersByTimeAsync(700);
    expect(await ended).toMatchObject({ code: 'ListenConnectionError' });
  });
});
