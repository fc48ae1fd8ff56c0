/** Audio and listen URLs that would make the service dial where it must not, each refused before anything is dialled. */
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApiKey } from '../../src/http/api-keys.js';
import { exchange, form, type Reply } from '../support/http-exchange.js';
import { type LocalService, startLocalService } from '../support/local-service.js';
import { expectRefusal, expectUnharmed, type Refusal } from '../support/refusals.js';

const ALICE = 'a11ce000-0000-4000-8000-00000000a11c';
const STRANGER = '5742a963-0000-4000-8000-0000000000aa';
const PHONE = '+14155550142';
const PATH = 'tapped-path';
const { key, entry } = createApiKey('tester', ['enroll', 'verify', 'read']);
const secrets = [key, PHONE, PATH, ALICE];

type Field = 'audioUrl' | 'listenUrl';

let service: LocalService;
let canary: Server;
let canaryPort = 0;
let contacts = 0;

beforeAll(async () => {
  // On every address of this machine: whatever notation of it gets through, it is heard.
  canary = createServer((socket) => {
    contacts += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => canary.listen(0, resolve));
  const address = canary.address();
  canaryPort = typeof address === 'object' ? (address?.port ?? 0) : 0;
  service = await startLocalService(
    {
      NODE_ENV: 'production',
      HOST: '127.0.0.1',
      API_KEYS: entry,
      ALLOW_PRIVATE_NETWORK: 'false',
      // Lists of hosts are no way around the rules for addresses.
      LISTEN_HOSTS: '*.vapi.ai,127.0.0.1,localhost,*.localhost,10.0.0.1,[::1],*.internal',
      AUDIO_HOSTS: '*.example.com,127.0.0.1,localhost,*.localhost,10.0.0.1,[::1],*.internal',
    },
    { secrets },
  );
  const enrolled = await exchange(service.server.url, {
    path: '/api/v1/enroll',
    ...withKey(
      form([
        { name: 'user_id', value: ALICE },
        { name: 'audio', filename: 'a.wav', value: voice('alice-enroll') },
      ]),
    ),
  });
  expect(enrolled.status).toBe(200);
});
afterAll(async () => {
  canary?.close();
  await service?.close();
});

function voice(name: string): Uint8Array {
  return readFileSync(new URL(`../fixtures/voices/${name}.wav`, import.meta.url));
}

function withKey<T extends { readonly headers?: object }>(request: T) {
  return { ...request, headers: { ...request.headers, authorization: `Bearer ${key}` } };
}

/** Enrolls a stranger from the URL, or verifies the enrolled user, for whom listening would really begin. */
function ask(path: '/api/v1/enroll-user' | '/api/v1/verify-password', field: Field, url: string): Promise<Reply> {
  const who = path === '/api/v1/enroll-user' ? { userId: STRANGER, phone: PHONE } : { userId: ALICE };
  const body = JSON.stringify({ ...who, [field]: url });
  return exchange(service.server.url, { path, ...withKey({ headers: { 'content-type': 'application/json' } }), body });
}

function refused(field: Field, message: string): Refusal {
  return { status: 400, error: 'ValidationError', details: [{ path: field, message }] };
}

async function expectRefusedEverywhere(field: Field, url: string, message: string): Promise<void> {
  for (const path of ['/api/v1/enroll-user', '/api/v1/verify-password'] as const) {
    expectRefusal(await ask(path, field, url), refused(field, message), [url, PATH, PHONE, new URL(url).hostname]);
  }
}

const SCHEME: Readonly<Record<Field, string>> = { audioUrl: 'https', listenUrl: 'wss' };

describe.each(['audioUrl', 'listenUrl'] as const)('%s', (field) => {
  it.each([
    '127.0.0.1',
    '127.1',
    '127.0.1',
    '127.255.255.254',
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '0177.0.0.1',
    '017700000001',
    '127.0.0.1.',
    '１２７.0.0.1',
    '127。0。0。1',
    '%31%32%37.0.0.1',
    '0',
    '0.0.0.0',
    '0.1.2.3',
    '10.0.0.1',
    '10.255.255.255',
    '100.64.0.1',
    '100.127.255.255',
    '169.254.169.254',
    '0xa9fea9fe',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.8',
    '192.0.2.1',
    '192.88.99.1',
    '192.168.1.1',
    '198.18.0.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '[::]',
    '[::1]',
    '[0:0:0:0:0:0:0:1]',
    '[::127.0.0.1]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[::ffff:0:7f00:1]',
    '[64:ff9b::7f00:1]',
    '[64:ff9b:1::a00:1]',
    '[2002:7f00:1::]',
    '[2001:0:7f00:1::]',
    '[2001:db8::1]',
    '[100::1]',
    '[fe80::1]',
    '[fec0::1]',
    '[fc00::1]',
    '[fd00:ec2::254]',
    '[ff02::1]',
    'localhost',
    'localhost.',
    'LOCALHOST',
    'ⓛocalhost',
    'anything.localhost',
    'metadata.google.internal',
    'metadata',
    'router',
    'printer.local',
    'nas.lan',
    'db.corp',
    'gateway.home.arpa',
    '1.0.0.127.in-addr.arpa',
  ])('does not reach %s', async (host) => {
    const url = `${SCHEME[field]}://${host}:${canaryPort}/${PATH}`;
    await expectRefusedEverywhere(field, url, 'must name a public host');
  });

  it.each([22, 25, 80, 1023])('does not reach port %i of a public host', async (port) => {
    const host = field === 'audioUrl' ? 'recordings.example.com' : 'phone.vapi.ai';
    const url = `${SCHEME[field]}://${host}:${port}/${PATH}`;
    await expectRefusedEverywhere(field, url, 'must use the standard port or one from 1024 up');
  });

  it.each([
    ['a public address', '93.184.215.14'],
    ['another domain', 'vapi.ai.attacker.example.org'],
    ['a name that only ends alike', 'evilvapi.ai'],
    ['the domain itself', field === 'audioUrl' ? 'example.com' : 'vapi.ai'],
    ['an allowed host as user name', 'attacker.example.org/phone.vapi.ai'],
    ['an allowed host behind a question mark', 'attacker.example.org?.vapi.ai'],
    ['an allowed host behind a fragment', 'attacker.example.org#.example.com'],
    ['an allowed host behind a backslash', 'attacker.example.org\\.vapi.ai'],
    ['a look-alike', 'phone.vаpi.ai'],
  ])('does not reach hosts that are not listed: %s', async (_what, rest) => {
    const message = 'names a host that is not on the list of allowed hosts';
    await expectRefusedEverywhere(field, `${SCHEME[field]}://${rest}/${PATH}`, message);
  });

  it.each([
    ['a user name', 'tapped@'],
    ['a password', ':tapped@'],
    ['an allowed host as user name', 'phone.vapi.ai@'],
    ['an encoded one', 'a%40b:c@'],
  ])('has no %s', async (_what, credentials) => {
    const host = field === 'audioUrl' ? 'recordings.example.com' : 'phone.vapi.ai';
    const url = `${SCHEME[field]}://${credentials}${host}/${PATH}`;
    await expectRefusedEverywhere(field, url, 'must not contain a user name or password');
  });

  it.each([
    'file:///etc/tapped-path',
    'ftp://recordings.example.com/tapped-path',
    'gopher://127.0.0.1:6379/_tapped-path',
    'data:audio/wav;base64,tapped-path',
    'javascript:tapped-path()',
    'blob:https://recordings.example.com/tapped-path',
    'unix:/var/run/tapped-path',
    'tapped-path',
    '/tapped-path',
    '//recordings.example.com/tapped-path',
    'https//recordings.example.com/tapped-path',
    'https://',
    'https://[::1/tapped-path',
    'https://exa mple.com/tapped-path',
    'https://300.1.2.3/tapped-path',
    'https://recordings.example.com:99999/tapped-path',
    '',
  ])('is not %s', async (url) => {
    const message = field === 'audioUrl' ? 'must be an https URL' : 'must be a wss URL';
    expectRefusal(await ask('/api/v1/enroll-user', field, url), refused(field, message), [url, PATH]);
    expectRefusal(await ask('/api/v1/verify-password', field, url), refused(field, message), [url, PATH]);
  });

  it('is not sent in the open', async () => {
    const url = field === 'audioUrl' ? `http://recordings.example.com/${PATH}` : `ws://phone.vapi.ai/${PATH}`;
    const plain = field === 'audioUrl' ? 'http' : 'ws';
    await expectRefusedEverywhere(
      field,
      url,
      `must start with ${SCHEME[field]}:// (${plain}:// and this machine only in development, with ALLOW_PRIVATE_NETWORK=true)`,
    );
  });

  it('is not a URL for the other purpose', async () => {
    const url = field === 'audioUrl' ? `wss://phone.vapi.ai/${PATH}` : `https://recordings.example.com/${PATH}`;
    const message = field === 'audioUrl' ? 'must be an https URL' : 'must be a wss URL';
    await expectRefusedEverywhere(field, url, message);
  });
});

describe('after all that', () => {
  it('nothing was dialled, and the server is unharmed and has kept everything to itself', async () => {
    expect(contacts).toBe(0);
    await expectUnharmed(service, { enrolled: 1, recorded: 0, strangers: [STRANGER], secrets, key });
    const { text } = await exchange(service.server.url, {
      path: `/api/v1/users/${ALICE}/auth-history`,
      ...withKey({}),
    });
    expect(JSON.parse(text).attempts).toEqual([]);
  });
});
