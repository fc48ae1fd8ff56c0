/** Connections whose bytes are no readable request, at the real socket, below the app. */
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Connections } from '../../src/http/connections.js';
import { answerUnreadableRequests } from '../../src/http/unreadable-requests.js';
import { exchangeBytes } from '../support/http-exchange.js';
import { expectRefusal } from '../support/refusals.js';

const CHUNKED = 'POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n';
const NO_CHUNK = 'no chunk\r\n';
let server: Server | undefined;

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

async function serve(listener: RequestListener): Promise<string> {
  server = createServer({ connectionsCheckingInterval: 20, headersTimeout: 100, requestTimeout: 200 }, listener);
  answerUnreadableRequests(server, new Connections(server));
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe('an unreadable request', () => {
  it('that stops in its headers is answered', async () => {
    const url = await serve(() => undefined);
    const reply = await exchangeBytes(url, 'GET /tapped HTTP/1.1\r\nHost: loc');
    expectRefusal(reply, { status: 408, error: 'Timeout', headers: { connection: /^close$/ } }, ['tapped']);
  });

  it('that stops in its body is answered', async () => {
    const url = await serve(() => undefined);
    const reply = await exchangeBytes(url, 'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\ntapped');
    expectRefusal(reply, { status: 408, error: 'Timeout' }, ['tapped']);
  });

  it('that breaks in its body is answered', async () => {
    const url = await serve(() => undefined);
    expectRefusal(await exchangeBytes(url, CHUNKED + NO_CHUNK), { status: 400, error: 'ValidationError' }, [
      'no chunk',
    ]);
  });

  it('after a good one on the same connection is answered', async () => {
    const url = await serve((_req, res) => res.end('good'));
    const reply = await exchangeBytes(url, 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\ntapped nonsense\r\n\r\n');
    expect(reply.status).toBe(200);
    expect(reply.text).toMatch(/^good.*HTTP\/1\.1 400 Bad Request\r\n.*"error":"ValidationError"/s);
  });

  it('in the middle of its answer cuts the answer off instead of adding to it', async () => {
    const url = await serve((req, res) => {
      res.writeHead(200, { 'content-length': 1000 }).write('begun');
      req.resume();
    });
    const received: Buffer[] = [];
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(CHUNKED));
    socket.once('data', () => socket.write(NO_CHUNK));
    socket.on('data', (chunk: Buffer) => received.push(chunk)).on('error', () => undefined);
    await new Promise((resolve) => socket.once('close', resolve));
    expect(Buffer.concat(received).toString()).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nbegun$/s);
  });
});
