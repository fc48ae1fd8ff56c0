/** Rate limits: shared by address and user, and against guessing keys. */
import { once } from 'node:events';
import { type ClientRequest, createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import request from 'supertest';
import { afterEach, describe, expect, it } from 'vitest';
import type { Scope } from '../../src/http/api-keys.js';
import { errorReply } from '../../src/http/schemas/fields.js';
import { deferred } from '../support/deferred.js';
import { eventually } from '../support/eventually.js';
import { ACCEPTED, bearer, LISTEN_URL, type TestApp, testApp, USER } from '../support/http-app.js';
import { exchange, form } from '../support/http-exchange.js';

const OTHER = '00000000-0000-4000-8000-000000000002';
const UPLOAD = form([
  { name: 'user_id', value: USER },
  { name: 'audio', value: Buffer.alloc(10), filename: 'a' },
]);

function verify(t: TestApp, userId = USER, address = '198.51.100.1') {
  return request(t.app)
    .post('/api/v1/verify-password')
    .set({ Authorization: bearer('verify'), 'X-Forwarded-For': address })
    .send({ userId, listenUrl: LISTEN_URL });
}

function status(t: TestApp, authorization = bearer('read'), address = '198.51.100.1') {
  return request(t.app)
    .get(`/api/v1/users/${USER}/status`)
    .set({ Authorization: authorization, 'X-Forwarded-For': address });
}

describe('the limit per address', () => {
  it('counts all operations together, announces itself and says when to come back', async () => {
    const t = testApp({ rateLimitPerMinute: 3 });
    const first = await verify(t);
    expect(first.headers).toMatchObject({ 'ratelimit-limit': '3', 'ratelimit-remaining': '2' });
    await status(t);
    await verify(t);
    const refused = await status(t);
    expect(refused.status).toBe(429);
    expect(errorReply.parse(refused.body).error).toBe('RateLimited');
    expect(refused.headers['ratelimit-remaining']).toBe('0');
    const seconds = Number(refused.headers['retry-after']);
    expect(seconds >= 1 && seconds <= 60).toBe(true);
    const message = `Too many requests from this address: 3 a minute (RATE_LIMIT_PER_MINUTE); try again in ${seconds} s`;
    expect(refused.body.message).toBe(message);
    expect(t.verifications).toHaveLength(2);
    expect(await t.metrics.registry.metrics()).toContain('voice_auth_rate_limited_total{limit="address"} 1');
  });

  it('is shared by replicas', async () => {
    const a = testApp({ rateLimitPerMinute: 2 });
    const b = testApp({ rateLimitPerMinute: 2 });
    b.rateLimits.hit = (key, windowMs) => a.rateLimits.hit(key, windowMs);
    expect((await status(a)).status).toBe(200);
    expect((await status(b)).status).toBe(200);
    expect((await status(a)).status).toBe(429);
    expect((await status(b)).status).toBe(429);
  });

  it('believes as many proxies as configured and no more', async () => {
    const direct = testApp({ rateLimitPerMinute: 1 });
    await status(direct, bearer('read'), '198.51.100.1');
    expect((await status(direct, bearer('read'), '198.51.100.2')).status).toBe(429);
    const behindOne = testApp({ rateLimitPerMinute: 1, trustProxy: 1 });
    await status(behindOne, bearer('read'), '198.51.100.1');
    expect((await status(behindOne, bearer('read'), '198.51.100.2')).status).toBe(200);
    // Only the last hop was written by our proxy; what stands before it is the client's claim.
    expect((await status(behindOne, bearer('read'), '203.0.113.9, 198.51.100.1')).status).toBe(429);
  });

  it('takes an IPv6 network for one client', async () => {
    const t = testApp({ rateLimitPerMinute: 1, trustProxy: 1 });
    await status(t, bearer('read'), '2001:db8:1:100::1');
    expect((await status(t, bearer('read'), '2001:db8:1:1ff::2')).status).toBe(429);
    expect((await status(t, bearer('read'), '2001:db8:1:200::2')).status).toBe(200);
  });

  it('leaves health, metrics and documents alone', async () => {
    const t = testApp({ rateLimitPerMinute: 1 });
    for (const path of ['/healthz', '/readyz', '/metrics', '/openapi.json', '/api/v1/health']) {
      for (let i = 0; i < 3; i++) {
        expect((await request(t.app).get(path).set('Authorization', bearer('read'))).status).toBe(200);
      }
    }
    expect(t.rateLimits.hits.size).toBe(0);
  });

  it('keeps no address or user id in the store', async () => {
    const t = testApp({ rateLimitPerMinute: 5, userRateLimitPerMinute: 5, trustProxy: 1 });
    await verify(t);
    const keys = [...t.rateLimits.hits.keys()].join(' ');
    expect(keys).toMatch(/^address:\S{43} user:\S{43}$/);
    expect(keys).not.toMatch(/198\.51/);
    expect(keys).not.toContain(USER);
  });

  it('is off at 0', async () => {
    const t = testApp();
    expect((await verify(t)).headers).not.toHaveProperty('ratelimit-limit');
    expect(t.rateLimits.hits.size).toBe(0);
  });
});

describe('the limit per user', () => {
  it('holds for one user from any address, in any spelling, by any kind of verification', async () => {
    const t = testApp({ userRateLimitPerMinute: 3, trustProxy: 1 });
    expect((await verify(t, USER, '198.51.100.1')).status).toBe(200);
    expect((await verify(t, USER.toUpperCase(), '198.51.100.2')).status).toBe(200);
    const upload = () =>
      request(t.app)
        .post('/api/v1/verify')
        .set({ Authorization: bearer('verify'), 'X-Forwarded-For': '198.51.100.3' })
        .field('user_id', USER)
        .attach('audio', Buffer.alloc(10), 'a');
    expect((await upload()).status).toBe(200);
    const refused = await verify(t, USER, '198.51.100.4');
    expect([refused.status, refused.body.error]).toEqual([429, 'RateLimited']);
    const limit = '3 a minute (USER_RATE_LIMIT_PER_MINUTE); try again in';
    expect(refused.body.message).toBe(
      `Too many enrollments and verifications of this user: ${limit} ${refused.headers['retry-after']} s`,
    );
    expect((await upload()).status).toBe(429);
    expect((await verify(t, OTHER)).status).toBe(200);
    expect(t.verifications).toHaveLength(4);
  });

  it('does not announce its numbers, which are not those of the asker', async () => {
    const t = testApp({ userRateLimitPerMinute: 1 });
    for (const expected of [200, 429]) {
      const { status, headers } = await verify(t);
      expect(status).toBe(expected);
      expect(Object.keys(headers).filter((name) => name.startsWith('ratelimit'))).toEqual([]);
    }
  });

  it('does not count requests that name nobody', async () => {
    const t = testApp({ userRateLimitPerMinute: 1 });
    for (let i = 0; i < 3; i++) expect((await verify(t, 'nobody')).status).toBe(400);
    expect((await verify(t)).status).toBe(200);
  });
});

describe('when the database cannot count', () => {
  it('writes are refused and reads go on', async () => {
    const t = testApp({ rateLimitPerMinute: 5 });
    t.rateLimits.failing = true;
    const refused = await verify(t);
    expect([refused.status, refused.body.error]).toEqual([503, 'DatabaseUnavailable']);
    expect((await status(t)).status).toBe(200);
    const erasure = await request(t.app).delete(`/api/v1/users/${USER}`).set('Authorization', bearer('admin'));
    expect(erasure.status).toBe(503);
    t.rateLimits.hit = async () => {
      throw new Error('anything');
    };
    expect((await verify(t)).body.error).toBe('DatabaseUnavailable');
    expect(t.verifications).toHaveLength(0);
  });

  it('nobody is verified without the limit per user either', async () => {
    const t = testApp({ userRateLimitPerMinute: 5 });
    t.rateLimits.failing = true;
    expect((await verify(t)).status).toBe(503);
    expect(t.verifications).toHaveLength(0);
  });
});

describe('a client that leaves while the database counts it', () => {
  const JSON_BODY = JSON.stringify({ userId: USER, listenUrl: LISTEN_URL });
  let server: Server;
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  async function serve(t: TestApp): Promise<string> {
    server = createServer(t.app).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** Asks, is gone before the database has counted that in, and is known to be. */
  async function leave(t: TestApp, url: string, ask: { path: string; headers: object; body: string | Buffer }) {
    const asked = deferred<void>();
    const counted = deferred<void>();
    const { hit } = t.rateLimits;
    t.rateLimits.hit = async (...args) => {
      asked.resolve();
      await counted.promise;
      return hit.apply(t.rateLimits, args);
    };
    const gone = () => t.logText().split('"status":499').length;
    const before = gone();
    const headers = { authorization: bearer('verify'), ...ask.headers };
    const sent = httpRequest(url + ask.path, { method: 'POST', headers, agent: false });
    sent.on('error', () => undefined);
    sent.end(ask.body);
    await asked.promise;
    sent.destroy();
    await eventually(() => expect(gone()).toBe(before + 1));
    t.rateLimits.hit = hit;
    counted.resolve();
  }

  it('does not keep a place for an upload', async () => {
    // Two uploads of this size at once.
    const t = testApp({ rateLimitPerMinute: 10, maxUploadBytes: 100_000_000 });
    const url = await serve(t);
    const ask = { path: '/api/v1/verify', ...UPLOAD };
    for (let i = 0; i < 2; i++) await leave(t, url, ask);
    const headers = { authorization: bearer('verify'), ...UPLOAD.headers };
    expect((await exchange(url, { ...ask, headers })).status).toBe(200);
    expect(t.verifications).toHaveLength(1);
  });

  it.each([
    ['address', { rateLimitPerMinute: 10 }],
    ['user', { userRateLimitPerMinute: 10 }],
  ])('by %s starts no work', async (_name, config) => {
    const t = testApp(config);
    const url = await serve(t);
    const headers = { 'content-type': 'application/json', accept: 'text/event-stream' };
    await leave(t, url, { path: '/api/v1/verify-password', headers, body: JSON_BODY });
    expect((await verify(t, OTHER)).status).toBe(200);
    expect(t.verifications.map(({ userId }) => userId)).toEqual([OTHER]);
    expect(t.logText()).not.toContain('request failed');
  });
});

describe('uploads that do not come', () => {
  let server: Server;
  let url: string;
  let sent: ClientRequest[];
  afterEach(() => {
    for (const upload of sent) upload.destroy();
    server.closeAllConnections();
    server.close();
  });

  /** 26 uploads of this size at once, 7 of one key. */
  async function serve(): Promise<TestApp> {
    const t = testApp({ maxUploadBytes: 10_000_000 });
    server = createServer(t.app).listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    sent = [];
    return t;
  }

  /** Headers, and not a byte of the body. */
  function announce(scope: Scope): ClientRequest {
    const upload = httpRequest(`${url}/api/v1/verify`, {
      method: 'POST',
      headers: { authorization: bearer(scope), ...UPLOAD.headers, 'content-length': UPLOAD.body.length },
      agent: false,
    });
    upload.on('error', () => undefined);
    upload.flushHeaders();
    sent.push(upload);
    return upload;
  }

  const send = (scope: Scope, path = '/api/v1/verify') =>
    exchange(url, { path, headers: { authorization: bearer(scope), ...UPLOAD.headers }, body: UPLOAD.body });

  it('of one key leave places for the others', async () => {
    const t = await serve();
    for (let i = 0; i < 27; i++) announce('verify');
    await eventually(() => expect(t.timers.size).toBe(7));
    const refused = await send('verify');
    expect([refused.status, refused.headers['retry-after'], JSON.parse(refused.text)]).toEqual([
      503,
      '1',
      expect.objectContaining({ error: 'Busy', message: 'Too many uploads with this key at once; try again' }),
    ]);
    expect((await send('admin')).status).toBe(200);
    expect((await send('enroll', '/api/v1/enroll')).status).toBe(200);
  });

  it('are given up, and their places are free again', async () => {
    const t = await serve();
    const answers = Array.from({ length: 7 }, () => once(announce('verify'), 'response'));
    await eventually(() => expect(t.timers.size).toBe(7));
    t.clock.advance(10_000 + 25);
    const statuses = (await Promise.all(answers)).map(([response]) => response.statusCode);
    expect(statuses).toEqual(Array.from({ length: 7 }, () => 400));
    expect((await send('verify')).status).toBe(200);
    expect(t.timers.size).toBe(0);
  });

  it('may take their time as long as something comes', async () => {
    const t = await serve();
    const arrival = once(server, 'connection');
    const upload = announce('verify');
    const response = once(upload, 'response');
    const [connection] = (await arrival) as [Socket];
    await eventually(() => expect(t.timers.size).toBe(1));
    const { bytesRead } = connection;
    for (let i = 0; i < 3; i++) {
      t.clock.advance(9_000);
      upload.write(UPLOAD.body.subarray(i, i + 1));
      await eventually(() => expect(connection.bytesRead).toBe(bytesRead + i + 1));
    }
    upload.end(UPLOAD.body.subarray(3));
    expect((await response)[0].statusCode).toBe(200);
  });
});

describe('guessing keys', () => {
  it('is slowed down per address without touching the database, and good keys still pass', async () => {
    const t = testApp({ rateLimitPerMinute: 10, trustProxy: 1 });
    const guess = (address: string) => status(t, 'Bearer guess', address);
    expect((await guess('198.51.100.1')).status).toBe(401);
    expect((await guess('198.51.100.1')).status).toBe(401);
    const refused = await guess('198.51.100.1');
    expect([refused.status, refused.body.error]).toEqual([429, 'RateLimited']);
    expect(refused.headers).toHaveProperty('retry-after');
    expect((await guess('198.51.100.2')).status).toBe(401);
    expect(t.rateLimits.hits.size).toBe(0);
    expect((await status(t)).status).toBe(200);
    t.behave.verify = async () => ACCEPTED;
    expect((await verify(t)).status).toBe(200);
  });

  it('is not slowed down where there is no limit per address', async () => {
    const t = testApp({ rateLimitPerMinute: 0 });
    for (let i = 0; i < 30; i++) expect((await status(t, 'Bearer guess')).status).toBe(401);
    expect((await t.metrics.rateLimited.get()).values.filter(({ value }) => value > 0)).toEqual([]);
  });
});
