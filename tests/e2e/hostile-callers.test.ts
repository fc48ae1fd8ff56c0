/** Callers who may not do what they ask for: bad keys, wrong scopes, unknown users, forged cursors, too much of everything. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApiKey, type Scope } from '../../src/http/api-keys.js';
import {
  createScopedKeys,
  type KeyedAsk,
  type ProductionService,
  startProductionService,
  voiceUpload,
} from '../support/production-service.js';
import { expectRefusal, expectUnharmed, type Refusal } from '../support/refusals.js';

const ALICE = 'a11ce000-0000-4000-8000-00000000a11c';
const STRANGER = '5742a963-0000-4000-8000-0000000000aa';
const PHONE = '+14155550142';
const AUDIO_URL = 'https://recordings.example.com/secret-recording.wav';
const LISTEN_URL = 'wss://phone.vapi.ai/secret-call/listen';
const BOB = 'b0b00000-0000-4000-8000-000000000b0b';
const RATE_LIMIT = 20;
const FAILED_KEYS_LIMIT = 4;
const USER_LIMIT = 5;
const UNKNOWN_KEY = createApiKey('admin-key', ['admin']).key;
const RETIRED_KEY = createApiKey('retired', ['admin']).key;
const { keys, entries } = createScopedKeys();
const secrets = [ALICE, BOB, PHONE, AUDIO_URL, LISTEN_URL, UNKNOWN_KEY, RETIRED_KEY, 'tapped'];

const INVALID: Refusal = { status: 400, error: 'ValidationError' };
const UNAUTHORIZED: Refusal = { status: 401, error: 'Unauthorized', headers: { 'www-authenticate': /^Bearer$/ } };
const FORBIDDEN: Refusal = { status: 403, error: 'Forbidden' };
const NOBODY: Refusal = { status: 404, error: 'UserNotFoundError' };
const RATE_LIMITED: Refusal = { status: 429, error: 'RateLimited', headers: { 'retry-after': /^([1-9]|[1-5]\d|60)$/ } };

let service: ProductionService;

beforeAll(async () => {
  const environment = {
    RATE_LIMIT_PER_MINUTE: String(RATE_LIMIT),
    USER_RATE_LIMIT_PER_MINUTE: String(USER_LIMIT),
    MAX_FAILED_ATTEMPTS: '1',
  };
  service = await startProductionService({ keys, entries }, { environment, secrets });
  for (const userId of [ALICE, BOB]) {
    const enroll = { path: '/api/v1/enroll', key: 'enroll' as const };
    expect((await service.ask({ ...enroll, ...voiceUpload(userId, 'alice-enroll', PHONE) })).status).toBe(200);
  }
});
afterAll(() => service?.close());

describe('keys', () => {
  it.each<[string, Record<string, string>]>([
    ['no key', {}],
    ['an empty header', { authorization: '' }],
    ['a scheme without a key', { authorization: 'Bearer ' }],
    ['another scheme', { authorization: `Basic ${keys.admin}` }],
    ['a key without scheme', { authorization: keys.admin }],
    ['a key in another header', { 'x-api-key': keys.admin }],
    ['a key that was taken away', { authorization: `Bearer ${RETIRED_KEY}` }],
    ['a known id with another secret', { authorization: `Bearer ${UNKNOWN_KEY}` }],
    ['a key and one character', { authorization: `Bearer ${keys.admin}a` }],
    ['a key cut short', { authorization: `Bearer ${keys.admin.slice(0, -1)}` }],
    ['two keys', { authorization: `Bearer ${UNKNOWN_KEY}, Bearer ${keys.admin}` }],
    ['10,000 characters', { authorization: `Bearer ${'v'.repeat(10_000)}` }],
    ['__proto__ as id', { authorization: `Bearer vak___proto___${'a'.repeat(43)}` }],
    ['the configured hash', { authorization: `Bearer ${entries.admin.split(':')[2]}` }],
  ])('%s', async (_what, headers) => {
    const reply = await service.ask({ path: `/api/v1/users/${ALICE}/status`, headers });
    expectRefusal(reply, UNAUTHORIZED, [keys.admin, UNKNOWN_KEY, RETIRED_KEY, 'vvvv']);
  });

  it('a key in the address', async () => {
    const reply = await service.ask({ path: `/api/v1/users/${ALICE}/status?api_key=${keys.read}` });
    expectRefusal(reply, UNAUTHORIZED, [keys.read]);
  });

  const operations: readonly [string, string, Scope][] = [
    ['POST', '/api/v1/enroll-user', 'enroll'],
    ['POST', '/api/v1/enroll', 'enroll'],
    ['POST', '/api/v1/verify-password', 'verify'],
    ['POST', '/api/v1/verify', 'verify'],
    ['GET', `/api/v1/users/${ALICE}/status`, 'read'],
    ['GET', `/api/v1/users/${ALICE}/auth-history`, 'read'],
    ['GET', '/api/v1/health', 'read'],
    ['GET', '/metrics', 'read'],
    ['GET', '/api/v1/users/outdated', 'admin'],
    ['DELETE', `/api/v1/users/${ALICE}`, 'admin'],
  ];
  const wrong = operations.flatMap(([method, path, needed]) =>
    (['enroll', 'verify', 'read'] as const)
      .filter((scope) => scope !== needed)
      .map((scope) => ({ method, path, needed, scope })),
  );

  it.each(wrong)('$method $path needs $needed, not $scope', async ({ method, path, needed, scope }) => {
    const reply = await service.ask({ method, path, key: scope });
    expectRefusal(reply, FORBIDDEN, [keys[scope], ALICE]);
    expect(JSON.parse(reply.text).message).toContain(`"${needed}"`);
  });

  it.each(operations)('%s %s with no key says nothing', async (method, path) => {
    expectRefusal(await service.ask({ method, path }), UNAUTHORIZED, [ALICE]);
  });
});

describe('users', () => {
  const cursor = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const id = '00000000-0000-4000-8000-000000000001';
  const history = (query: string) => ({ path: `/api/v1/users/${ALICE}/auth-history?${query}`, key: 'read' as const });

  it.each<[string, string]>([
    ['a limit of 0', 'limit=0'],
    ['a limit of 201', 'limit=201'],
    ['a negative limit', 'limit=-1'],
    ['a limit that is no number', 'limit=tapped'],
    ['a limit in hexadecimal', 'limit=0x10'],
    ['two limits', 'limit=1&limit=2'],
    ['a limit as array', 'limit[]=1'],
    ['an empty cursor', 'before='],
    ['two cursors', 'before=a&before=b'],
    ['a cursor that is none', 'before=tapped'],
    ['a cursor of other things', `before=${cursor({ tapped: true })}`],
    ['a cursor without a time', `before=${cursor([null, id])}`],
    ['a cursor with SQL', `before=${cursor(["now()'; drop table users --", id])}`],
    ['a cursor of a 13th month', `before=${cursor(['2024-13-01T00:00:00Z', id])}`],
    ['a cursor of a 30th February', `before=${cursor(['2024-02-30T00:00:00Z', id])}`],
    ['a cursor of the year 0', `before=${cursor(['0000-01-01T00:00:00Z', id])}`],
    ['a cursor of an impossible time zone', `before=${cursor(['2024-01-01T00:00:00+23:59', id])}`],
    ['a cursor of 24 hours', `before=${cursor(['2024-01-01T24:00:00Z', id])}`],
    ['a cursor of no row', `before=${cursor(['2024-01-01T00:00:00Z', 'tapped'])}`],
    ['a cursor too long', `before=${'a'.repeat(300)}`],
    ['an unknown question', 'order=tapped'],
  ])('history with %s', async (_what, query) => {
    expectRefusal(await service.ask(history(query)), INVALID, ['tapped', ALICE, query.slice(query.indexOf('=') + 1)]);
  });

  it('history before a made-up, possible place is just empty', async () => {
    const reply = await service.ask(history(`before=${cursor(['0001-01-01T00:00:00.000001Z', id])}`));
    expect([reply.status, JSON.parse(reply.text)]).toMatchObject([200, { attempts: [], next: null }]);
  });

  it.each<[string, KeyedAsk]>([
    ['status', { path: `/api/v1/users/${STRANGER}/status`, key: 'read' }],
    ['history', { path: `/api/v1/users/${STRANGER}/auth-history`, key: 'read' }],
    ['erasure', { method: 'DELETE', path: `/api/v1/users/${STRANGER}`, key: 'admin' }],
    ['verification of an upload', { path: '/api/v1/verify', key: 'verify', ...voiceUpload(STRANGER, 'alice-call-1') }],
    [
      'verification of a call',
      {
        path: '/api/v1/verify-password',
        key: 'verify',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ userId: STRANGER, listenUrl: LISTEN_URL }),
      },
    ],
  ])('%s of somebody unknown', async (_what, request) => {
    expectRefusal(await service.ask(request), NOBODY, [STRANGER, LISTEN_URL]);
  });
});

describe('limits', () => {
  it('of bad keys from one address, while a good key passes', async () => {
    const client = '203.0.113.1';
    const guess = () => service.ask({ path: '/api/v1/health', client, headers: { authorization: 'Bearer guess' } });
    for (let i = 0; i < FAILED_KEYS_LIMIT; i++) expectRefusal(await guess(), UNAUTHORIZED, ['guess']);
    expectRefusal(await guess(), RATE_LIMITED, ['guess']);
    expect((await service.ask({ path: '/api/v1/health', client, key: 'read' })).status).toBe(200);
  });

  it('of requests from one address', async () => {
    const request: KeyedAsk = { path: `/api/v1/users/${STRANGER}/status`, key: 'read', client: '203.0.113.2' };
    for (let i = 0; i < RATE_LIMIT; i++) expectRefusal(await service.ask(request), NOBODY);
    expectRefusal(await service.ask(request), RATE_LIMITED, ['203.0.113.2', STRANGER]);
  });

  it('of verifications of one user from many addresses, in any spelling', async () => {
    const victim = 'fade0000-0000-4000-8000-00000000fade';
    const verify = (userId: string) =>
      service.askJson('/api/v1/verify-password', { userId, audioUrl: AUDIO_URL }, 'verify');
    for (let i = 0; i < USER_LIMIT; i++) expectRefusal(await verify(victim), NOBODY, [AUDIO_URL]);
    expectRefusal(await verify(victim.toUpperCase()), RATE_LIMITED, [victim, AUDIO_URL]);
  });

  it('of failed attempts: the account is locked, also for its owner', async () => {
    const verify = (voice: string) =>
      service.ask({ path: '/api/v1/verify', key: 'verify', ...voiceUpload(BOB, voice) });
    const rejected = await verify('bob-call-1');
    expect([rejected.status, JSON.parse(rejected.text)]).toMatchObject([200, { success: false, decision: 'reject' }]);
    const locked: Refusal = {
      status: 423,
      error: 'AccountLockedError',
      headers: { 'retry-after': /^(8[5-9]\d|900)$/ },
      details: { locked_until: expect.stringMatching(/Z$/) },
    };
    expectRefusal(await verify('alice-call-1'), locked, [BOB]);
  });
});

describe('after all that', () => {
  it('the server is unharmed and has kept everything to itself', async () => {
    await expectUnharmed(service, {
      enrolled: 2,
      recorded: 2,
      strangers: [STRANGER],
      secrets,
      key: keys.read,
    });
    const history = await service.ask({ path: `/api/v1/users/${ALICE}/auth-history`, key: 'read' });
    expect(JSON.parse(history.text).attempts).toEqual([]);
    const locked = JSON.parse((await service.ask({ path: `/api/v1/users/${BOB}/auth-history`, key: 'read' })).text);
    expect(locked.attempts.map(({ reason }: { reason: string }) => reason)).toEqual(['locked_out', 'no_match']);
  });
});
