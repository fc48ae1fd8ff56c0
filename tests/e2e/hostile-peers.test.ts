/** Servers behind audio and listen URLs that misbehave in every way, each with the service's exact answer. */
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { createApiKey } from '../../src/http/api-keys.js';
import { eventually } from '../support/eventually.js';
import { exchange, form, type Reply } from '../support/http-exchange.js';
import { type LocalService, startLocalService } from '../support/local-service.js';
import { expectRefusal, expectUnharmed, type Refusal } from '../support/refusals.js';
import { wavClaiming } from '../support/wav-header.js';

const ALICE = 'a11ce000-0000-4000-8000-00000000a11c';
const STRANGER = '5742a963-0000-4000-8000-0000000000aa';
const PHONE = '+14155550142';
const MAX_DOWNLOAD = 200_000;
const { key, entry } = createApiKey('tester', ['enroll', 'verify', 'read']);
const secrets = [key, PHONE, ALICE, 'tapped'];

const BAD_DOWNLOAD: Refusal = { status: 400, error: 'AudioDownloadError' };
const TOO_LARGE: Refusal = { status: 413, error: 'PayloadTooLarge' };
const UNSUPPORTED: Refusal = { status: 415, error: 'UnsupportedAudioError' };
const DAMAGED: Refusal = { status: 422, error: 'AudioProcessingError' };
const NO_CALL: Refusal = { status: 502, error: 'ListenConnectionError' };

let service: LocalService;
let peer: Server;
let sockets: WebSocketServer;
let port = 0;
let requests = 0;
const open = new Set<Socket>();

/** What a path of the peer does with a connection that has asked for it. */
type Behaviour = (socket: Socket, head: string) => void;
const behaviours = new Map<string, Behaviour>();

beforeAll(async () => {
  sockets = new WebSocketServer({ noServer: true });
  peer = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => undefined).on('close', () => open.delete(socket));
    socket.once('data', (data: Buffer) => {
      requests += 1;
      const head = data.toString('latin1');
      const path = /^GET \/([\w-]+)/.exec(head)?.[1] ?? '';
      behaviours.get(path)?.(socket, head);
    });
  });
  await new Promise<void>((resolve) => peer.listen(0, '127.0.0.1', resolve));
  const address = peer.address();
  port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  service = await startLocalService(
    {
      HOST: '127.0.0.1',
      API_KEYS: entry,
      PATH: '/nowhere',
      AUDIO_DOWNLOAD_TIMEOUT: '1',
      LISTEN_CONNECT_TIMEOUT: '1',
      MAX_UPLOAD_BYTES: String(MAX_DOWNLOAD),
    },
    { secrets },
  );
  const sample = form([
    { name: 'user_id', value: ALICE },
    {
      name: 'audio',
      filename: 'a.wav',
      value: readFileSync(new URL('../fixtures/voices/alice-enroll.wav', import.meta.url)),
    },
  ]);
  expect((await post('/api/v1/enroll', sample.body, sample.headers['content-type'])).status).toBe(200);
});
afterAll(async () => {
  for (const socket of open) socket.destroy();
  sockets?.close();
  peer?.close();
  await service?.close();
});

function post(path: string, body: string | Uint8Array, type = 'application/json'): Promise<Reply> {
  const headers = { 'content-type': type, authorization: `Bearer ${key}` };
  return exchange(service.server.url, { path, headers, body });
}

/** Makes a stranger's first sample and a verification of it at once, and expects the same refusal of both. */
async function expectBothRefused(source: object, expected: Refusal): Promise<void> {
  const [enrolled, verified] = await Promise.all([
    post('/api/v1/enroll-user', JSON.stringify({ userId: STRANGER, phone: PHONE, ...source })),
    post('/api/v1/verify-password', JSON.stringify({ userId: ALICE, ...source })),
  ]);
  const hostile = ['tapped', '127.0.0.1', `:${port}`, PHONE, STRANGER, ALICE];
  expectRefusal(enrolled, expected, hostile);
  expectRefusal(verified, expected, hostile);
}

let paths = 0;

/** A URL of the peer whose path behaves like this. */
function behaving(scheme: 'http' | 'ws', behaviour: Behaviour): string {
  paths += 1;
  behaviours.set(`tapped-${paths}`, behaviour);
  return `${scheme}://127.0.0.1:${port}/tapped-${paths}?token=tapped-token`;
}

function answering(headers: string, body: string | Uint8Array = ''): Behaviour {
  return (socket) => {
    socket.write(`HTTP/1.1 ${headers}\r\nConnection: close\r\n\r\n`);
    socket.end(body);
  };
}

/** Goes on writing for as long as it is read. */
function endlessly(first: string, piece: string | Uint8Array): Behaviour {
  return (socket) => {
    const more = () => {
      while (!socket.destroyed && socket.write(piece));
    };
    socket.write(first);
    socket.on('drain', more);
    more();
  };
}

function sized(type: string, body: string | Uint8Array, more = ''): Behaviour {
  return answering(`200 OK\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}${more}`, body);
}

const silence = wavClaiming({});
const redirect = (location: string) => answering(`302 Found\r\nLocation: ${location}\r\nContent-Length: 0`);
const chunked = '200 OK\r\nTransfer-Encoding: chunked';

describe.concurrent('audio URLs', () => {
  it.each<[string, Behaviour, Refusal]>([
    ['404', answering('404 Not Found\r\nContent-Length: 6', 'tapped'), { ...BAD_DOWNLOAD, details: { status: 404 } }],
    ['401', answering('401 Unauthorized\r\nContent-Length: 0'), { ...BAD_DOWNLOAD, details: { status: 401 } }],
    ['500', answering('500 tapped\r\nContent-Length: 0'), { ...BAD_DOWNLOAD, details: { status: 500 } }],
    ['204', answering('204 No Content'), { ...BAD_DOWNLOAD, details: { status: 204 } }],
    [
      '206',
      answering('206 Partial Content\r\nContent-Length: 4', 'RIFF'),
      { ...BAD_DOWNLOAD, details: { status: 206 } },
    ],
    ['304', answering('304 Not Modified'), { ...BAD_DOWNLOAD, details: { status: 304 } }],
    ['a redirect without a target', answering('302 Found\r\nContent-Length: 0'), BAD_DOWNLOAD],
    ['a redirect to a file', redirect('file:///etc/tapped'), BAD_DOWNLOAD],
    ['a redirect to FTP', redirect('ftp://127.0.0.1/tapped'), BAD_DOWNLOAD],
    ['a redirect to data', redirect('data:audio/wav;base64,UklGRg=='), BAD_DOWNLOAD],
    ['a redirect with credentials', redirect('http://tapped:tapped@127.0.0.1/'), BAD_DOWNLOAD],
    ['a redirect to nonsense', redirect('http://['), BAD_DOWNLOAD],
    ['two redirects in one', answering('302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0'), BAD_DOWNLOAD],
    ['nothing but silence', () => undefined, BAD_DOWNLOAD],
    ['headers that never end', endlessly('HTTP/1.1 200 OK\r\n', 'X-Tapped: 1\r\n'), BAD_DOWNLOAD],
    ['interim answers without end', endlessly('', 'HTTP/1.1 100 Continue\r\n\r\n'), BAD_DOWNLOAD],
    ['a body that stalls', (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nRIFF'), BAD_DOWNLOAD],
    [
      'a body that drips',
      (socket) => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n');
        const timer = setInterval(() => socket.write('R'), 50);
        socket.on('close', () => clearInterval(timer));
      },
      BAD_DOWNLOAD,
    ],
    ['a body cut short', answering('200 OK\r\nContent-Length: 99999', silence), BAD_DOWNLOAD],
    ['a body in broken chunks', answering(chunked, 'tapped\r\n'), BAD_DOWNLOAD],
    ['chunks without an end', answering(chunked, '4\r\nRIFF\r\n'), BAD_DOWNLOAD],
    ['an empty body', answering('200 OK\r\nContent-Length: 0'), BAD_DOWNLOAD],
    ['two lengths', answering('200 OK\r\nContent-Length: 4\r\nContent-Length: 9', 'RIFFtapped'), BAD_DOWNLOAD],
    ['a negative length', answering('200 OK\r\nContent-Length: -1', 'RIFF'), BAD_DOWNLOAD],
    ['gzip', sized('audio/wav', gzipSync(silence), '\r\nContent-Encoding: gzip'), BAD_DOWNLOAD],
    ['an encoding of its own', sized('audio/wav', silence, '\r\nContent-Encoding: tapped'), BAD_DOWNLOAD],
    [
      'an unwanted upgrade',
      answering('101 Switching Protocols\r\nUpgrade: tapped\r\nConnection: Upgrade'),
      BAD_DOWNLOAD,
    ],
    ['no HTTP', (socket) => socket.end('tapped tapped\r\n\r\n'), BAD_DOWNLOAD],
    ['a reset', (socket) => socket.resetAndDestroy(), BAD_DOWNLOAD],
    ['9 GB announced', answering('200 OK\r\nContent-Length: 9000000000', silence), TOO_LARGE],
    ['one byte too many', sized('audio/wav', wavClaiming({}, Buffer.alloc(MAX_DOWNLOAD - 43))), TOO_LARGE],
    ['a body without end', endlessly('HTTP/1.1 200 OK\r\n\r\n', Buffer.alloc(16_384)), TOO_LARGE],
    ['chunks for ever', endlessly(`HTTP/1.1 ${chunked}\r\n\r\n`, `4000\r\n${'R'.repeat(16_384)}\r\n`), TOO_LARGE],
    ['HTML', sized('text/html', '<!doctype html><p>tapped'), UNSUPPORTED],
    ['HTML that says it is audio', sized('audio/wav', '<!doctype html><p>tapped'), UNSUPPORTED],
    ['a picture that says it is audio', sized('audio/mpeg', '\x89PNG\r\n\x1a\n'), UNSUPPORTED],
    ['text', sized('text/plain', 'tapped'), UNSUPPORTED],
    ['a length that is too small', answering('200 OK\r\nContent-Length: 30', silence), DAMAGED],
  ])('%s', async (_what, behaviour, expected) => {
    await expectBothRefused({ audioUrl: behaving('http', behaviour) }, expected);
  });

  it('redirects in a circle', async () => {
    let hops = 0;
    const audioUrl: string = behaving('http', (socket, head) => {
      hops += 1;
      redirect(/^GET (\S+)/.exec(head)?.[1] ?? '')(socket, head);
    });
    await expectBothRefused({ audioUrl }, BAD_DOWNLOAD);
    expect(hops).toBe(8);
  });

  it('a port nobody listens to', () => expectBothRefused({ audioUrl: 'http://127.0.0.1:1/tapped' }, BAD_DOWNLOAD));

  it('TLS to a port that speaks none', () =>
    expectBothRefused({ audioUrl: `https://127.0.0.1:${port}/tapped` }, BAD_DOWNLOAD));

  it('a name that does not exist', () => expectBothRefused({ audioUrl: 'http://tapped.invalid/a.wav' }, BAD_DOWNLOAD));
});

/** Opens the WebSocket, then does this with it. */
function speaking(talk: (socket: WebSocket) => void): Behaviour {
  return (socket, head) => {
    const headers = Object.fromEntries(
      [...head.matchAll(/^([\w-]+): (.*)\r$/gm)].map(([, name = '', value = '']) => [name.toLowerCase(), value]),
    );
    const request = { method: 'GET', headers, socket } as unknown as IncomingMessage;
    sockets.handleUpgrade(request, socket, Buffer.alloc(0), talk);
  };
}

function frame(...bytes: number[]): Behaviour {
  return speaking((socket) => {
    const raw = socket as unknown as { readonly _socket: Socket };
    raw._socket.write(Buffer.from(bytes));
  });
}

describe.concurrent('listen URLs', () => {
  const upgrade = '101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: tapped';

  it.each<[string, Behaviour]>([
    ['an answer that is no WebSocket', sized('text/html', 'tapped')],
    [
      'a demand for a token',
      answering('401 Unauthorized\r\nWWW-Authenticate: Bearer realm="tapped"\r\nContent-Length: 0'),
    ],
    ['a ban', answering('403 tapped\r\nContent-Length: 0')],
    ['refusals for ever', answering('409 Conflict\r\nContent-Length: 0')],
    ['errors for ever', answering('500 tapped\r\nContent-Length: 6', 'tapped')],
    ['a redirect to a private address', answering('302 Found\r\nLocation: ws://10.0.0.1/tapped\r\nContent-Length: 0')],
    ['a wrong handshake', answering(upgrade)],
    ['nothing but silence', () => undefined],
    ['a handshake that drips', endlessly('HTTP/1.1 101 Switching Protocols\r\n', 'X-Tapped: 1\r\n')],
    ['no HTTP', (socket) => socket.end('tapped tapped\r\n\r\n')],
    ['a reset', (socket) => socket.resetAndDestroy()],
    ['a frame with reserved bits', frame(0xf2, 0x01, 0x00)],
    ['a frame of an unknown kind', frame(0x83, 0x00)],
    ['a frame of 2^63 bytes', frame(0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0)],
    ['a masked frame', frame(0x82, 0x81, 1, 2, 3, 4, 5)],
    ['a message of 2 MB', speaking((socket) => socket.send(Buffer.alloc(2_000_000)))],
  ])('%s', async (_what, behaviour) => {
    await expectBothRefused({ listenUrl: behaving('ws', behaviour) }, NO_CALL);
  });

  it('a port nobody listens to', () => expectBothRefused({ listenUrl: 'ws://127.0.0.1:1/tapped' }, NO_CALL));

  it('TLS to a port that speaks none', () =>
    expectBothRefused({ listenUrl: `wss://127.0.0.1:${port}/tapped` }, NO_CALL));

  it('a name that does not exist', () => expectBothRefused({ listenUrl: 'ws://tapped.invalid/listen' }, NO_CALL));

  const start = JSON.stringify({
    type: 'start',
    encoding: 'linear16',
    container: 'raw',
    sampleRate: 16_000,
    channels: 2,
  });
  const hangUp = (socket: WebSocket) => socket.close();

  it.each<[string, Behaviour, object]>([
    ['a call that is over at once', speaking(hangUp), { check: 'silence' }],
    [
      'text that is no audio',
      speaking((socket) => {
        for (const text of ['tapped', '{', '[]', 'null', '{"type":"start","sampleRate":1e99}', '\ud800'])
          socket.send(text);
        hangUp(socket);
      }),
      { check: 'silence' },
    ],
    [
      'digital silence',
      speaking((socket) => {
        socket.send(start);
        for (let i = 0; i < 100; i++) socket.send(Buffer.alloc(1280));
        hangUp(socket);
      }),
      { check: 'silence' },
    ],
    ['a start and then nothing', speaking((socket) => socket.send(start)), { check: 'silence' }],
  ])('%s: too little for a voiceprint', async (_what, behaviour, details) => {
    const body = { userId: STRANGER, phone: PHONE, listenUrl: behaving('ws', behaviour), maxSeconds: 1 };
    const reply = await post('/api/v1/enroll-user', JSON.stringify(body));
    expectRefusal(reply, { ...DAMAGED, details }, ['tapped', STRANGER, PHONE]);
  });
});

/** A stranger's connection that has asked for a WebSocket where there is none. It stays half open when the service ends it. */
function strayUpgrade(): Promise<Socket> {
  const { hostname, port: servicePort } = new URL(service.server.url);
  return new Promise((resolve) => {
    const socket = connect({ port: Number(servicePort), host: hostname, allowHalfOpen: true }, () => {
      socket.write('GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n', () =>
        resolve(socket),
      );
    });
    open.add(socket);
    socket.on('error', () => undefined).on('close', () => open.delete(socket));
  });
}

describe('upgrades to paths without a stream', () => {
  it('may be reset in the middle of the answer', async () => {
    const strays = await Promise.all(Array.from({ length: 100 }, strayUpgrade));
    for (const socket of strays) socket.resetAndDestroy();
    const alive = await exchange(service.server.url, { path: '/healthz' });
    expect(alive.status).toBe(200);
  });

  it('are refused and let go of, though their peers stay', async () => {
    const strays = await Promise.all(Array.from({ length: 50 }, strayUpgrade));
    const answers = strays.map((socket) => {
      const answer = { text: '', closed: false };
      socket.setEncoding('utf8').on('data', (text: string) => (answer.text += text));
      // Only a connection that the service has destroyed answers bytes with a reset.
      const knocking = setInterval(() => socket.write('x'), 100);
      socket.on('close', () => {
        clearInterval(knocking);
        answer.closed = true;
      });
      return answer;
    });
    await eventually(() => expect(answers.every(({ closed }) => closed)).toBe(true));
    expect(new Set(answers.map(({ text }) => text.split('\r\n')[0]))).toEqual(new Set(['HTTP/1.1 404 Not Found']));
  });
});

describe('after all that', () => {
  it('the server is unharmed and has kept everything to itself', async () => {
    expect(requests).toBeGreaterThan(100);
    await expectUnharmed(service, { enrolled: 1, recorded: 0, strangers: [STRANGER], secrets, key });
    const headers = { authorization: `Bearer ${key}` };
    const status = await exchange(service.server.url, { path: `/api/v1/users/${ALICE}/status`, headers });
    expect(JSON.parse(status.text)).toMatchObject({ samples: 1, failed_attempts: 0, last_attempt: null });
  });
});
