import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { createGuardedLookup } from '../../src/outbound/guarded-lookup.js';
import { VapiListenSource } from '../../src/telephony/vapi/listen-source.js';
import { AUTO, CALL, cleanups, Listener, open, SECRET_ID, setup, simulate } from './telephony-harness.js';

/** A WebSocket server that does as it is told, for what no simulator variant does. */
async function misbehave(onListener: (socket: WebSocket) => void): Promise<string> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await new Promise((resolve) => server.once('listening', resolve));
  server.on('connection', onListener);
  cleanups.push(() => {
    for (const client of server.clients) client.terminate();
    return new Promise((resolve) => server.close(resolve));
  });
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/${SECRET_ID}/listen`;
}

async function httpServer(status: number, headers: Record<string, string> = {}) {
  let requests = 0;
  const server: Server = createServer((_request, response) => {
    requests++;
    response.writeHead(status, headers).end('no');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => new Promise((resolve) => server.close(resolve)));
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/${SECRET_ID}/listen`,
    requests: () => requests,
  };
}

describe('connecting', () => {
  it('is let in with the right bearer token, and refused for good without', async () => {
    const simulator = await simulate({ ...CALL, variant: { bearerToken: 'public-key', speed: 50 } });
    const good = setup({ bearerToken: 'public-key' });
    const listener = new Listener();
    await open(listener, good.sources.vapiListen(simulator.url(SECRET_ID))).opened;
    await listener.ended;
    expect(listener.frames).toBe(150);

    const bad = setup({ bearerToken: 'other-key' });
    const refused = new Listener();
    await expect(open(refused, bad.sources.vapiListen(simulator.url(SECRET_ID))).opened).rejects.toMatchObject({
      code: 'ListenConnectionError',
      message: 'The listen socket refused our authentication',
    });
    expect(await bad.outcomes()).toEqual({ unauthorized: 1 });
    expect(refused.ends).toHaveLength(0);
  });

  it('does not follow redirects', async () => {
    const target = await httpServer(200);
    const server = await httpServer(302, { location: target.url.replace('ws:', 'http:') });
    const { sources } = setup();
    await expect(open(new Listener(), sources.vapiListen(server.url)).opened).rejects.toMatchObject({
      code: 'ListenConnectionError',
      message: expect.stringContaining('redirect'),
    });
    expect(server.requests()).toBe(1);
    expect(target.requests()).toBe(0);
  });

  it('gives up at the deadline and says what the last answer was, but not where', async () => {
    const server = await httpServer(404);
    const { sources, lines, outcomes } = setup();
    const error = await open(new Listener(), sources.vapiListen(server.url), 700).opened.catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: 'ListenConnectionError', message: expect.stringContaining('HTTP 404') });
    expect(server.requests()).toBeGreaterThan(1);
    expect(await outcomes()).toMatchObject({ timeout: 1 });
    for (const text of [JSON.stringify(error), String(error), String((error as Error).stack), ...lines]) {
      expect(text).not.toContain(SECRET_ID);
      expect(text).not.toContain('127.0.0.1');
    }
    expect(lines.length).toBeGreaterThan(0);
  });

  it('gives up at the deadline on a server that never answers', async () => {
    const server = createTcpServer((connection) => {
      cleanups.push(() => connection.destroy());
      connection.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => server.close());
    const { sources } = setup();
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/${SECRET_ID}/listen`;
    await expect(open(new Listener(), sources.vapiListen(url), 300).opened).rejects.toMatchObject({
      code: 'ListenConnectionError',
      message: expect.stringContaining('no answer'),
    });
  });

  it('stops connecting when aborted', async () => {
    const server = await httpServer(503);
    const { sources, outcomes } = setup();
    const listener = new Listener();
    const { stop, opened } = open(listener, sources.vapiListen(server.url), 60_000);
    stop.abort();
    await expect(opened).rejects.toMatchObject({ code: 'ListenConnectionError' });
    expect(await outcomes()).toEqual({ aborted: 1 });
    expect(listener.ends).toHaveLength(0);
    await expect(
      sources.vapiListen(server.url).open(listener, { signal: AbortSignal.abort(), connectTimeoutMs: 1_000 }),
    ).rejects.toMatchObject({ code: 'ListenConnectionError' });
  });

  it.each([
    'ws://127.0.0.1/x/listen',
    'wss://127.0.0.1/x/listen',
    'wss://[::1]/x',
    'wss://2130706433/x',
    'wss://evil.example/x',
  ])('refuses %s when private networks are not allowed', (url) => {
    const { sources } = setup({}, { allowPrivateNetwork: false });
    expect(() => sources.vapiListen(url)).toThrow(expect.objectContaining({ code: 'ValidationError' }));
  });

  it('does not dial a name that resolves to a private address', async () => {
    const simulator = await simulate(CALL);
    const { metrics, logger, outcomes } = setup();
    const lookup = createGuardedLookup({
      allowPrivateNetwork: false,
      resolve: async () => [{ address: '127.0.0.1', family: 4 }],
    });
    const url = new URL(`ws://phone.vapi.ai:${simulator.port}/${SECRET_ID}/listen`);
    const source = new VapiListenSource(url, { config: AUTO, lookup, metrics, logger });
    await expect(open(new Listener(), source).opened).rejects.toMatchObject({
      code: 'ListenConnectionError',
      message: 'The host of the listen URL has no usable public address',
    });
    expect(await outcomes()).toEqual({ blocked: 1 });
    expect(simulator.totals().connections).toBe(0);
  });
});

describe('the end of a call', () => {
  it('is told once when the listener stops in the middle of a frame, and nothing follows', async () => {
    // One message of a second: several pieces, of which the first makes the listener stop.
    const simulator = await simulate({ ...CALL, variant: { frameMs: 1_000, backlogMs: 3_000 } });
    const { sources } = setup();
    const listener = new Listener();
    const { stop, opened } = open(listener, sources.vapiListen(simulator.url(SECRET_ID)));
    listener.onEachFrame = () => stop.abort();
    await opened;
    await listener.ended;
    await expect.poll(() => simulator.stats(SECRET_ID).open).toBe(0);
    expect(listener.frames).toBe(1);
    expect(listener.ends).toEqual([{ kind: 'stopped' }]);
    expect(listener.afterEnd).toBe(0);
  });

  it('is a failure when a message is too large', async () => {
    const url = await misbehave((socket) => socket.send(new Uint8Array(2_000_000)));
    const { sources } = setup();
    const listener = new Listener();
    await open(listener, sources.vapiListen(url)).opened;
    expect(await listener.ended).toMatchObject({ kind: 'failed', error: { code: 'ListenConnectionError' } });
    expect(listener.ends).toHaveLength(1);
  });

  it('is a failure when the sink throws, and the connection is given up', async () => {
    const simulator = await simulate({ ...CALL, variant: { speed: 10 } });
    const { sources } = setup();
    const listener = new Listener();
    listener.onEachFrame = () => {
      throw new Error('sink is broken');
    };
    await open(listener, sources.vapiListen(simulator.url(SECRET_ID))).opened;
    expect(await listener.ended).toMatchObject({ kind: 'failed', error: { code: 'InternalError' } });
    await expect.poll(() => simulator.stats(SECRET_ID).open).toBe(0);
    expect(listener.frames).toBe(1);
  });

  it.each([1000, 1001, 1011, 4000])('is a hang-up whatever the close code, here %i', async (code) => {
    const url = await misbehave((socket) => socket.close(code));
    const { sources } = setup();
    const listener = new Listener();
    await open(listener, sources.vapiListen(url)).opened;
    expect(await listener.ended).toEqual({ kind: 'closed' });
    expect(listener.ends).toHaveLength(1);
  });

  it('answers pings and ignores empty messages', async () => {
    const pongs: string[] = [];
    const url = await misbehave((socket) => {
      socket.on('pong', (data) => {
        pongs.push(String(data));
        socket.close();
      });
      socket.send(new Uint8Array(0));
      socket.send('');
      socket.ping('still there?');
    });
    const { sources } = setup();
    const listener = new Listener();
    await open(listener, sources.vapiListen(url)).opened;
    expect(await listener.ended).toEqual({ kind: 'closed' });
    expect(pongs).toEqual(['still there?']);
  });
});

describe('privacy', () => {
  it('keeps the listen URL out of every log line of a whole call', async () => {
    const { sources, lines } = setup();
    const simulator = await simulate({
      ...CALL,
      variant: { speed: 20, refuseFirst: 2, startFrame: 'late', text: 'garbage' },
    });
    const listener = new Listener();
    await open(listener, sources.vapiListen(simulator.url(SECRET_ID))).opened;
    await listener.ended;
    expect(lines.length).toBeGreaterThan(2);
    expect(lines.join('')).not.toContain(SECRET_ID);
    expect(lines.join('')).not.toMatch(new RegExp(`\\b${simulator.port}\\b`));
    expect(lines.join('')).not.toContain('/listen');
  });
});

describe('a read full of tiny messages', () => {
  it('is worked off one message per turn of the event loop', async () => {
    const messages = 2_000;
    const url = await misbehave((socket) => {
      // One write, so that the listener gets many messages with one read.
      const wire = Buffer.concat(Array.from({ length: messages }, () => Buffer.from([0x82, 2, 1, 0])));
      (socket as unknown as { _socket: { write(bytes: Buffer): void } })._socket.write(wire);
      socket.close();
    });
    const { sources } = setup({ sampleRateHz: 16_000, channels: 1 });
    const listener = new Listener();
    let thisTurn = 0;
    let most = 0;
    listener.onEachFrame = () => {
      if (thisTurn === 0) {
        setImmediate(() => {
          thisTurn = 0;
        });
      }
      most = Math.max(most, ++thisTurn);
    };
    await open(listener, sources.vapiListen(url)).opened;
    await listener.ended;
    expect(listener.frames).toBe(messages);
    expect(most).toBeLessThanOrEqual(2);
  });
});
