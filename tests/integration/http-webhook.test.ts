/** Webhooks over a real socket: first the route with a scripted handler, then everything from the simulated VAPI to the calls. */
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import request from 'supertest';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { HttpConfig, VapiWebhookConfig } from '../../src/config/config.js';
import { errorReply } from '../../src/http/schemas/fields.js';
import { MAX_WEBHOOK_BYTES, vapiReply } from '../../src/http/schemas/webhook.js';
import {
  type SimulatedCallOptions,
  type SimulatedReply,
  SimulatedVapiCall,
} from '../../src/telephony/simulator/vapi-platform.js';
import {
  HMAC_VARIANTS,
  WEBHOOK_VARIANTS,
  type WebhookCredentials,
  type WebhookVariantName,
} from '../../src/telephony/simulator/webhook-variants.js';
import { eventually } from '../support/eventually.js';
import { type TestApp, testApp } from '../support/http-app.js';
import { privacyLeaks } from '../support/privacy.js';
import { CALLED_USER } from '../support/scripted-calls.js';
import {
  CALL_ID,
  CALLER,
  CONTROL_URL,
  LISTEN_URL,
  SECRET,
  SECRETS,
  webhookHarness,
} from '../support/webhook-harness.js';

const PATH = '/vapi/webhook';
const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function listen(t: TestApp): Promise<number> {
  const server = createServer(t.app);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function post(t: TestApp, body: string | Buffer, headers: Record<string, string> = {}) {
  const sent = request(t.app)
    .post(PATH)
    .set({ 'Content-Type': 'application/json', ...headers });
  return sent.serialize((data: unknown) => data as string).send(body as string);
}

describe('the route', () => {
  it('hands over headers and body as they came, and answers what the handler says', async () => {
    const t = testApp();
    t.behave.webhook = async () => ({ status: 200, body: { results: [] } });
    const bytes = Buffer.from('{"message": "not \xff parsed" ', 'latin1');
    const res = await post(t, bytes, { 'X-Vapi-Secret': SECRET, 'X-Call-ID': 'call-12345' });
    expect([res.status, res.body]).toEqual([200, { results: [] }]);
    expect(res.headers['x-correlation-id']).toBe('call-12345');
    const [webhook] = t.webhooks;
    expect(Buffer.from(webhook?.body ?? []).equals(bytes)).toBe(true);
    expect(webhook).toMatchObject({ headers: { 'x-vapi-secret': SECRET }, correlationId: 'call-12345' });
  });

  it.each(['', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'])(
    'takes a body of type %j, and any query',
    async (type) => {
      const t = testApp();
      const res = await request(t.app)
        .post(`${PATH}?org=1`)
        .set('Content-Type', type)
        .serialize(String)
        .send('{"a":1}');
      expect(res.status).toBe(200);
      expect(Buffer.from(t.webhooks[0]?.body ?? []).toString()).toBe('{"a":1}');
    },
  );

  it('takes a body of nothing, too', async () => {
    const t = testApp();
    expect((await request(t.app).post(PATH)).status).toBe(200);
    expect(t.webhooks[0]?.body).toHaveLength(0);
  });

  it('needs no API key, counts nobody that is believed, and answers other methods 405', async () => {
    const t = testApp({ rateLimitPerMinute: 1 });
    for (let i = 0; i < 5; i++) expect((await post(t, '{}')).status).toBe(200);
    expect(t.rateLimits.hits.size).toBe(0);
    const wrong = await request(t.app).get(PATH);
    expect([wrong.status, wrong.headers.allow]).toEqual([405, 'POST']);
  });

  it('answers while the service shuts down', async () => {
    const t = testApp();
    t.behave.draining = true;
    const res = await post(t, '{}');
    expect([res.status, res.headers.connection]).toEqual([200, 'close']);
    expect(t.webhooks).toHaveLength(1);
  });

  it('takes reports of a megabyte and refuses longer ones', async () => {
    const t = testApp();
    const report = Buffer.from(Array.from({ length: MAX_WEBHOOK_BYTES }, (_, i) => (i * 7) % 251));
    expect((await post(t, report)).status).toBe(200);
    expect(Buffer.from(t.webhooks[0]?.body ?? []).equals(report)).toBe(true);
    const refused = await post(t, Buffer.alloc(MAX_WEBHOOK_BYTES + 1, 'x'));
    expect(refused.status).toBe(413);
    expect(errorReply.parse(refused.body).error).toBe('PayloadTooLarge');
    expect(t.webhooks).toHaveLength(1);
  });

  it('answers a body without end instead of reading on', async () => {
    const t = testApp();
    const port = await listen(t);
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.write(`POST ${PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`);
        const piece = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
        const pump = () => {
          while (!socket.destroyed && socket.write(piece));
        };
        socket.on('drain', pump);
        pump();
      });
      socket.on('data', (data) => {
        resolve(data.toString());
        socket.destroy();
      });
      socket.on('error', reject);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(t.webhooks).toHaveLength(0);
  });

  it('reads nothing of what its headers show to be false', async () => {
    const t = testApp();
    t.behave.webhookScreening = (headers) => (headers['x-vapi-secret'] === SECRET ? 'granted' : 'refused');
    const port = await listen(t);
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => {
        // The body is announced and never sent.
        socket.write(`POST ${PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nX-Vapi-Secret: no\r\n\r\n`);
      });
      socket.on('data', (data) => {
        resolve(data.toString());
        socket.destroy();
      });
      socket.on('error', reject);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
    expect(t.webhooks).toHaveLength(0);
  });

  it.each(['headers', 'body'])('counts failures per address with those of keys: by %s', async (by) => {
    const t = testApp({ rateLimitPerMinute: 10, trustProxy: 1 });
    if (by === 'headers') t.behave.webhookScreening = () => 'refused';
    else t.behave.webhook = async () => ({ status: 401, body: {} });
    const from = (address: string) => post(t, '{}', { 'X-Forwarded-For': address });
    const first = await from('198.51.100.1');
    expect([first.status, first.headers['www-authenticate']]).toEqual([401, 'Bearer']);
    expect(errorReply.parse(first.body).error).toBe('Unauthorized');
    const key = await request(t.app)
      .get('/api/v1/health')
      .set({ Authorization: 'Bearer guess', 'X-Forwarded-For': '198.51.100.1' });
    expect(key.status).toBe(401);
    const refused = await from('198.51.100.1');
    expect([refused.status, refused.body.error]).toEqual([429, 'RateLimited']);
    expect(refused.headers).toHaveProperty('retry-after');
    expect((await from('198.51.100.2')).status).toBe(401);
    t.behave.webhookScreening = () => 'granted';
    t.behave.webhook = async () => ({ status: 200, body: {} });
    expect((await from('198.51.100.1')).status).toBe(200);
    expect(t.rateLimits.hits.size).toBe(0);
  });

  it('says 403 when nobody can be believed', async () => {
    const t = testApp();
    t.behave.webhookScreening = () => 'closed';
    const res = await post(t, '{}');
    expect([res.status, res.body.error]).toEqual([403, 'Forbidden']);
  });

  it('tells the handler when the platform has gone away', async () => {
    const t = testApp();
    const gone = vi.fn();
    t.behave.webhook = ({ signal }) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          gone();
          resolve({ status: 200, body: {} });
        });
      });
    const port = await listen(t);
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(`POST ${PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}`),
    );
    await eventually(() => expect(t.webhooks).toHaveLength(1));
    socket.destroy();
    await eventually(() => expect(gone).toHaveBeenCalled());
  });

  it('is quiet in the log, except for refusals', async () => {
    const t = testApp();
    await post(t, '{}');
    t.behave.webhook = async () => ({ status: 401, body: {} });
    await post(t, '{}');
    await eventually(() => expect(t.logText().match(/"msg":"request"/g)).toHaveLength(2));
    const lines = t.logText().trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { level: 20, operation: 'webhook.vapi', status: 200 },
      { level: 30, operation: 'webhook.vapi', status: 401 },
    ]);
  });
});

describe('a development server without any secret', () => {
  const BEGINNING = JSON.stringify({
    message: {
      type: 'status-update',
      status: 'in-progress',
      call: { id: CALL_ID, monitor: { listenUrl: 'ws://127.0.0.1:9/internal' } },
    },
  });
  const DEVELOPMENT = { secrets: [], unauthenticated: true, publicHost: 'tunnel.example' };

  it.each<[string, Record<string, string>]>([
    ['a web page', { Origin: 'https://evil.example', 'Content-Type': 'text/plain;charset=UTF-8' }],
    ['a web page that may send JSON', { Origin: 'https://evil.example' }],
    ['a page of the same machine', { 'Sec-Fetch-Site': 'same-site' }],
    ['a form', { 'Content-Type': 'text/plain' }],
    ['a page whose name leads here', { Host: 'evil.example' }],
  ])('does not obey %s', async (_what, headers) => {
    const { t, h } = await platform({}, DEVELOPMENT);
    const res = await post(t, BEGINNING, headers);
    expect([res.status, res.body.error]).toEqual([403, 'Forbidden']);
    expect(res.body.message).toContain('VAPI_WEBHOOK_SECRET');
    await h.webhook.close();
    expect(h.calls.begun).toEqual([]);
  });

  it.each(['127.0.0.1:8000', 'localhost', 'tunnel.example'])('believes a program that dials %s', async (host) => {
    const { t, h } = await platform({}, DEVELOPMENT);
    expect((await post(t, BEGINNING, { Host: host })).status).toBe(200);
    await h.webhook.close();
    expect(h.calls.begun).toHaveLength(1);
  });
});

describe('strangers with a signature that only their body could prove', () => {
  const HMAC = { ...HMAC_VARIANTS.documented.hmac, secrets: ['hmac-s3cret'] };
  const STRANGER = '198.51.100.1';
  const HEAD = `POST ${PATH} HTTP/1.1\r\nHost: x\r\nX-Signature: 00\r\nX-Forwarded-For: ${STRANGER}\r\n`;

  /** Two failed authentications a minute are answered 401. */
  async function serve() {
    const { t, port, call } = await platform(
      { headers: { 'X-Forwarded-For': STRANGER } },
      { hmac: HMAC },
      { rateLimitPerMinute: 10, trustProxy: 1 },
    );
    return { t, port, believed: () => call.transcript('hello') };
  }

  /** Announces a body, sends so much of it and waits. Resolves with the status of the answer; 0 = none came. */
  function begin(port: number, { announced, sent = 0 }: { announced: number; sent?: number }): Promise<number> {
    return new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.write(`${HEAD}Content-Length: ${announced}\r\n\r\n`);
        socket.write(Buffer.alloc(sent, ' '));
      });
      socket.on('data', (data) => {
        resolve(Number(data.toString().split(' ')[1]));
        socket.destroy();
      });
      // The rest of a body that was refused is not read.
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(0));
    });
  }

  it('cannot keep out who shows a secret, nor strangers of other addresses, with all they hold', async () => {
    const { t, port, believed } = await serve();
    // All but 64 bytes of the memory that bodies may hold, were it not for the share of one address.
    const connections: Socket[] = [];
    servers.at(-1)?.on('connection', (connection) => connections.push(connection));
    const sent = MAX_WEBHOOK_BYTES - 1;
    const answers = Array.from({ length: 64 }, () => begin(port, { announced: MAX_WEBHOOK_BYTES, sent }));
    await eventually(() => {
      const read = connections.filter(({ bytesRead, destroyed }) => bytesRead > sent + HEAD.length || destroyed);
      expect(read).toHaveLength(64);
    });
    expect(await believed()).toEqual([{ status: 200, body: {} }]);
    expect(await Promise.race(answers)).toBe(503);
    const other = { 'X-Signature': '00', 'X-Forwarded-For': '198.51.100.2' };
    expect((await post(t, '{}', other)).status).toBe(401);
  });

  it('are given up when they keep us waiting, and then refused before anything is read', async () => {
    const { t, port, believed } = await serve();
    const waiting = [1, 2, 3].map(() => begin(port, { announced: 1_000, sent: 10 }));
    await eventually(() => expect(t.timers.size).toBe(3));
    t.clock.advance(10_000 + 25);
    expect((await Promise.all(waiting)).sort()).toEqual([401, 401, 429]);
    expect(await begin(port, { announced: 1_000 })).toBe(429);
    expect(await t.metrics.registry.metrics()).toContain(
      'voice_auth_rate_limited_total{limit="failed_authentication"} 2',
    );
    expect(await believed()).toEqual([{ status: 200, body: {} }]);
    expect(t.timers.size).toBe(0);
  });

  it('are refused likewise when they leave in the middle', async () => {
    const { t, port } = await serve();
    for (let i = 1; i <= 3; i++) {
      const socket = connect(port, '127.0.0.1', () => socket.write(`${HEAD}Content-Length: 9\r\n\r\n{`));
      await eventually(() => expect(t.timers.size).toBe(1));
      socket.destroy();
      await eventually(() => expect(t.timers.size).toBe(0));
    }
    expect(await begin(port, { announced: 1_000 })).toBe(429);
  });

  it('do not keep out genuine signatures from the same address by whole bodies that are wrong', async () => {
    const { t, call } = await platform(
      { credentials: { kind: 'hmac', hmac: HMAC, timestamp: 'seconds' }, headers: { 'X-Forwarded-For': STRANGER } },
      { secrets: [], hmac: HMAC },
      { rateLimitPerMinute: 10, trustProxy: 1 },
    );
    const wrong = { 'X-Signature': '00', 'X-Forwarded-For': STRANGER };
    const statuses: number[] = [];
    for (let i = 0; i < 4; i++) statuses.push((await post(t, '{}', wrong)).status);
    expect(statuses).toEqual([401, 401, 429, 429]);
    expect(await call.transcript('hello')).toEqual([{ status: 200, body: {} }]);
  });
});

/** The simulated VAPI against the app with the real webhook. */
async function platform(
  options: Partial<SimulatedCallOptions> = {},
  config: Partial<VapiWebhookConfig> = {},
  http: Partial<HttpConfig> = {},
) {
  const t = testApp(http);
  const h = webhookHarness(config);
  const port = await listen(t);
  t.behave.webhook = (webhook) => h.webhook.handle(webhook);
  t.behave.webhookScreening = (headers) => h.webhook.screen(headers);
  const call = new SimulatedVapiCall({
    webhookUrl: `http://127.0.0.1:${port}${PATH}`,
    callId: CALL_ID,
    callerNumber: CALLER,
    listenUrl: LISTEN_URL,
    controlUrl: CONTROL_URL,
    credentials: { kind: 'secret', secret: SECRET },
    ...options,
  });
  return { t, h, port, call };
}

const OK: SimulatedReply = { status: 200, body: {} };

describe('a call on the simulated platform', () => {
  it.each(Object.keys(WEBHOOK_VARIANTS) as WebhookVariantName[])('is served in the variant %s', async (name) => {
    const variant: Partial<(typeof WEBHOOK_VARIANTS)['captured']['options']> & Record<string, unknown> =
      WEBHOOK_VARIANTS[name].options;
    const { t, h, call } = await platform({ variant });
    h.vapi.canFindCalls = variant.monitor === 'none';
    h.vapi.onFind = async () => ({
      kind: 'found',
      call: { callerNumber: CALLER, listenUrl: LISTEN_URL, controlUrl: CONTROL_URL },
    });
    const deliveries = variant.deliveries === 2 ? 2 : 1;
    const ok = Array.from({ length: deliveries }, () => OK);

    expect(await call.assistantRequest()).toEqual(ok);
    for (const status of ['scheduled', 'ringing', 'in-progress'] as const)
      expect(await call.status(status)).toEqual(ok);
    await eventually(() => expect(h.calls.begun.length).toBeGreaterThan(0));
    expect(await call.transcript('hello, it is me')).toEqual(ok);
    const told = await call.callTools([{ id: 'call_fzEw', name: 'verify_caller', arguments: { userId: CALLED_USER } }]);
    expect(told).toHaveLength(deliveries);
    const expected =
      variant.toolShape === 'function-call'
        ? { result: expect.stringMatching(/^verified: /) }
        : {
            results: [{ name: 'verify_caller', toolCallId: 'call_fzEw', result: expect.stringMatching(/^verified: /) }],
          };
    for (const reply of told) expect(reply).toEqual({ status: 200, body: expected });
    for (const { body } of told) expect(vapiReply.safeParse(body).success).toBe(true);
    expect(await call.status('ended')).toEqual(ok);
    expect(await call.endOfCallReport('agent: bye')).toEqual(ok);
    await h.webhook.close();

    const callerNumber = variant.customer === 'sip' || variant.customer === 'none' ? undefined : CALLER;
    const facts = { platform: 'vapi', callId: CALL_ID, callerNumber, listenUrl: LISTEN_URL };
    for (const begun of h.calls.begun) expect(begun).toMatchObject(facts);
    expect(h.calls.verifications).toHaveLength(deliveries);
    expect(new Set(h.calls.verifications.map(({ requestId }) => requestId)).size).toBe(1);
    for (const question of h.calls.verifications) expect(question).toMatchObject({ call: facts, userId: CALLED_USER });
    expect(h.calls.ended).toEqual(Array.from({ length: 2 * deliveries }, () => `vapi ${CALL_ID}`));
    expect(privacyLeaks(h.logText() + t.logText(), [...SECRETS, 'echoed-5ecret'])).toEqual([]);
  });

  it('has several tools called at once', async () => {
    const { call } = await platform();
    const [reply] = await call.callTools([
      { name: 'call_status' },
      { name: 'enroll_caller', arguments: { consent: true } },
      { name: 'enroll_caller' },
    ]);
    expect(reply?.body).toMatchObject({
      results: [
        { toolCallId: 'call_1', result: expect.stringMatching(/^unknown_call/) },
        { toolCallId: 'call_2', result: expect.stringMatching(/^enrolled/) },
        { toolCallId: 'call_3', result: expect.stringMatching(/^consent_required/) },
      ],
    });
  });

  const ways: readonly [string, WebhookCredentials, Partial<VapiWebhookConfig>][] = [
    ['a secret', { kind: 'secret', secret: SECRET }, { secrets: ['old', SECRET] }],
    ['a token', { kind: 'bearer', secret: 'token' }, { secrets: [], bearerTokens: ['token'] }],
    ['nothing, in development', { kind: 'none' }, { secrets: [], unauthenticated: true }],
    ...Object.entries(HMAC_VARIANTS).map(
      ([name, { hmac, timestamp }]): [string, WebhookCredentials, Partial<VapiWebhookConfig>] => {
        const scheme = { ...hmac, secrets: ['hmac-s3cret'] };
        return [`a signature: ${name}`, { kind: 'hmac', hmac: scheme, timestamp }, { secrets: [], hmac: scheme }];
      },
    ),
  ];

  it.each(ways)('is believed with %s', async (_what, credentials, config) => {
    const { h, call } = await platform({ credentials }, config);
    expect(await call.transcript('grüße')).toEqual([OK]);
    await h.webhook.close();
    expect(h.calls.begun).toHaveLength(1);
  });

  it.each(ways.filter(([, { kind }]) => kind !== 'none'))(
    'is not believed with %s of another',
    async (_what, credentials, config) => {
      const wrong: WebhookCredentials =
        credentials.kind === 'hmac'
          ? { ...credentials, hmac: { ...credentials.hmac, secrets: ['other'] } }
          : { kind: credentials.kind === 'bearer' ? 'bearer' : 'secret', secret: 'other' };
      const { h, call } = await platform({ credentials: wrong }, config);
      expect((await call.transcript('hello'))[0]?.status).toBe(401);
      expect((await call.callTools([{ name: 'verify_caller' }]))[0]?.status).toBe(401);
      expect([h.calls.begun, h.calls.verifications]).toEqual([[], []]);
    },
  );

  it('is not believed with a signature from long ago', async () => {
    const scheme = { ...HMAC_VARIANTS.documented.hmac, secrets: ['hmac-s3cret'] };
    const credentials: WebhookCredentials = { kind: 'hmac', hmac: scheme, timestamp: 'seconds' };
    const now = () => Date.now() - 3_600_000;
    const { call } = await platform({ credentials, now }, { secrets: [], hmac: scheme });
    expect((await call.transcript('hello'))[0]?.status).toBe(401);
  });
});
