/** The HTTP contract over a real socket: answers, errors, access, headers. */
import request from 'supertest';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { ERROR_CODES } from '../../src/domain/errors.js';
import { STATUS_BY_CODE } from '../../src/http/error-table.js';
import { enrollReply } from '../../src/http/schemas/enrollment.js';
import { errorReply } from '../../src/http/schemas/fields.js';
import { healthReply, readyReply } from '../../src/http/schemas/service.js';
import { historyReply, outdatedReply, statusReply } from '../../src/http/schemas/users.js';
import { verifyReply } from '../../src/http/schemas/verification.js';
import { eventually } from '../support/eventually.js';
import {
  ACCEPTED,
  AUDIO_URL,
  bearer,
  failing,
  KEYS,
  LISTEN_URL,
  PHONE,
  type TestApp,
  testApp,
  USER,
} from '../support/http-app.js';

const VERIFY = { userId: USER, listenUrl: LISTEN_URL };
const ENROLL = { userId: USER, phone: PHONE, audioUrl: AUDIO_URL };

let t: TestApp;
beforeEach(() => {
  t = testApp();
});

const post = (path: string, scope: keyof typeof KEYS) => request(t.app).post(path).set('Authorization', bearer(scope));
const verify = (body: object = VERIFY) => post('/api/v1/verify-password', 'verify').send(body);

describe('enrollment', () => {
  it('passes on what was asked and answers what came of it', async () => {
    const body = { ...ENROLL, userId: USER.toUpperCase(), channel: 1, consentReference: 'contract 7' };
    const res = await post('/api/v1/enroll-user', 'enroll').set('X-Correlation-ID', 'enroll-0001').send(body);
    expect(res.status).toBe(200);
    expect(enrollReply.parse(res.body)).toEqual({
      status: 'enrolled',
      score: 0.912346,
      samples: 2,
      net_speech_seconds: 7.204,
      model: 'toy-2',
      correlation_id: 'enroll-0001',
    });
    expect(t.enrollments[0]).toMatchObject({
      userId: USER,
      phone: PHONE,
      consentReference: 'contract 7',
      source: { kind: 'audio_url', audioUrl: AUDIO_URL, channel: 1 },
      correlationId: 'enroll-0001',
      actor: 'enroll',
    });
  });

  it('takes a live call, too', async () => {
    const body = { userId: USER, phone: PHONE, listenUrl: LISTEN_URL, maxSeconds: 20 };
    expect((await post('/api/v1/enroll-user', 'enroll').send(body)).status).toBe(200);
    expect(t.enrollments[0]?.source).toEqual({ kind: 'listen_url', listenUrl: LISTEN_URL, maxSeconds: 20 });
  });
});

describe('verification', () => {
  it('answers an accepted caller', async () => {
    const res = await verify({ ...VERIFY, threshold: 0.9, maxSeconds: 12.5 }).set('X-Call-ID', 'call-abc-1');
    expect(res.status).toBe(200);
    expect(verifyReply.parse(res.body)).toEqual({
      success: true,
      message: 'The voice matches the enrolled speaker.',
      records: null,
      score: 0.93,
      decision: 'accept',
      reason: 'match',
      threshold: 0.82,
      net_speech_seconds: 3.21,
      audio_seconds: null,
      attempt_id: ACCEPTED.attemptId,
      correlation_id: 'call-abc-1',
      additional_factor_required: true,
    });
    expect(t.verifications[0]).toMatchObject({
      userId: USER,
      source: { kind: 'listen_url', listenUrl: LISTEN_URL, maxSeconds: 12.5 },
      threshold: 0.9,
      correlationId: 'call-abc-1',
      callId: 'call-abc-1',
    });
    expect(t.verifications[0]).not.toHaveProperty('onProgress');
  });

  it('answers 200 with success false for everyone else', async () => {
    for (const [decision, reason, score] of [
      ['reject', 'no_match', 0.1],
      ['inconclusive', 'insufficient_speech', undefined],
    ] as const) {
      t.behave.verify = async () => ({ ...ACCEPTED, decision, reason, score });
      const res = await verify({ userId: USER, audioUrl: AUDIO_URL });
      expect(res.status).toBe(200);
      expect(verifyReply.parse(res.body)).toMatchObject({ success: false, decision, reason, score: score ?? null });
    }
    expect(t.verifications[0]?.source).toEqual({ kind: 'audio_url', audioUrl: AUDIO_URL, channel: undefined });
  });
});

describe('users', () => {
  const get = (path: string) => request(t.app).get(path).set('Authorization', bearer('read'));

  it('have a status', async () => {
    const res = await get(`/api/v1/users/${USER.toUpperCase()}/status`);
    expect(res.status).toBe(200);
    expect(statusReply.parse(res.body)).toMatchObject({
      user_id: USER,
      enrolled: true,
      locked_until: '2025-01-02T04:00:00.000Z',
      last_attempt: { success: false, latency_seconds: 5.12, call_id: null },
    });
  });

  it('have a history in pages', async () => {
    const history = vi.spyOn(t.behave.users, 'history');
    const first = await get(`/api/v1/users/${USER}/auth-history`);
    expect(historyReply.parse(first.body)).toMatchObject({
      user_id: USER,
      next: null,
      attempts: [{ id: ACCEPTED.attemptId }],
    });
    await get(`/api/v1/users/${USER}/auth-history?limit=7&before=abc`);
    expect(history.mock.calls).toEqual([
      [USER, { limit: 50, before: undefined }],
      [USER, { limit: 7, before: 'abc' }],
    ]);
  });

  it('of another model are listed in pages, for admins', async () => {
    const outdated = vi.spyOn(t.behave.users, 'outdated');
    const list = (query: string) =>
      request(t.app).get(`/api/v1/users/outdated${query}`).set('Authorization', bearer('admin'));
    const first = await list('');
    expect(outdatedReply.parse(first.body)).toMatchObject({
      model: 'toy-2',
      total: 1,
      users: [{ user_id: USER, model: 'toy-1', samples: 3, enrolled_at: '2025-01-01T00:00:00.000Z' }],
      next: null,
    });
    await list('?limit=7&before=abc');
    expect(outdated.mock.calls).toEqual([[{ limit: 50, before: undefined }], [{ limit: 7, before: 'abc' }]]);
    expect((await list('?limit=0')).status).toBe(400);
    expect((await get('/api/v1/users/outdated')).status).toBe(403);
  });

  it('can be erased', async () => {
    const erase = vi.spyOn(t.behave.users, 'erase');
    const res = await request(t.app)
      .delete(`/api/v1/users/${USER}`)
      .set('Authorization', bearer('admin'))
      .set('X-Correlation-ID', 'erase-0001');
    expect(res.status).toBe(200);
    expect(res.body).toEqual({ status: 'erased', user_id: USER, correlation_id: 'erase-0001' });
    expect(erase.mock.calls).toEqual([[USER, { actor: 'admin', correlationId: 'erase-0001' }]]);
  });

  it.each([
    ['an id that is none', '/api/v1/users/7/status', 'id'],
    ['a path that does not decode', '/api/v1/users/%E0%A4%A/status', undefined],
    ['an unknown query', `/api/v1/users/${USER}/status?s3cret=1`, ''],
    ['two limits', `/api/v1/users/${USER}/auth-history?limit=1&limit=2`, 'limit'],
    ['a polluting query', `/api/v1/users/${USER}/auth-history?__proto__=1`, ''],
  ])('are refused with %s', async (_what, path, field) => {
    const res = await get(path);
    expect(res.status).toBe(400);
    expect(errorReply.parse(res.body).error).toBe('ValidationError');
    if (field !== undefined) expect(res.body.details).toMatchObject([{ path: field }]);
    expect(res.text).not.toContain('s3cret');
  });
});

describe('errors', () => {
  it.each(ERROR_CODES)('%s has its status and the one shape', async (code) => {
    t.behave.anyError = true;
    t.behave.verify = failing(code, 'A safe message', { details: { found: 1 }, cause: new Error(LISTEN_URL) });
    const res = await verify().set('X-Correlation-ID', 'error-0001');
    expect(res.status).toBe(STATUS_BY_CODE[code]);
    expect(errorReply.parse(res.body)).toEqual({
      error: code,
      message: 'A safe message',
      correlation_id: 'error-0001',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      details: { found: 1 },
    });
    expect(res.headers['retry-after']).toBeUndefined();
    expect(res.headers['cache-control']).toBe('no-store');
  });

  it('of enrolling somebody who is locked out, like of verifying them', async () => {
    t.behave.enroll = failing('AccountLockedError', 'Locked', { retryAfterSeconds: 9 });
    const res = await post('/api/v1/enroll-user', 'enroll').send(ENROLL);
    expect(res.status).toBe(423);
    expect(errorReply.parse(res.body).error).toBe('AccountLockedError');
  });

  it('say when to come back, in whole seconds', async () => {
    t.behave.verify = failing('AccountLockedError', 'Locked', { retryAfterSeconds: 840.2 });
    expect((await verify()).headers['retry-after']).toBe('841');
    t.behave.verify = failing('Busy', 'Busy', { retryAfterSeconds: 0 });
    expect((await verify()).headers['retry-after']).toBe('1');
  });

  it('that nobody expected say nothing outside and nothing secret inside', async () => {
    for (const thrown of [
      new TypeError(`cannot dial ${LISTEN_URL}`),
      `text ${PHONE}`,
      undefined,
      null,
      { phone: PHONE },
    ]) {
      t.behave.verify = async () => {
        throw thrown;
      };
      const res = await verify();
      expect(res.status).toBe(500);
      expect(errorReply.parse(res.body)).toMatchObject({
        error: 'InternalError',
        message: 'Something went wrong on our side',
      });
    }
    await eventually(() => expect(t.logText().match(/request failed unexpectedly/g)).toHaveLength(5));
    expect(t.logText()).toContain('TypeError');
    expect(t.logText()).not.toContain(LISTEN_URL);
    expect(t.logText()).not.toContain(PHONE);
  });

  it('answer unknown paths with 404 and known ones with 405 and the way out', async () => {
    const unknown = await request(t.app).get('/api/v1/nothing?secret=s3cret');
    expect(unknown.status).toBe(404);
    expect(errorReply.parse(unknown.body).error).toBe('NotFound');
    expect(unknown.text).not.toContain('s3cret');
    const wrong = await request(t.app).put('/api/v1/verify-password').send({});
    expect(wrong.status).toBe(405);
    expect(errorReply.parse(wrong.body).error).toBe('MethodNotAllowed');
    expect(wrong.headers.allow).toBe('POST');
    const status = await request(t.app).post(`/api/v1/users/${USER}/status`);
    expect([status.status, status.headers.allow]).toEqual([405, 'GET, HEAD']);
    const options = await request(t.app).options('/api/v1/verify-password');
    expect([options.status, options.headers.allow]).toEqual([204, 'POST']);
  });
});

describe('access', () => {
  const guarded = [
    ['POST', '/api/v1/enroll-user', 'enroll'],
    ['POST', '/api/v1/enroll', 'enroll'],
    ['POST', '/api/v1/verify-password', 'verify'],
    ['POST', '/api/v1/verify', 'verify'],
    ['GET', `/api/v1/users/${USER}/status`, 'read'],
    ['GET', `/api/v1/users/${USER}/auth-history`, 'read'],
    ['GET', '/api/v1/users/outdated', 'admin'],
    ['DELETE', `/api/v1/users/${USER}`, 'admin'],
    ['GET', '/api/v1/health', 'read'],
  ] as const;
  const call = (method: string, path: string, authorization?: string) => {
    const req =
      method === 'GET'
        ? request(t.app).get(path)
        : method === 'POST'
          ? request(t.app).post(path)
          : request(t.app).delete(path);
    return authorization === undefined ? req : req.set('Authorization', authorization);
  };

  it.each(guarded)('%s %s needs a good key with scope %s', async (method, path, scope) => {
    const bad = [
      undefined,
      '',
      'Bearer',
      'Bearer ',
      `Basic ${KEYS.admin}`,
      KEYS.admin,
      `Bearer ${KEYS.admin}x`,
      `Bearer ${KEYS.admin} x`,
    ];
    for (const authorization of bad) {
      const res = await call(method, path, authorization);
      expect(res.status).toBe(401);
      expect(errorReply.parse(res.body).error).toBe('Unauthorized');
      expect(res.headers['www-authenticate']).toBe('Bearer');
    }
    for (const other of ['enroll', 'verify', 'read'] as const) {
      if (other === scope) continue;
      const res = await call(method, path, bearer(other));
      expect([res.status, errorReply.parse(res.body).error]).toEqual([403, 'Forbidden']);
    }
    for (const good of [scope, 'admin'] as const) {
      expect([401, 403]).not.toContain((await call(method, path, bearer(good))).status);
    }
  });

  it('takes the scheme in any case', async () => {
    const res = await request(t.app).get('/api/v1/health').set('Authorization', `bearer ${KEYS.read}`);
    expect(res.status).toBe(200);
  });

  it('to metrics is open or not, as configured', async () => {
    expect((await request(t.app).get('/metrics')).status).toBe(200);
    t = testApp({ metricsPublic: false });
    expect((await request(t.app).get('/metrics')).status).toBe(401);
    const res = await request(t.app).get('/metrics').set('Authorization', bearer('read'));
    expect(res.status).toBe(200);
    expect(res.headers['content-type']).toContain('text/plain');
    expect(res.text).toContain('# TYPE voice_auth_http_requests_total counter');
  });
});

describe('the service about itself', () => {
  it('is alive', async () => {
    expect((await request(t.app).get('/healthz?probe=1')).body).toEqual({ status: 'ok' });
  });

  it('is ready unless it drains or a component is not well', async () => {
    const ready = await request(t.app).get('/readyz');
    expect(ready.status).toBe(200);
    expect(readyReply.parse(ready.body)).toEqual({
      status: 'ready',
      draining: false,
      components: [{ name: 'database', ok: true }],
    });
    t.behave.draining = true;
    const draining = await request(t.app).get('/readyz');
    expect([draining.status, draining.body.status]).toEqual([503, 'not_ready']);
    t = testApp();
    t.behave.components = [{ name: 'inference', ok: false, detail: { children: 0 } }];
    const ill = await request(t.app).get('/readyz');
    expect(ill.status).toBe(503);
    expect(readyReply.parse(ill.body).components).toEqual([{ name: 'inference', ok: false }]);
    const health = await request(t.app).get('/api/v1/health').set('Authorization', bearer('read'));
    expect(healthReply.parse(health.body)).toMatchObject({
      status: 'degraded',
      components: [{ name: 'inference', ok: false, detail: { children: 0 } }],
    });
  });

  it('says why the database cannot be used', async () => {
    const found = { name: 'database', ok: false, reason: 'keys_missing' } as const;
    t.behave.components = [{ ...found, detail: { backend: 'supabase' } }];
    const ready = await request(t.app).get('/readyz');
    expect([ready.status, readyReply.parse(ready.body).components]).toEqual([503, [found]]);
    const health = await request(t.app).get('/api/v1/health').set('Authorization', bearer('read'));
    expect(healthReply.parse(health.body).components).toEqual([{ ...found, detail: { backend: 'supabase' } }]);
  });

  it('takes no new work while draining, and lets connections go', async () => {
    t.behave.draining = true;
    const res = await verify();
    expect(res.status).toBe(503);
    expect(res.body.error).toBe('Busy');
    expect(res.headers.connection).toBe('close');
    expect(res.headers['retry-after']).toBe('1');
    expect(t.verifications).toHaveLength(0);
    expect((await request(t.app).get('/healthz')).status).toBe(200);
  });

  it('has a document and a page that loads nothing from elsewhere', async () => {
    expect((await request(t.app).get('/openapi.json')).body.openapi).toBe('3.1.0');
    const redirect = await request(t.app).get('/docs');
    expect([redirect.status, redirect.headers.location]).toEqual([301, '/docs/']);
    const page = await request(t.app).get('/docs/');
    expect(page.status).toBe(200);
    expect(page.headers['content-type']).toContain('text/html');
    const policy = page.headers['content-security-policy'] ?? '';
    expect(policy).toContain("default-src 'self'");
    expect(policy).not.toMatch(/script-src|https:|upgrade-insecure/);
    // The policy allows no inline script, so there must be none.
    expect(page.text).not.toMatch(/<script(?![^>]*\ssrc=)[^>]*>/);
    const parts = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, part]) => part ?? '');
    expect(parts.length).toBeGreaterThan(3);
    for (const part of parts) {
      expect(part).toMatch(/^\.\//);
      expect((await request(t.app).get(`/docs/${part.slice(2)}`)).status).toBe(200);
    }
    expect((await request(t.app).get('/docs/swagger-ui-init.js')).text).toContain('verification.create');
  });

  it('has a first page with links that work', async () => {
    const res = await request(t.app).get('/');
    for (const link of Object.values<string>(res.body.links)) {
      expect([200, 301]).toContain((await request(t.app).get(link)).status);
    }
  });
});

describe('headers', () => {
  it('carry a correlation id: the given one when it is harmless, else a new one', async () => {
    const idOf = async (headers: Record<string, string>) => {
      const res = await request(t.app).get('/healthz').set(headers);
      return res.headers['x-correlation-id'];
    };
    expect(await idOf({ 'X-Correlation-ID': 'abc-12345' })).toBe('abc-12345');
    expect(await idOf({ 'X-Call-ID': 'call-12345' })).toBe('call-12345');
    expect(await idOf({ 'X-Correlation-ID': 'abc-12345', 'X-Call-ID': 'call-12345' })).toBe('abc-12345');
    expect(await idOf({ 'X-Correlation-ID': 'bad id', 'X-Call-ID': 'call-12345' })).toBe('call-12345');
    for (const bad of ['short', 'with space 1', '"quoted-1234"', 'x'.repeat(129), PHONE, '14155550123']) {
      expect(await idOf({ 'X-Correlation-ID': bad })).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
    }
    const refused = await request(t.app).get('/nothing').set('X-Correlation-ID', 'abc-12345');
    expect([refused.headers['x-correlation-id'], refused.body.correlation_id]).toEqual(['abc-12345', 'abc-12345']);
  });

  it('tell browsers to do nothing and caches to keep nothing', async () => {
    const { headers } = await verify();
    expect(headers).toMatchObject({
      'content-security-policy': "default-src 'none';frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    });
    expect(headers).not.toHaveProperty('x-powered-by');
    expect(headers).not.toHaveProperty('etag');
    expect(headers).not.toHaveProperty('access-control-allow-origin');
  });

  it('open the API to configured origins only', async () => {
    const from = (origin: string) =>
      request(t.app).options('/api/v1/verify-password').set({
        Origin: origin,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'authorization',
      });
    expect((await from('https://app.example')).headers).not.toHaveProperty('access-control-allow-origin');
    t = testApp({ corsOrigins: ['https://app.example'] });
    const allowed = await from('https://app.example');
    expect(allowed.status).toBe(204);
    expect(allowed.headers['access-control-allow-origin']).toBe('https://app.example');
    expect(allowed.headers['access-control-allow-headers']).toContain('Authorization');
    expect(allowed.headers).not.toHaveProperty('access-control-allow-credentials');
    expect((await from('https://evil.example')).headers).not.toHaveProperty('access-control-allow-origin');
    expect((await verify().set('Origin', 'https://app.example')).headers['access-control-expose-headers']).toContain(
      'X-Correlation-ID',
    );
    t = testApp({ corsOrigins: ['*'] });
    expect((await from('https://any.example')).headers['access-control-allow-origin']).toBe('*');
  });
});

describe('logs and metrics', () => {
  it('know operations, never paths, bodies or keys', async () => {
    await verify().set('X-Call-ID', 'call-12345');
    await post('/api/v1/enroll-user', 'enroll').send(ENROLL);
    await request(t.app).get(`/api/v1/users/${USER}/status`).set('Authorization', `Bearer ${KEYS.read}x`);
    await request(t.app).get('/made-up/s3cret');
    await eventually(() => expect(t.logText().match(/"msg":"request"/g)).toHaveLength(4));
    const lines = t
      .logText()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toMatchObject([
      {
        operation: 'verification.create',
        status: 200,
        actor: 'verify',
        correlation_id: 'call-12345',
        call_id: 'call-12345',
      },
      { operation: 'enrollment.create', status: 200, actor: 'enroll' },
      { operation: 'user.status', status: 401, error: 'Unauthorized' },
      { operation: 'unknown', status: 404, error: 'NotFound' },
    ]);
    const metrics = await t.metrics.registry.metrics();
    expect(metrics).toContain('voice_auth_http_requests_total{operation="verification.create",status="200"} 1');
    expect(metrics).toContain('voice_auth_http_requests_total{operation="unknown",status="404"} 1');
    for (const secret of [USER, PHONE, AUDIO_URL, LISTEN_URL, 's3cret', 'made-up', ...Object.values(KEYS)]) {
      expect(t.logText() + metrics).not.toContain(secret);
    }
  });
});
