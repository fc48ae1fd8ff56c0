import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import express, { type Request, type Response } from 'express';
import { afterEach, describe, expect, it } from 'vitest';
import { correlation } from '../../../src/http/middleware/correlation.js';
import { errorHandler } from '../../../src/http/middleware/error-handler.js';
import { rawBody } from '../../../src/http/middleware/raw-body.js';
import { openRequestState, stateOf } from '../../../src/http/request-state.js';
import { createLogger } from '../../../src/observability/logger.js';
import { eventually } from '../../support/eventually.js';
import { exchange } from '../../support/http-exchange.js';
import { settled } from '../../support/toy-models.js';

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.closeAllConnections();
});

/** Bodies of 1,000 bytes, 2,500 in all; requests to /held wait until they are let go. */
async function serve() {
  const held: Response[] = [];
  const received: Buffer[] = [];
  const app = express();
  app.use(correlation());
  app.post('/{*path}', rawBody({ memoryBytes: 2_500 })(1_000), (req, res) => {
    received.push(Buffer.from(stateOf(req).upload ?? []));
    if (req.path === '/held') held.push(res);
    else res.json({});
  });
  app.use(errorHandler(createLogger('silent')));
  const server = createServer(app);
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, held, received, post: (path: string, body: string) => exchange(url, { path, body }) };
}

describe('raw bodies', () => {
  it('share a bounded memory, which is free again when they have been answered', async () => {
    const { held, post } = await serve();
    const waiting = [post('/held', 'x'.repeat(1_000)), post('/held', 'x'.repeat(1_000))];
    await eventually(() => expect(held).toHaveLength(2));
    expect((await post('/', 'x'.repeat(500))).status).toBe(200);
    const refused = await post('/', 'x'.repeat(501));
    expect([refused.status, refused.headers['retry-after']]).toEqual([503, '1']);
    for (const res of held) res.json({});
    await Promise.all(waiting);
    await eventually(async () => expect((await post('/', 'x'.repeat(1_000))).status).toBe(200));
  });

  it('free their memory also when their client vanishes in the middle', async () => {
    const { url, post } = await serve();
    for (let i = 0; i < 5; i++) {
      const { port } = new URL(url);
      const sent = request({ port, method: 'POST', path: '/', headers: { 'Content-Length': 1_000 }, agent: false });
      sent.on('error', () => undefined);
      await new Promise<void>((resolve) => sent.write('x'.repeat(900), () => resolve()));
      sent.destroy();
    }
    await eventually(async () => expect((await post('/', 'x'.repeat(1_000))).status).toBe(200));
  });

  it('hold nothing of what comes after their response has closed', async () => {
    const limited = rawBody({ memoryBytes: 1_000 })(1_000);
    const receive = () => {
      const body = new PassThrough();
      const req = Object.assign(body, { headers: {} }) as unknown as Request;
      const res = new PassThrough();
      openRequestState(req, { correlationId: 'c', callId: undefined, signal: new AbortController().signal });
      const received = Promise.resolve(limited(req, res as unknown as Response, () => undefined));
      return { body, res, received, upload: () => stateOf(req).upload };
    };
    const late = receive();
    late.received.catch(() => undefined);
    late.body.write('x'.repeat(600));
    await settled();
    late.res.destroy();
    await once(late.res, 'close');
    late.body.end('x'.repeat(400));
    await settled();
    const next = receive();
    next.body.end('x'.repeat(1_000));
    await next.received;
    expect(next.upload()).toHaveLength(1_000);
  });

  it('arrive whole however they are cut', async () => {
    const { url, received } = await serve();
    const body = Buffer.from(Array.from({ length: 997 }, (_, i) => i % 251));
    const { port } = new URL(url);
    const sent = request({ port, method: 'POST', path: '/', agent: false });
    for (const byte of body) sent.write(Buffer.from([byte]));
    sent.end();
    const [response] = await once(sent, 'response');
    response.resume();
    expect(received[0]?.equals(body)).toBe(true);
  });
});
