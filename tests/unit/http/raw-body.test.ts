import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import express, { type Response } from 'express';
import { afterEach, describe, expect, it } from 'vitest';
import { TimerWheel } from '../../../src/domain/timing/timer-wheel.js';
import { AuthenticationFailures } from '../../../src/http/middleware/authentication.js';
import { correlation } from '../../../src/http/middleware/correlation.js';
import { errorHandler } from '../../../src/http/middleware/error-handler.js';
import { rawBody } from '../../../src/http/middleware/raw-body.js';
import { stateOf } from '../../../src/http/request-state.js';
import { createLogger } from '../../../src/observability/logger.js';
import { Metrics } from '../../../src/observability/metrics.js';
import { eventually } from '../../support/eventually.js';
import { exchange } from '../../support/http-exchange.js';

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.closeAllConnections();
});

/**
 * Bodies of 1,000 bytes, 2,500 in all; requests to /held wait until they are let go, those to /early are answered at their first
 * byte, those with the header stranger prove nothing yet.
 */
async function serve() {
  const held: Response[] = [];
  const received: Buffer[] = [];
  let early = 0;
  const app = express();
  app.use(correlation());
  app.post('/early', (req, res, next) => {
    req.once('data', () => res.json({}));
    res.once('close', () => early++);
    next();
  });
  app.use((req, _res, next) => {
    stateOf(req).unproven = req.get('stranger') !== undefined;
    next();
  });
  const failures = new AuthenticationFailures({ metrics: new Metrics(), maxPerMinute: 0 });
  const bodies = rawBody({ failures, timers: new TimerWheel(), memoryBytes: 2_500 });
  app.post('/{*path}', bodies(1_000), (req, res) => {
    received.push(Buffer.from(stateOf(req).upload ?? []));
    if (req.path === '/held') held.push(res);
    else if (!res.headersSent) res.json({});
  });
  app.use(errorHandler(createLogger('silent')));
  const server = createServer(app);
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const post = (path: string, body: string, headers = {}) => exchange(url, { path, body, headers });
  return { url, held, received, early: () => early, post };
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

  it('of one stranger get a quarter of the memory for strangers while they come, and others their own', async () => {
    const { url, held, post } = await serve();
    const stranger = { stranger: 'yes' };
    const coming = connect(Number(new URL(url).port), '127.0.0.1');
    coming.write(`POST / HTTP/1.1\r\nHost: here\r\nstranger: yes\r\nContent-Length: 601\r\n\r\n${'x'.repeat(600)}`);
    await eventually(async () => {
      const refused = await post('/', 'x'.repeat(26), stranger);
      expect([refused.status, refused.text]).toEqual([503, expect.stringContaining('from this address')]);
    });
    expect((await post('/', 'x'.repeat(25), stranger)).status).toBe(200);
    const waiting = [post('/held', 'x'.repeat(1_000)), post('/held', 'x'.repeat(1_000))];
    await eventually(() => expect(held).toHaveLength(2));
    expect((await post('/', 'x'.repeat(500))).status).toBe(200);
    for (const res of held) res.json({});
    await Promise.all(waiting);
    coming.destroy();
    await eventually(async () => expect((await post('/', 'x'.repeat(625), stranger)).status).toBe(200));
  });

  it('that are all there are none of the strangers any more, however long they are worked on', async () => {
    const { held, post } = await serve();
    const stranger = { stranger: 'yes' };
    const waiting = Array.from({ length: 3 }, () => post('/held', 'x'.repeat(600), stranger));
    await eventually(() => expect(held).toHaveLength(3));
    expect((await post('/', 'x'.repeat(625), stranger)).status).toBe(200);
    // Of what everybody shares while they are worked on, 700 bytes are left.
    expect((await post('/', 'x'.repeat(701))).status).toBe(503);
    for (const res of held) res.json({});
    expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([200, 200, 200]);
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

  it('hold nothing of what comes after they have been answered', async () => {
    const { url, early, received, post } = await serve();
    for (let i = 1; i <= 2; i++) {
      const socket = connect(Number(new URL(url).port), '127.0.0.1');
      socket.write('POST /early HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\nx');
      await eventually(() => expect(early()).toBe(i));
      socket.write('x'.repeat(999));
      await eventually(() => expect(received).toHaveLength(i));
      socket.destroy();
    }
    expect((await post('/', 'x'.repeat(1_000))).status).toBe(200);
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
