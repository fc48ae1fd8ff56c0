/** Bodies as strangers send them: wrong types, broken, polluted, too long, endless. */
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import request from 'supertest';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errorReply } from '../../src/http/schemas/fields.js';
import {
  ACCEPTED,
  AUDIO_URL,
  bearer,
  ENROLLED,
  LISTEN_URL,
  PHONE,
  type TestApp,
  testApp,
  USER,
} from '../support/http-app.js';

const MAX_UPLOAD = 20_000;
let t: TestApp;
beforeEach(() => {
  t = testApp({ maxUploadBytes: MAX_UPLOAD });
});

describe('JSON bodies', () => {
  const send = (body: string | Buffer, headers: Record<string, string> = {}) => {
    const req = request(t.app)
      .post('/api/v1/verify-password')
      .set({ Authorization: bearer('verify'), 'Content-Type': 'application/json', ...headers });
    return req.serialize((data: unknown) => data as string).send(body as string);
  };
  const good = JSON.stringify({ userId: USER, listenUrl: LISTEN_URL });

  it.each([
    ['nothing', ''],
    ['an end too early', good.slice(0, -2)],
    ['a comment', `${good}//`],
    ['a single quote', "{'userId':'s3cret'}"],
    ['a string', '"s3cret"'],
    ['an array', `[${good}]`],
    ['null', 'null'],
    ['a number too many', '1e999'],
    ['bytes that are no UTF-8', Buffer.from(good.replace('secret-call', 's\u00e9cret'), 'latin1')],
    ['UTF-16', Buffer.from(good, 'utf16le')],
    ['deep nesting', '['.repeat(50_000)],
    ['a polluting key', `{"userId":"${USER}","listenUrl":"${LISTEN_URL}","__proto__":{"threshold":0.9}}`],
    [
      'a polluting constructor',
      `{"userId":"${USER}","listenUrl":"${LISTEN_URL}","constructor":{"prototype":{"s3cret":1}}}`,
    ],
    ['a field of the multipart form', `{"user_id":"${USER}","listenUrl":"${LISTEN_URL}"}`],
    ['numbers for words', '{"userId":1,"listenUrl":2}'],
    ['objects for words', '{"userId":{"$gt":""},"listenUrl":["s3cret"]}'],
    ['credentials for another scheme', `{"userId":"${USER}","listenUrl":"javascript:s3cret"}`],
  ])('with %s are refused', async (_what, body) => {
    const res = await send(body);
    expect(res.status).toBe(400);
    expect(errorReply.parse(res.body).error).toBe('ValidationError');
    expect(res.text).not.toContain('s3cret');
    expect(res.text).not.toContain(LISTEN_URL);
    expect(t.verifications).toHaveLength(0);
    expect({}).not.toHaveProperty('threshold');
    expect({}).not.toHaveProperty('s3cret');
  });

  it.each([
    ['no type', { 'Content-Type': '' }],
    ['text', { 'Content-Type': 'text/plain' }],
    ['a form', { 'Content-Type': 'application/x-www-form-urlencoded' }],
    ['something like JSON', { 'Content-Type': 'application/vnd.api+json' }],
    ['another alphabet', { 'Content-Type': 'application/json; charset=utf-16' }],
    ['compression', { 'Content-Encoding': 'gzip' }],
  ])('as %s are refused', async (_what, headers) => {
    const res = await send(good, headers);
    expect(res.status).toBe(415);
    expect(errorReply.parse(res.body).error).toBe('UnsupportedMediaType');
  });

  it.each(['application/json; charset=utf-8', 'Application/JSON;charset="UTF-8"'])('as %s are taken', async (type) => {
    expect((await send(good, { 'Content-Type': type })).status).toBe(200);
  });

  it('may be 100 kB long and no longer', async () => {
    const padded = (length: number) => good.padEnd(length, ' ');
    expect((await send(padded(100 * 1024))).status).toBe(200);
    const res = await send(padded(100 * 1024 + 1));
    expect(res.status).toBe(413);
    expect(errorReply.parse(res.body).error).toBe('PayloadTooLarge');
  });
});

describe('uploads', () => {
  const audio = Buffer.alloc(1000, 7);
  const verify = () => request(t.app).post('/api/v1/verify').set('Authorization', bearer('verify'));
  const enroll = () => request(t.app).post('/api/v1/enroll').set('Authorization', bearer('enroll'));

  it('reach the use case byte for byte', async () => {
    const res = await verify()
      .field('user_id', USER.toUpperCase())
      .field('threshold', '0.95')
      .field('channel', '1')
      .attach('audio', audio, 'a.wav');
    expect(res.status).toBe(200);
    expect(res.body.attempt_id).toBe(ACCEPTED.attemptId);
    const [asked] = t.verifications;
    expect(asked).toMatchObject({ userId: USER, threshold: 0.95, source: { kind: 'upload', channel: 1 } });
    expect(asked?.source.kind === 'upload' && Buffer.from(asked.source.bytes).equals(audio)).toBe(true);
  });

  it('enroll with everything or with the least', async () => {
    const full = await enroll()
      .field({ user_id: USER, phone: PHONE, channel: '0', consent_reference: 'contract 7' })
      .attach('audio', audio, 'a.wav');
    const least = await enroll()
      .field('user_id', USER)
      .attach('audio', audio, { filename: 'a', contentType: 'text/html' });
    expect([full.status, least.status]).toEqual([200, 200]);
    expect(full.body).toMatchObject({ status: 'enrolled', model: ENROLLED.modelId });
    expect(t.enrollments).toMatchObject([
      { phone: PHONE, consentReference: 'contract 7', source: { kind: 'upload', channel: 0 } },
      { phone: undefined, consentReference: undefined, source: { channel: undefined } },
    ]);
  });

  it('may be as large as configured and no larger', async () => {
    expect((await verify().field('user_id', USER).attach('audio', Buffer.alloc(MAX_UPLOAD), 'a')).status).toBe(200);
    for (const size of [MAX_UPLOAD + 1, MAX_UPLOAD * 40]) {
      const res = await verify().field('user_id', USER).attach('audio', Buffer.alloc(size), 'a');
      expect(res.status).toBe(413);
      expect(errorReply.parse(res.body).error).toBe('PayloadTooLarge');
    }
    expect(t.verifications).toHaveLength(1);
  });

  it.each([
    ['no file', () => verify().field('user_id', USER)],
    ['an empty file', () => verify().field('user_id', USER).attach('audio', Buffer.alloc(0), 'a.wav')],
    ['two files', () => verify().field('user_id', USER).attach('audio', audio, 'a').attach('audio', audio, 'b')],
    ['a file of another name', () => verify().field('user_id', USER).attach('s3cret', audio, 'a.wav')],
    ['text in place of the file', () => verify().field('user_id', USER).field('audio', 's3cret')],
    ['no user', () => verify().attach('audio', audio, 'a.wav')],
    ['two users', () => verify().field('user_id', USER).field('user_id', USER).attach('audio', audio, 'a')],
    ['an unknown field', () => verify().field('user_id', USER).field('s3cret', '1').attach('audio', audio, 'a')],
    [
      'a field of the JSON body',
      () => verify().field('user_id', USER).field('listenUrl', LISTEN_URL).attach('audio', audio, 'a'),
    ],
    ['a nested field', () => verify().field('user_id[s3cret]', USER).attach('audio', audio, 'a')],
    [
      'a polluting field',
      () => verify().field('user_id', USER).field('__proto__[s3cret]', '1').attach('audio', audio, 'a'),
    ],
    [
      'a plainly polluting field',
      () => verify().field('user_id', USER).field('__proto__', 's3cret').attach('audio', audio, 'a'),
    ],
    ['a bad channel', () => verify().field({ user_id: USER, channel: '2' }).attach('audio', audio, 'a')],
    ['a lax threshold', () => verify().field({ user_id: USER, threshold: '0.1' }).attach('audio', audio, 'a')],
  ])('with %s are refused', async (_what, send) => {
    const res = await send();
    expect(res.status).toBe(400);
    expect(errorReply.parse(res.body).error).toBe('ValidationError');
    expect(res.text).not.toContain('s3cret');
    expect(t.verifications).toHaveLength(0);
    expect({}).not.toHaveProperty('s3cret');
  });

  it('with the fields of a JSON body are told those of a form', async () => {
    const res = await verify().field('userId', USER).attach('audio', audio, 'a');
    expect(res.body.message).toBe(
      'user_id: is required; unknown fields are not accepted; known here: user_id, threshold, channel, audio',
    );
  });

  it('with too much text are refused', async () => {
    const long = await verify().field('user_id', 'x'.repeat(2000)).attach('audio', audio, 'a');
    const many = Array.from({ length: 20 }, (_, i) => [`f${i}`, '1']);
    const crowded = await verify().field(Object.fromEntries(many)).attach('audio', audio, 'a');
    expect([long.status, crowded.status]).toEqual([413, 413]);
  });

  it('that are no multipart are refused', async () => {
    const raw = (type: string, body: string) =>
      verify()
        .set('Content-Type', type)
        .serialize((data) => data as string)
        .send(body);
    expect((await raw('application/json', '{}')).status).toBe(415);
    expect((await raw('audio/wav', 'RIFF')).status).toBe(415);
    for (const type of ['multipart/form-data', 'multipart/form-data; boundary=b']) {
      for (const body of [
        '',
        's3cret',
        '--b\r\n',
        '--b\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\nRIFF',
      ]) {
        const res = await raw(type, body);
        expect(res.status).toBe(400);
        expect(errorReply.parse(res.body).error).toBe('ValidationError');
        expect(res.text).not.toContain('s3cret');
      }
    }
  });

  it('beyond what memory allows are told to wait, and the next one fits again', async () => {
    // 256 MiB for all uploads: two of this size.
    t = testApp({ maxUploadBytes: 128 * 1024 * 1024 });
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    let working = 0;
    let bothWork = () => {};
    const both = new Promise<void>((resolve) => {
      bothWork = resolve;
    });
    t.behave.verify = async () => {
      working += 1;
      if (working === 2) bothWork();
      await gate;
      return ACCEPTED;
    };
    const send = (scope: 'verify' | 'admin') =>
      request(t.app)
        .post('/api/v1/verify')
        .set('Authorization', bearer(scope))
        .field('user_id', USER)
        .attach('audio', audio, 'a')
        .then((res) => res);
    // One for each key.
    const running = [send('verify'), send('admin')];
    await both;
    const third = await request(t.app)
      .post('/api/v1/enroll')
      .set('Authorization', bearer('enroll'))
      .field('user_id', USER)
      .attach('audio', audio, 'a');
    expect([third.status, third.body.error, third.headers['retry-after']]).toEqual([503, 'Busy', '1']);
    open();
    expect((await Promise.all(running)).map(({ status }) => status)).toEqual([200, 200]);
    expect((await send('verify')).status).toBe(200);
  });
});

describe('endless bodies', () => {
  let server: Server;
  let port: number;
  beforeEach(async () => {
    server = createServer(t.app);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  /** Sends `head` and then 16 kB chunks until answered; never ends the body. */
  function pour(path: string, type: string, head: string): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const req = httpRequest({
        host: '127.0.0.1',
        port,
        path,
        method: 'POST',
        headers: { Authorization: bearer('admin'), 'Content-Type': type, 'Transfer-Encoding': 'chunked' },
      });
      const chunk = Buffer.alloc(16_384, 32);
      let answered = false;
      const more = () => {
        if (!answered) req.write(chunk, more);
      };
      req.on('response', (res) => {
        answered = true;
        resolve(res);
      });
      req.on('error', reject);
      req.write(head, more);
    });
  }

  it.each([
    ['/api/v1/verify-password', 'application/json', '{'],
    [
      '/api/v1/verify',
      'multipart/form-data; boundary=b',
      '--b\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n',
    ],
    ['/api/v1/verify', 'multipart/form-data; boundary=b', 'preamble'],
  ])('to %s as %s are answered before they end', async (path, type, head) => {
    const res = await pour(path, type, head);
    expect(res.statusCode).toBe(413);
  });

  it('in tiny pieces are refused, each of which would cost more memory than its bytes', async () => {
    const part = (name: string, more: string, value: string) =>
      `--b\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`;
    const whole = [part('user_id', '', USER), part('audio', '; filename="a"', 'x'.repeat(5_000)), '--b--\r\n'].join('');
    const pour = async (pieceBytes: number) => {
      const socket = connect(port, '127.0.0.1');
      socket.write(
        `POST /api/v1/verify HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer('admin')}\r\nContent-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n`,
      );
      for (let at = 0; at < whole.length; at += pieceBytes) {
        const piece = whole.slice(at, at + pieceBytes);
        socket.write(`${piece.length.toString(16)}\r\n${piece}\r\n`);
      }
      socket.write('0\r\n\r\n');
      const [answer] = await new Promise<[Buffer]>((resolve) => socket.once('data', (data) => resolve([data])));
      socket.destroy();
      return answer.toString();
    };
    expect(await pour(100)).toMatch(/^HTTP\/1\.1 200 /);
    expect(await pour(1)).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('announced as huge are answered before they come', async () => {
    for (const [path, type] of [
      ['/api/v1/enroll-user', 'application/json'],
      ['/api/v1/enroll', 'multipart/form-data; boundary=b'],
    ]) {
      const socket = connect(port, '127.0.0.1');
      socket.write(
        `POST ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer('admin')}\r\nContent-Type: ${type}\r\nContent-Length: 9000000000\r\n\r\n`,
      );
      const [answer] = await new Promise<[Buffer]>((resolve) => socket.once('data', (data) => resolve([data])));
      expect(answer.toString()).toMatch(/^HTTP\/1\.1 413 /);
      socket.destroy();
    }
  });

  it('that break off harm nobody', async () => {
    for (const type of ['application/json', 'multipart/form-data; boundary=b']) {
      const path = type.startsWith('app') ? '/api/v1/verify-password' : '/api/v1/verify';
      const socket = connect(port, '127.0.0.1');
      socket.write(
        `POST ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer('admin')}\r\nContent-Type: ${type}\r\nContent-Length: 5000\r\n\r\n{"us`,
      );
      await new Promise<void>((resolve) =>
        server.once('request', (_req, res) => res.once('close', resolve)).once('request', () => socket.destroy()),
      );
    }
    const res = await request(t.app)
      .post('/api/v1/enroll-user')
      .set('Authorization', bearer('enroll'))
      .send({ userId: USER, phone: PHONE, audioUrl: AUDIO_URL });
    expect(res.status).toBe(200);
    expect(t.logText()).not.toContain('unexpectedly');
  });
});
