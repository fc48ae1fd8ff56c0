import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { WebSocket } from 'ws';
import type { ArrivingStream } from '../../../../src/domain/calls/calls.js';
import type { CallEnd } from '../../../../src/domain/ports/call-source.js';
import { createLogger } from '../../../../src/observability/logger.js';
import { Metrics } from '../../../../src/observability/metrics.js';
import { STREAM_ENDPOINTS } from '../../../../src/telephony/streams/platforms.js';
import { STREAM_LIMITS } from '../../../../src/telephony/streams/stream-server.js';
import { StreamSession } from '../../../../src/telephony/streams/stream-session.js';

/** As much of a socket as a session uses. Messages reach the session whether it is paused or not, as with ws. */
class ScriptedSocket extends EventEmitter {
  paused = false;
  pauses = 0;
  readonly closes: (number | undefined)[] = [];
  pause(): void {
    this.paused = true;
    this.pauses++;
  }
  resume(): void {
    this.paused = false;
  }
  close(code?: number): void {
    this.closes.push(code);
  }
  say(message: object): void {
    this.emit('message', Buffer.from(JSON.stringify(message)), false);
  }
}

const START = { event: 'start', start: { tracks: ['inbound'], customParameters: { token: 'tok-1' } } };

function media(byte: number) {
  return { event: 'media', media: { track: 'inbound', payload: Buffer.from([byte]).toString('base64') } };
}

function session(admit: (stream: ArrivingStream) => Promise<boolean>) {
  const socket = new ScriptedSocket();
  const metrics = new Metrics();
  let settled = 0;
  new StreamSession({
    socket: socket as unknown as WebSocket,
    platform: 'twilio',
    adapter: STREAM_ENDPOINTS.twilio.adapter(),
    pathToken: undefined,
    limits: STREAM_LIMITS,
    streams: { admit },
    metrics,
    logger: createLogger('silent'),
    onSettled: () => settled++,
  });
  const outcomes = async () => {
    const counted = (await metrics.streamConnections.get()).values.filter(({ value }) => value > 0);
    return counted.map(({ labels }) => labels.outcome);
  };
  return { socket, outcomes, settled: () => settled };
}

/** A sink that notes what it gets. */
function notes(onFrame: () => void = () => undefined) {
  const heard: (number | string)[] = [];
  const ends: CallEnd[] = [];
  return {
    heard,
    ends,
    onFrame: (frame: { readonly samples: Float32Array }) => {
      heard.push(...frame.samples);
      onFrame();
    },
    onEnd: (end: CallEnd) => {
      heard.push('end');
      ends.push(end);
    },
  };
}

const open = { signal: new AbortController().signal, connectTimeoutMs: 1_000 };
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('what arrives between the start message and the opening', () => {
  it('waits, in order, and comes after `open` has resolved', async () => {
    const sink = notes();
    const { socket, outcomes, settled } = session(async ({ source }) => {
      socket.say(media(0x80));
      await source.open(sink, open);
      expect(sink.heard).toEqual([]);
      socket.say(media(0x90));
      return true;
    });
    socket.say(START);
    expect(socket.paused).toBe(true);
    await turn();
    await turn();
    expect(socket.paused).toBe(false);
    socket.say(media(0xa0));
    socket.say({ event: 'stop' });
    expect(sink.heard).toEqual([32_124 / 32_768, 15_996 / 32_768, 7_932 / 32_768, 'end']);
    expect(sink.ends).toEqual([{ kind: 'closed' }]);
    expect(socket.closes).toEqual([1000]);
    expect(await outcomes()).toEqual(['admitted']);
    expect(settled()).toBe(1);
  });

  it('is not lost when the connection ends meanwhile', async () => {
    const sink = notes();
    const { socket } = session(async ({ source }) => {
      await source.open(sink, open);
      return true;
    });
    socket.say(START);
    socket.say(media(0x80));
    await Promise.resolve();
    socket.emit('close', 1006);
    expect(sink.heard).toEqual([32_124 / 32_768, 'end']);
    expect(sink.ends).toEqual([{ kind: 'lost' }]);
    await turn();
    expect(sink.ends).toHaveLength(1);
  });
});

describe('a stream can be opened', () => {
  it('once', async () => {
    const [first, second] = [notes(), notes()];
    const { socket } = session(async ({ source }) => {
      await source.open(first, open);
      await expect(source.open(second, open)).rejects.toMatchObject({ code: 'ListenConnectionError' });
      return true;
    });
    socket.say(START);
    await turn();
    await turn();
    socket.say(media(0x80));
    expect(first.heard).toHaveLength(1);
    expect(second.heard).toEqual([]);
  });

  it('not by someone who has stopped already', async () => {
    const sink = notes();
    const { socket, outcomes } = session(async ({ source }) => {
      const signal = AbortSignal.abort();
      await expect(source.open(sink, { ...open, signal })).rejects.toMatchObject({ code: 'ListenConnectionError' });
      return true;
    });
    socket.say(START);
    await turn();
    expect(socket.closes).toEqual([1000]);
    expect(sink.ends).toEqual([]);
    expect(await outcomes()).toEqual(['stopped']);
  });

  it('not after the peer has gone', async () => {
    let stream: ArrivingStream | undefined;
    const { socket, outcomes, settled } = session(async (arriving) => {
      stream = arriving;
      return true;
    });
    socket.say(START);
    await turn();
    socket.emit('close', 1006);
    await expect(stream?.source.open(notes(), open)).rejects.toMatchObject({ code: 'ListenConnectionError' });
    expect(await outcomes()).toEqual(['abandoned']);
    expect(settled()).toBe(1);
  });
});

it('reads on from a stream that is refused, to see its close frame', async () => {
  const { socket, outcomes } = session(async () => false);
  socket.say(START);
  expect(socket.paused).toBe(true);
  await turn();
  expect(socket.closes).toEqual([1008]);
  expect(socket.paused).toBe(false);
  expect(await outcomes()).toEqual(['bad_token']);
});

it('ends what was opened when the token turns out to be no good', async () => {
  const sink = notes();
  const { socket, outcomes } = session(async ({ source }) => {
    await source.open(sink, open);
    return false;
  });
  socket.say(START);
  await turn();
  await turn();
  socket.say(media(0x80));
  expect(sink.heard).toEqual(['end']);
  expect(sink.ends).toEqual([{ kind: 'stopped' }]);
  expect(socket.closes).toEqual([1008]);
  expect(await outcomes()).toEqual(['bad_token']);
});

it('fails when the sink throws, and does not call it again', async () => {
  const sink = notes(() => {
    throw new Error('no more');
  });
  const { socket } = session(async ({ source }) => {
    await source.open(sink, open);
    return true;
  });
  socket.say(START);
  await turn();
  await turn();
  socket.say(media(0x80));
  socket.say(media(0x80));
  expect(sink.heard).toHaveLength(2);
  expect(sink.ends).toEqual([{ kind: 'failed', error: expect.objectContaining({ code: 'InternalError' }) }]);
  expect(socket.closes).toEqual([1011]);
});

describe('a peer that sends faster than any call', () => {
  // However long a busy machine takes: all of it comes at once.
  beforeEach(() => {
    vi.spyOn(performance, 'now').mockReturnValue(performance.now());
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  async function opened() {
    const stop = new AbortController();
    const { socket } = session(async ({ source }) => {
      await source.open(notes(), { ...open, signal: stop.signal });
      return true;
    });
    socket.say(START);
    await turn();
    await turn();
    socket.pauses = 0;
    return { socket, stop };
  }

  it.each([
    ['audio', JSON.stringify(media(7)), 5_000],
    ['tiny texts', '{}', 5_000],
    ['empty texts', '', 5_000],
    ['long texts', 'x'.repeat(100_000), 10],
  ])('is not read on from for a while: %s', async (_what, text, count) => {
    const { socket, stop } = await opened();
    for (let i = 0; i < count; i++) socket.emit('message', Buffer.from(text), false);
    expect(socket.pauses).toBe(1);
    stop.abort();
    expect(socket.paused).toBe(false);
  });

  it('is not mistaken for one that sends 20 ms of two tracks at ten times real time', async () => {
    const { socket, stop } = await opened();
    const payload = Buffer.alloc(160).toString('base64');
    const message = Buffer.from(JSON.stringify({ event: 'media', media: { track: 'inbound', payload } }));
    for (let i = 0; i < 100; i++) socket.emit('message', message, false);
    expect(socket.pauses).toBe(0);
    stop.abort();
  });
});

describe('the time for an admission', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('ends with the admission: the stream goes on as long as the call', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const sink = notes();
    const { socket, outcomes } = session(async ({ source }) => {
      await source.open(sink, open);
      return true;
    });
    socket.say(START);
    await turn();
    await turn();
    vi.advanceTimersByTime(STREAM_LIMITS.admissionTimeoutMs + STREAM_LIMITS.startTimeoutMs);
    socket.say(media(0x80));
    expect(sink.heard).toEqual([32_124 / 32_768]);
    expect(socket.closes).toEqual([]);
    expect(await outcomes()).toEqual(['admitted']);
  });
});
