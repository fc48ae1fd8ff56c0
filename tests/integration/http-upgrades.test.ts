/** Requests that ask for another protocol, at the real socket: all but media streams are refused or answered as any other. */
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Connections } from '../../src/http/connections.js';
import { applyServerLimits } from '../../src/http/server-limits.js';
import { acceptUpgrades } from '../../src/upgrades.js';
import { eventually } from '../support/eventually.js';
import { bearer, LISTEN_URL, type TestApp, testApp, USER } from '../support/http-app.js';
import { exchangeBytes } from '../support/http-exchange.js';
import { expectRefusal } from '../support/refusals.js';

const H2C = 'Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__';
const WEBSOCKET = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==';
const BODY = JSON.stringify({ userId: USER, listenUrl: LISTEN_URL });
const CHUNKED = `7\r\n${BODY.slice(0, 7)}\r\n${(BODY.length - 7).toString(16)}\r\n${BODY.slice(7)}\r\n0\r\n\r\n`;

let t: TestApp;
let server: Server;
let connections: Connections;
let url: string;

beforeEach(async () => {
  t = testApp();
  server = createServer(t.app);
  connections = new Connections(server);
  applyServerLimits(server, connections);
  acceptUpgrades(server, { streams: { handleUpgrade: () => false }, connections, metrics: t.metrics });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  connections.destroyAll();
  await new Promise((resolve) => server.close(resolve));
});

const head = (line: string, ...headers: readonly string[]) =>
  `${[`${line} HTTP/1.1`, 'Host: localhost', ...headers].join('\r\n')}\r\n\r\n`;

/** A connection that was written to. */
async function dial(bytes: string): Promise<Socket> {
  const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.once('connect', resolve));
  await new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
  return socket;
}

const openConnections = () =>
  new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count)));

describe('an offer to speak another protocol', () => {
  it.each(['GET', 'HEAD'])('is ignored: %s', async (method) => {
    const reply = await exchangeBytes(url, head(`${method} /healthz`, H2C));
    expect(reply.status).toBe(200);
    expect(reply.headers['content-type']).toMatch(/^application\/json/);
    expect(reply.text === '').toBe(method === 'HEAD');
  });

  it('changes nothing about what is refused', async () => {
    expectRefusal(await exchangeBytes(url, head('GET /nowhere', H2C)), { status: 404, error: 'NotFound' });
    const path = `/api/v1/users/${USER}/status`;
    expectRefusal(await exchangeBytes(url, head(`GET ${path}`, H2C)), { status: 401, error: 'Unauthorized' });
  });

  it.each([
    ['of a known length', `Content-Length: ${BODY.length}`, BODY],
    ['in chunks', 'Transfer-Encoding: chunked', CHUNKED],
  ])('is ignored with a body %s', async (_what, framing, body) => {
    const headers = [`Authorization: ${bearer('verify')}`, 'Content-Type: application/json', framing, H2C];
    const reply = await exchangeBytes(url, head('POST /api/v1/verify-password', ...headers) + body);
    expect(reply.status).toBe(200);
    expect(t.verifications).toMatchObject([{ userId: USER, source: { listenUrl: LISTEN_URL } }]);
  });

  it('may come again and again on one connection', async () => {
    const received: string[] = [];
    const keepAlive = H2C.replace(', close', '');
    const socket = await dial(head('GET /healthz', keepAlive));
    socket.on('data', (chunk: Buffer) => received.push(chunk.toString()));
    const answers = () => received.join('').split('HTTP/1.1 200 OK').length - 1;
    await eventually(() => expect(answers()).toBe(1));
    socket.write(head('GET /healthz', keepAlive));
    await eventually(() => expect(answers()).toBe(2));
    socket.write(head('GET /healthz'));
    await eventually(() => expect(answers()).toBe(3));
    socket.destroy();
  });

  it('behind a request that is still being answered ends the connection', async () => {
    t.behave.verify = () => new Promise(() => undefined);
    const headers = [`Authorization: ${bearer('verify')}`, 'Content-Type: application/json'];
    const slow = head('POST /api/v1/verify-password', ...headers, `Content-Length: ${BODY.length}`) + BODY;
    const received: Buffer[] = [];
    const socket = await dial(slow + head('GET /healthz', H2C));
    socket.on('data', (chunk: Buffer) => received.push(chunk)).on('end', () => socket.destroy());
    await eventually(() => expect(socket.destroyed).toBe(true));
    expect(received).toEqual([]);
  });

  it('among more headers than are kept is refused in words', async () => {
    const many = Array.from({ length: 100 }, (_, i) => `X-Filler-${i}: tapped`);
    const reply = await exchangeBytes(url, head('GET /healthz', ...many, H2C));
    expectRefusal(reply, { status: 431, error: 'PayloadTooLarge' }, ['tapped']);
  });
});

describe('a WebSocket to a path that has none', () => {
  it('is refused and counted', async () => {
    const reply = await exchangeBytes(url, head('GET /socket', WEBSOCKET));
    expect(reply).toMatchObject({ status: 404, text: '' });
    const page = await t.metrics.registry.metrics();
    expect(page).toContain('voice_auth_http_requests_total{operation="unknown",status="404"} 1');
  });

  it('is let go of when its peer stays', async () => {
    const received: Buffer[] = [];
    const socket = await dial(head('GET /socket', WEBSOCKET));
    // Half open: it reads all there is, and never ends its own side.
    socket.on('data', (chunk: Buffer) => received.push(chunk));
    await eventually(() => expect(Buffer.concat(received).toString()).toMatch(/^HTTP\/1\.1 404 /));
    await eventually(async () => expect(await openConnections()).toBe(0));
    socket.destroy();
  });
});
