/** Requests no client of ours would send, against a server that is configured as in production, each with its exact answer. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApiKey, type Scope } from '../../src/http/api-keys.js';
import { type Ask, exchange, exchangeBytes, form, type Reply } from '../support/http-exchange.js';
import { type LocalService, startLocalService } from '../support/local-service.js';
import { expectRefusal, expectUnharmed, type Refusal, textsIn } from '../support/refusals.js';

const ALICE = 'a11ce000-0000-4000-8000-00000000a11c';
const BOB = 'b0b00000-0000-4000-8000-000000000b0b';
const STRANGER = '5742a963-0000-4000-8000-0000000000aa';
const PHONE = '+14155550142';
const AUDIO_URL = 'https://recordings.example.com/secret-recording.wav';
const LISTEN_URL = 'wss://phone.vapi.ai/secret-call/listen';
const RATE_LIMIT = 20;
const FAILED_KEYS_LIMIT = 4;
const USER_LIMIT = 5;

const SCOPES = ['enroll', 'verify', 'read', 'admin'] as const;
const MADE = SCOPES.map((scope) => ({ scope, ...createApiKey(`${scope}-key`, [scope]) }));
const KEYS = Object.fromEntries(MADE.map(({ scope, key }) => [scope, key])) as Record<Scope, string>;
const secrets = [...Object.values(KEYS), ALICE, PHONE, AUDIO_URL, LISTEN_URL];

const INVALID: Refusal = { status: 400, error: 'ValidationError' };
const UNAUTHORIZED: Refusal = { status: 401, error: 'Unauthorized', headers: { 'www-authenticate': /^Bearer$/ } };
const FORBIDDEN: Refusal = { status: 403, error: 'Forbidden' };
const NOWHERE: Refusal = { status: 404, error: 'NotFound' };
const NOBODY: Refusal = { status: 404, error: 'UserNotFoundError' };
const TOO_LARGE: Refusal = { status: 413, error: 'PayloadTooLarge' };
const WRONG_TYPE: Refusal = { status: 415, error: 'UnsupportedMediaType' };
const RATE_LIMITED: Refusal = { status: 429, error: 'RateLimited', headers: { 'retry-after': /^([1-9]|[1-5]\d|60)$/ } };

let service: LocalService;

beforeAll(async () => {
  service = await startLocalService(
    {
      NODE_ENV: 'production',
      HOST: '127.0.0.1',
      API_KEYS: MADE.map(({ entry }) => entry).join(','),
      ALLOW_PRIVATE_NETWORK: 'false',
      METRICS_PUBLIC: 'false',
      // Every request of the table comes from a client of its own, except where the limits are the matter.
      TRUST_PROXY: '1',
      RATE_LIMIT_PER_MINUTE: String(RATE_LIMIT),
      USER_RATE_LIMIT_PER_MINUTE: String(USER_LIMIT),
      MAX_FAILED_ATTEMPTS: '1',
    },
    { secrets },
  );
  for (const userId of [ALICE, BOB]) {
    const enrolled = await ask({ path: '/api/v1/enroll', key: 'enroll', ...upload(userId, 'alice-enroll', PHONE) });
    expect(enrolled.status).toBe(200);
  }
});
afterAll(() => service?.close());

interface KeyedAsk extends Ask {
  readonly key?: Scope;
  readonly client?: string;
}

let clients = 0;

function ask({ key, client, headers, ...rest }: KeyedAsk): Promise<Reply> {
  clients += 1;
  return exchange(service.server.url, {
    ...rest,
    headers: {
      'x-forwarded-for': client ?? `198.18.${clients >> 8}.${clients & 255}`,
      ...(key === undefined ? {} : { authorization: `Bearer ${KEYS[key]}` }),
      ...headers,
    },
  });
}

function askJson(path: string, body: unknown, key: Scope): Promise<Reply> {
  const text = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
  return ask({ path, key, headers: { 'content-type': 'application/json' }, body: text });
}

function upload(userId: string, voice: string, phone?: string) {
  return form([
    { name: 'user_id', value: userId },
    ...(phone === undefined ? [] : [{ name: 'phone', value: phone }]),
    {
      name: 'audio',
      filename: 'a.wav',
      value: readFileSync(new URL(`../fixtures/voices/${voice}.wav`, import.meta.url)),
    },
  ]);
}

const enrollBody = { userId: STRANGER, phone: PHONE, audioUrl: AUDIO_URL };
const verifyBody = { userId: ALICE, listenUrl: LISTEN_URL };
const enrollText = JSON.stringify(enrollBody);

describe('bodies that are no JSON of ours', () => {
  it.each<[string, string | Uint8Array]>([
    ['nothing at all', ''],
    ['an end too early', enrollText.slice(0, -1)],
    ['something after the end', `${enrollText}{}`],
    ['single quotes', "{'userId':'tapped-value'}"],
    ['NaN', `{"userId":"${ALICE}","listenUrl":"${LISTEN_URL}","threshold":NaN}`],
    ['an array', `[${enrollText}]`],
    ['a string', '"tapped-value"'],
    ['null', 'null'],
    ['50,000 nested arrays', `${'['.repeat(50_000)}${']'.repeat(50_000)}`],
    ['50,000 nested arrays that never end', '['.repeat(50_000)],
    ['nesting where a text belongs', enrollText.replace(`"${PHONE}"`, `${'{"a":'.repeat(9_000)}1${'}'.repeat(9_000)}`)],
    ['Latin-1', Buffer.from(enrollText.replace('secret', 's\u00e9cret'), 'latin1')],
    ['UTF-16', Buffer.from(enrollText, 'utf16le')],
    ['overlong UTF-8', Buffer.from('7b22c0af223a317d', 'hex')],
    ['a raw control character', enrollText.replace('recordings', 'recor\u0000dings')],
    ['a form', 'userId=tapped-value&phone=1'],
  ])('%s', async (_what, body) => {
    expectRefusal(await askJson('/api/v1/enroll-user', body, 'enroll'), INVALID, ['tapped-value', PHONE, AUDIO_URL]);
  });

  it.each<[string, Ask['headers'], Refusal]>([
    ['no content type', {}, WRONG_TYPE],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, WRONG_TYPE],
    ['multipart', { 'content-type': 'multipart/form-data; boundary=x' }, WRONG_TYPE],
    ['JSON of another kind', { 'content-type': 'application/json-patch+json' }, WRONG_TYPE],
    ['another character set', { 'content-type': 'application/json; charset=utf-7' }, WRONG_TYPE],
    ['compression', { 'content-type': 'application/json', 'content-encoding': 'br' }, WRONG_TYPE],
    ['a length of 5 GB', { 'content-type': 'application/json', 'content-length': 5_000_000_000 }, TOO_LARGE],
  ])('announced as %s', async (_what, headers, expected) => {
    const reply = await ask({ path: '/api/v1/enroll-user', key: 'enroll', headers, body: enrollText });
    expectRefusal(reply, expected, [AUDIO_URL, PHONE]);
  });

  it.each([
    ['announced', { 'content-length': 3_000_000 }],
    ['in chunks', { 'transfer-encoding': 'chunked' }],
  ])('3 MB, %s', async (_what, headers) => {
    const body = JSON.stringify({ ...enrollBody, phone: '9'.repeat(3_000_000) }).slice(0, 3_000_000);
    const all = { 'content-type': 'application/json', ...headers };
    expectRefusal(await ask({ path: '/api/v1/enroll-user', key: 'enroll', headers: all, body }), TOO_LARGE);
  });
});

describe('fields that are not what they should be', () => {
  const polluted = (json: string) => `${enrollText.slice(0, -1)},${json}}`;

  it.each<[string, string, unknown]>([
    ['an empty object', 'userId', {}],
    ['no user', 'userId', { phone: PHONE, audioUrl: AUDIO_URL }],
    ['no phone', 'phone', { userId: STRANGER, audioUrl: AUDIO_URL }],
    ['no source', 'audioUrl', { userId: STRANGER, phone: PHONE }],
    ['both sources', 'audioUrl', { ...enrollBody, listenUrl: LISTEN_URL }],
    ['an unknown field', '', { ...enrollBody, isAdmin: 'tapped-value' }],
    ['__proto__', '', polluted('"__proto__":{"isAdmin":"tapped-value"}')],
    ['constructor', '', polluted('"constructor":{"prototype":{"isAdmin":"tapped-value"}}')],
    ['a field twice, good then bad', 'userId', polluted('"userId":"tapped-value"')],
    ['a number as user', 'userId', { ...enrollBody, userId: 1e21 }],
    ['a user that is no UUID', 'userId', { ...enrollBody, userId: 'tapped-value' }],
    ['SQL in the user', 'userId', { ...enrollBody, userId: `${STRANGER}'; drop table users; --` }],
    ['a UUID and a line feed', 'userId', { ...enrollBody, userId: `${STRANGER}\n` }],
    ['a UUID of look-alikes', 'userId', { ...enrollBody, userId: STRANGER.replace('a', 'а') }],
    ['an operator as phone', 'phone', { ...enrollBody, phone: { $gt: 'tapped-value' } }],
    ['an array as phone', 'phone', { ...enrollBody, phone: [PHONE] }],
    ['null as phone', 'phone', { ...enrollBody, phone: null }],
    ['a phone without plus', 'phone', { ...enrollBody, phone: '14155550199' }],
    ['a phone with a zero first', 'phone', { ...enrollBody, phone: '+0415555019' }],
    ['a phone too short', 'phone', { ...enrollBody, phone: '+1911' }],
    ['a phone too long', 'phone', { ...enrollBody, phone: '+1415555019912345' }],
    ['a phone with blanks', 'phone', { ...enrollBody, phone: '+1 415 555 0199' }],
    ['a phone in Arabic digits', 'phone', { ...enrollBody, phone: '+١٤١٥٥٥٥٠١٩٩' }],
    ['a phone and a line feed', 'phone', { ...enrollBody, phone: '+14155550199\n' }],
    ['a channel of 2', 'channel', { ...enrollBody, channel: 2 }],
    ['a channel as text', 'channel', { ...enrollBody, channel: '0' }],
    ['control characters to be stored', 'consentReference', { ...enrollBody, consentReference: 'tapped\u0000value' }],
    ['half a character to be stored', 'consentReference', { ...enrollBody, consentReference: 'tapped\ud800value' }],
    ['a long text to be stored', 'consentReference', { ...enrollBody, consentReference: 'tapped-value'.repeat(20) }],
    ['a URL that is none', 'audioUrl', { ...enrollBody, audioUrl: 'tapped-value' }],
    ['a URL of 3,000 characters', 'audioUrl', { ...enrollBody, audioUrl: AUDIO_URL.padEnd(3000, 'a') }],
    ['a listening time for a recording', 'maxSeconds', { ...enrollBody, maxSeconds: 10 }],
  ])('enrolling with %s', async (_what, path, body) => {
    const expected = { ...INVALID, details: expect.arrayContaining([expect.objectContaining({ path })]) };
    const hostile = typeof body === 'string' ? ['tapped-value', 'isAdmin'] : [...textsIn(body), 'isAdmin'];
    expectRefusal(await askJson('/api/v1/enroll-user', body, 'enroll'), expected, hostile);
    expect({}).not.toHaveProperty('isAdmin');
  });

  it.each<[string, string, unknown]>([
    ['a threshold below the configured one', 'threshold', { ...verifyBody, threshold: 0.8199 }],
    ['a negative threshold', 'threshold', { ...verifyBody, threshold: -1 }],
    ['a threshold of 1', 'threshold', { ...verifyBody, threshold: 1 }],
    ['an infinite threshold', 'threshold', `${JSON.stringify(verifyBody).slice(0, -1)},"threshold":1e999}`],
    ['a threshold as text', 'threshold', { ...verifyBody, threshold: '0.9' }],
    ['null as threshold', 'threshold', { ...verifyBody, threshold: null }],
    ['no listening time', 'maxSeconds', { ...verifyBody, maxSeconds: 0 }],
    ['a listening time of a month', 'maxSeconds', { ...verifyBody, maxSeconds: 2_592_000 }],
    ['a listening time as text', 'maxSeconds', { ...verifyBody, maxSeconds: '10' }],
    ['a phone', '', { ...verifyBody, phone: PHONE }],
    ['no source', 'audioUrl', { userId: ALICE }],
    ['both sources', 'audioUrl', { ...verifyBody, audioUrl: AUDIO_URL }],
    ['a channel of a call', 'channel', { ...verifyBody, channel: 1 }],
  ])('verifying with %s', async (_what, path, body) => {
    const expected = { ...INVALID, details: [{ path }] };
    expectRefusal(await askJson('/api/v1/verify-password', body, 'verify'), expected, [LISTEN_URL, ALICE, PHONE]);
  });
});

describe('keys', () => {
  const unknown = createApiKey('admin-key', ['admin']).key;
  const retired = createApiKey('retired', ['admin']).key;
  secrets.push(unknown, retired);

  it.each<[string, Record<string, string>]>([
    ['no key', {}],
    ['an empty header', { authorization: '' }],
    ['a scheme without a key', { authorization: 'Bearer ' }],
    ['another scheme', { authorization: `Basic ${KEYS.admin}` }],
    ['a key without scheme', { authorization: KEYS.admin }],
    ['a key in another header', { 'x-api-key': KEYS.admin }],
    ['a key that was taken away', { authorization: `Bearer ${retired}` }],
    ['a known id with another secret', { authorization: `Bearer ${unknown}` }],
    ['a key and one character', { authorization: `Bearer ${KEYS.admin}a` }],
    ['a key cut short', { authorization: `Bearer ${KEYS.admin.slice(0, -1)}` }],
    ['two keys', { authorization: `Bearer ${unknown}, Bearer ${KEYS.admin}` }],
    ['10,000 characters', { authorization: `Bearer ${'v'.repeat(10_000)}` }],
    ['__proto__ as id', { authorization: `Bearer vak___proto___${'a'.repeat(43)}` }],
    ['the configured hash', { authorization: `Bearer ${MADE[3]!.entry.split(':')[2]}` }],
  ])('%s', async (_what, headers) => {
    const reply = await ask({ path: `/api/v1/users/${ALICE}/status`, headers });
    expectRefusal(reply, UNAUTHORIZED, [KEYS.admin, unknown, retired, 'vvvv']);
  });

  it('a key in the address', async () => {
    const reply = await ask({ path: `/api/v1/users/${ALICE}/status?api_key=${KEYS.read}` });
    expectRefusal(reply, UNAUTHORIZED, [KEYS.read]);
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
    ['DELETE', `/api/v1/users/${ALICE}`, 'admin'],
  ];
  const wrong = operations.flatMap(([method, path, needed]) =>
    (['enroll', 'verify', 'read'] as const)
      .filter((scope) => scope !== needed)
      .map((scope) => ({ method, path, needed, scope })),
  );

  it.each(wrong)('$method $path needs $needed, not $scope', async ({ method, path, needed, scope }) => {
    const reply = await ask({ method, path, key: scope });
    expectRefusal(reply, FORBIDDEN, [KEYS[scope], ALICE]);
    expect(JSON.parse(reply.text).message).toContain(`"${needed}"`);
  });

  it.each(operations)('%s %s with no key says nothing', async (method, path) => {
    expectRefusal(await ask({ method, path }), UNAUTHORIZED, [ALICE]);
  });
});

describe('ways that lead nowhere', () => {
  it.each<[string, string, string, string]>([
    ['GET', '/api/v1/enroll-user', 'POST', 'enroll'],
    ['PUT', '/api/v1/enroll', 'POST', 'enroll'],
    ['DELETE', '/api/v1/verify-password', 'POST', 'verify'],
    ['PATCH', '/api/v1/verify', 'POST', 'verify'],
    ['POST', `/api/v1/users/${ALICE}/status`, 'GET, HEAD', 'read'],
    ['GET', `/api/v1/users/${ALICE}`, 'DELETE', 'read'],
    ['TRACE', '/healthz', 'GET, HEAD', 'read'],
    ['PROPFIND', '/', 'GET, HEAD', 'read'],
  ])('%s %s', async (method, path, allowed) => {
    const expected: Refusal = {
      status: 405,
      error: 'MethodNotAllowed',
      headers: { allow: new RegExp(`^${allowed}$`) },
    };
    expectRefusal(await ask({ method, path, key: 'admin' }), expected, [ALICE]);
  });

  it.each<[string, string, Refusal]>([
    ['an unknown page', '/wp-login.php', NOWHERE],
    ['an unknown operation', '/api/v1/tapped-value', NOWHERE],
    ['another version', `/api/v2/users/${ALICE}/status`, NOWHERE],
    ['a file of ours', '/package.json', NOWHERE],
    ['a hidden file', '/.env', NOWHERE],
    ['a file beside the documentation', '/docs/package.json', NOWHERE],
    ['dots', '/api/v1/users/../../../../etc/passwd', NOWHERE],
    ['dots in the documentation', '/docs/../../../package.json', NOWHERE],
    ['encoded dots', '/docs/%2e%2e/%2e%2e/package.json', NOWHERE],
    ['encoded slashes', '/docs/..%2f..%2fpackage.json', NOWHERE],
    ['backslashes', '/docs/..\\..\\package.json', NOWHERE],
    ['two slashes', `//api/v1/users/${ALICE}/status`, NOWHERE],
    ['a trailing NUL', `/api/v1/users/${ALICE}/status%00`, NOWHERE],
    ['a path parameter', `/api/v1/users/${ALICE};role=admin/status`, INVALID],
    ['encoded dots as user', '/api/v1/users/..%2f..%2fetc%2fpasswd/status', INVALID],
    ['a NUL in the user', `/api/v1/users/${ALICE}%00/status`, INVALID],
    ['a user encoded twice', `/api/v1/users/${ALICE.replace('-', '%252d')}/status`, INVALID],
    ['a user that is __proto__', '/api/v1/users/__proto__/status', INVALID],
    ['8,000 characters as user', `/api/v1/users/${'tapped'.repeat(1300)}/status`, INVALID],
    ['an escape that is none', '/api/v1/users/%zz/status', INVALID],
    ['an escape that is no UTF-8', '/api/v1/users/%c0%ae%c0%ae/status', INVALID],
    ['an unknown question', `/api/v1/users/${ALICE}/status?tapped=1`, INVALID],
  ])('%s', async (_what, path, expected) => {
    expectRefusal(await ask({ path, key: 'read' }), expected, [ALICE, 'passwd', 'tapped', 'package']);
  });

  it.each<[string, string]>([
    ['correlation ids with markup', '<script>tapped</script>'],
    ['correlation ids that are phone numbers', '14155550199'],
    ['correlation ids of 5,000 characters', 'tapped-'.repeat(700)],
  ])('%s are replaced', async (_what, value) => {
    const reply = await ask({ path: '/nowhere', headers: { 'x-correlation-id': value, 'x-call-id': value } });
    expectRefusal(reply, NOWHERE, [value]);
    expect(reply.headers['x-correlation-id']).toMatch(/^[0-9a-f-]{36}$/);
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
    expectRefusal(await ask(history(query)), INVALID, ['tapped', ALICE, query.slice(query.indexOf('=') + 1)]);
  });

  it('history before a made-up, possible place is just empty', async () => {
    const reply = await ask(history(`before=${cursor(['0001-01-01T00:00:00.000001Z', id])}`));
    expect([reply.status, JSON.parse(reply.text)]).toMatchObject([200, { attempts: [], next: null }]);
  });

  it.each<[string, KeyedAsk]>([
    ['status', { path: `/api/v1/users/${STRANGER}/status`, key: 'read' }],
    ['history', { path: `/api/v1/users/${STRANGER}/auth-history`, key: 'read' }],
    ['erasure', { method: 'DELETE', path: `/api/v1/users/${STRANGER}`, key: 'admin' }],
    ['verification of an upload', { path: '/api/v1/verify', key: 'verify', ...upload(STRANGER, 'alice-call-1') }],
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
    expectRefusal(await ask(request), NOBODY, [STRANGER, LISTEN_URL]);
  });
});

describe('bytes that are no HTTP', () => {
  const host = 'Host: 127.0.0.1\r\nConnection: close\r\n';

  it.each<[string, string, Pick<Refusal, 'status' | 'error'>]>([
    ['nonsense', 'tapped nonsense\r\n\r\n', INVALID],
    ['TLS', '\u0016\u0003\u0001\u0002\u0000\u0001\u0000', INVALID],
    ['HTTP/9.9', `GET / HTTP/9.9\r\n${host}\r\n`, INVALID],
    ['two lengths', `POST /api/v1/verify HTTP/1.1\r\n${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`, INVALID],
    [
      'a length and chunks',
      `POST /api/v1/verify HTTP/1.1\r\n${host}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      INVALID,
    ],
    ['a header with a line feed', `GET /healthz HTTP/1.1\r\n${host}X: a\nGET /tapped HTTP/1.1\n\r\n\r\n`, INVALID],
    ['a NUL in a header', `GET /healthz HTTP/1.1\r\n${host}X: tap\u0000ped\r\n\r\n`, INVALID],
    [
      'an address of 40,000 characters',
      `GET /${'tapped'.repeat(7000)} HTTP/1.1\r\n${host}\r\n`,
      { status: 431, error: 'PayloadTooLarge' },
    ],
    [
      '40,000 characters of headers',
      `GET / HTTP/1.1\r\n${host}X: ${'tapped'.repeat(7000)}\r\n\r\n`,
      { status: 431, error: 'PayloadTooLarge' },
    ],
  ])('%s', async (_what, bytes, expected) => {
    expectRefusal(await exchangeBytes(service.server.url, bytes), expected, ['tapped']);
  });
});

describe('limits', () => {
  it('of bad keys from one address, while a good key passes', async () => {
    const client = '203.0.113.1';
    const guess = () => ask({ path: '/api/v1/health', client, headers: { authorization: 'Bearer guess' } });
    for (let i = 0; i < FAILED_KEYS_LIMIT; i++) expectRefusal(await guess(), UNAUTHORIZED, ['guess']);
    expectRefusal(await guess(), RATE_LIMITED, ['guess']);
    expect((await ask({ path: '/api/v1/health', client, key: 'read' })).status).toBe(200);
  });

  it('of requests from one address', async () => {
    const request: KeyedAsk = { path: `/api/v1/users/${STRANGER}/status`, key: 'read', client: '203.0.113.2' };
    for (let i = 0; i < RATE_LIMIT; i++) expectRefusal(await ask(request), NOBODY);
    expectRefusal(await ask(request), RATE_LIMITED, ['203.0.113.2', STRANGER]);
  });

  it('of verifications of one user from many addresses, in any spelling', async () => {
    const victim = 'fade0000-0000-4000-8000-00000000fade';
    const verify = (userId: string) => askJson('/api/v1/verify-password', { userId, audioUrl: AUDIO_URL }, 'verify');
    for (let i = 0; i < USER_LIMIT; i++) expectRefusal(await verify(victim), NOBODY, [AUDIO_URL]);
    expectRefusal(await verify(victim.toUpperCase()), RATE_LIMITED, [victim, AUDIO_URL]);
  });

  it('of failed attempts: the account is locked, also for its owner', async () => {
    const verify = (voice: string) => ask({ path: '/api/v1/verify', key: 'verify', ...upload(BOB, voice) });
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
      key: KEYS.read,
    });
    const history = await ask({ path: `/api/v1/users/${ALICE}/auth-history`, key: 'read' });
    expect(JSON.parse(history.text).attempts).toEqual([]);
    const locked = JSON.parse((await ask({ path: `/api/v1/users/${BOB}/auth-history`, key: 'read' })).text);
    expect(locked.attempts.map(({ reason }: { reason: string }) => reason)).toEqual(['locked_out', 'no_match']);
  });
});
