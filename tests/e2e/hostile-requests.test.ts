/** Requests no client of ours would send, against a server that is configured as in production, each with its exact answer. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Ask, exchangeBytes } from '../support/http-exchange.js';
import { createScopedKeys, type ProductionService, startProductionService } from '../support/production-service.js';
import { expectRefusal, expectUnharmed, type Refusal, textsIn } from '../support/refusals.js';

const ALICE = 'a11ce000-0000-4000-8000-00000000a11c';
const STRANGER = '5742a963-0000-4000-8000-0000000000aa';
const PHONE = '+14155550142';
const AUDIO_URL = 'https://recordings.example.com/secret-recording.wav';
const LISTEN_URL = 'wss://phone.vapi.ai/secret-call/listen';
const access = createScopedKeys();
const secrets = [ALICE, PHONE, AUDIO_URL, LISTEN_URL, 'tapped'];

const INVALID: Refusal = { status: 400, error: 'ValidationError' };
const NOWHERE: Refusal = { status: 404, error: 'NotFound' };
const TOO_LARGE: Refusal = { status: 413, error: 'PayloadTooLarge' };
const WRONG_TYPE: Refusal = { status: 415, error: 'UnsupportedMediaType' };

let service: ProductionService;

beforeAll(async () => {
  service = await startProductionService(access, { secrets });
});
afterAll(() => service?.close());

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
    expectRefusal(await service.askJson('/api/v1/enroll-user', body, 'enroll'), INVALID, [
      'tapped-value',
      PHONE,
      AUDIO_URL,
    ]);
  });

  it.each<[string, NonNullable<Ask['headers']>, Refusal]>([
    ['no content type', {}, WRONG_TYPE],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, WRONG_TYPE],
    ['multipart', { 'content-type': 'multipart/form-data; boundary=x' }, WRONG_TYPE],
    ['JSON of another kind', { 'content-type': 'application/json-patch+json' }, WRONG_TYPE],
    ['another character set', { 'content-type': 'application/json; charset=utf-7' }, WRONG_TYPE],
    ['compression', { 'content-type': 'application/json', 'content-encoding': 'br' }, WRONG_TYPE],
    ['a length of 5 GB', { 'content-type': 'application/json', 'content-length': 5_000_000_000 }, TOO_LARGE],
  ])('announced as %s', async (_what, headers, expected) => {
    const reply = await service.ask({ path: '/api/v1/enroll-user', key: 'enroll', headers, body: enrollText });
    expectRefusal(reply, expected, [AUDIO_URL, PHONE]);
  });

  it.each([
    ['announced', { 'content-length': 3_000_000 }],
    ['in chunks', { 'transfer-encoding': 'chunked' }],
  ])('3 MB, %s', async (_what, headers) => {
    const body = JSON.stringify({ ...enrollBody, phone: '9'.repeat(3_000_000) }).slice(0, 3_000_000);
    const all = { 'content-type': 'application/json', ...headers };
    expectRefusal(await service.ask({ path: '/api/v1/enroll-user', key: 'enroll', headers: all, body }), TOO_LARGE);
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
    expectRefusal(await service.askJson('/api/v1/enroll-user', body, 'enroll'), expected, hostile);
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
    expectRefusal(await service.askJson('/api/v1/verify-password', body, 'verify'), expected, [
      LISTEN_URL,
      ALICE,
      PHONE,
    ]);
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
    expectRefusal(await service.ask({ method, path, key: 'admin' }), expected, [ALICE]);
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
    expectRefusal(await service.ask({ path, key: 'read' }), expected, [ALICE, 'passwd', 'tapped', 'package']);
  });

  it.each<[string, string]>([
    ['correlation ids with markup', '<script>tapped</script>'],
    ['correlation ids that are phone numbers', '14155550199'],
    ['correlation ids of 5,000 characters', 'tapped-'.repeat(700)],
  ])('%s are replaced', async (_what, value) => {
    const reply = await service.ask({ path: '/nowhere', headers: { 'x-correlation-id': value, 'x-call-id': value } });
    expectRefusal(reply, NOWHERE, [value]);
    expect(reply.headers['x-correlation-id']).toMatch(/^[0-9a-f-]{36}$/);
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

  it.each<[string, string, number]>([
    ['no host', 'GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    ['an expectation that nobody meets', `GET /healthz HTTP/1.1\r\n${host}Expect: tapped\r\n\r\n`, 417],
  ])('%s is refused by Node itself, without a word', async (_what, bytes, status) => {
    const reply = await exchangeBytes(service.server.url, bytes);
    expect(reply).toMatchObject({ status, text: expect.not.stringContaining('tapped') });
  });
});

describe('after all that', () => {
  it('the server is unharmed and has kept everything to itself', async () => {
    const strangers = [STRANGER, ALICE];
    await expectUnharmed(service, { enrolled: 0, recorded: 0, strangers, secrets, key: access.keys.read });
  });
});
