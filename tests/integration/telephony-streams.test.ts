/** The door for incoming streams: who is let in, who is not, and that nobody hurts anybody else. */
import { createConnection } from 'node:net';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { VoiceAuthError } from '../../src/domain/errors.js';
import type { CallSource } from '../../src/domain/ports/call-source.js';
import { streamPath } from '../../src/telephony/streams/platforms.js';
import { streamInstructions } from '../../src/telephony/streams/stream-instructions.js';
import { twilioSignature } from '../../src/telephony/streams/twilio-signature.js';
import { AUTH_TOKEN, afterwards, dial, Ear, serve, TOKEN } from './telephony-streams-harness.js';

const START = JSON.stringify({
  event: 'start',
  start: { tracks: ['inbound'], customParameters: { token: TOKEN, FirstName: 'Jane' } },
});
const MEDIA = JSON.stringify({ event: 'media', media: { track: 'inbound', payload: 'no+J' } });
const STOP = JSON.stringify({ event: 'stop' });

/** A bare WebSocket, for what no simulated platform does. */
function bare(url: string, path = streamPath('twilio'), headers: Record<string, string> = {}) {
  const socket = new WebSocket(url.replace('http', 'ws') + path, { headers, perMessageDeflate: true });
  afterwards(() => socket.terminate());
  const closed = new Promise<number>((resolve) => socket.on('close', (code) => resolve(code)));
  const refused = new Promise<number>((resolve) => {
    socket.on('unexpected-response', (request, response) => {
      resolve(response.statusCode ?? 0);
      request.destroy();
    });
  });
  socket.on('error', () => undefined);
  const open = new Promise<void>((resolve) => socket.on('open', () => resolve()));
  return { socket, open, closed, refused };
}

/** Writes bytes on a plain connection and returns all that comes back until it is closed. */
function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const connection = createConnection(port, '127.0.0.1', () => connection.write(text));
    connection.on('data', (data) => {
      answer += data;
    });
    connection.on('error', reject);
    connection.on('close', () => resolve(answer));
  });
}

function upgrade(path: string, headers: Record<string, string> = {}): string {
  const all = {
    Host: 'evil.example',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

describe('upgrades', () => {
  it('are left alone when they are for somebody else', async () => {
    const { port, outcomes } = await serve();
    expect(await raw(port, upgrade('/api/v1/users'))).toMatch(/^HTTP\/1\.1 418 /);
    expect(await outcomes()).toEqual({});
  });

  it.each(['/api/v1/streams/vonage', '/api/v1/streams/', `/api/v1/streams/twilio/${TOKEN}/x`])(
    'to %s find nothing',
    async (path) => {
      const { port } = await serve();
      const answer = await raw(port, upgrade(path));
      expect(answer).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
      expect(answer).not.toContain(TOKEN);
    },
  );

  it.each([
    ['to something else', { Upgrade: 'h2c' }],
    ['to another version', { 'Sec-WebSocket-Version': '12' }],
  ])('%s are told what is wanted', async (_what, headers) => {
    const { port, outcomes, server } = await serve();
    const answer = await raw(port, upgrade(streamPath('twilio'), headers));
    expect(answer).toMatch(/^HTTP\/1\.1 426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n/);
    expect(await outcomes()).toEqual({ no_websocket: 1 });
    expect(server.connections).toBe(0);
  });

  it('without a key are a bad request', async () => {
    const { port, server } = await serve();
    expect(await raw(port, upgrade(streamPath('plivo'), { 'Sec-WebSocket-Key': 'x' }))).toMatch(/^HTTP\/1\.1 400 /);
    expect(server.connections).toBe(0);
  });

  it('do not negotiate compression', async () => {
    const { url } = await serve();
    const { socket, open } = bare(url);
    await open;
    expect(socket.extensions).toBe('');
  });
});

describe('the signature of Twilio', () => {
  const signed = { twilioAuthTokens: ['old-token', AUTH_TOKEN], allowUnsigned: false };

  it('lets in who signs the address the server listens on, when no public one is configured', async () => {
    const { url, ear, outcomes } = await serve({ config: signed });
    dial(url, 'twilio', {}, { twilio: { authToken: AUTH_TOKEN } });
    expect(await ear.ended).toEqual({ kind: 'closed' });
    expect(await outcomes()).toEqual({ admitted: 1 });
  });

  it('is that of the public address, with any of the auth tokens', async () => {
    const publicUrl = 'https://auth.example.com/voice';
    const { url, ear } = await serve({ config: { ...signed, publicUrl } });
    dial(url, 'twilio', {}, { twilio: { authToken: 'old-token', publicUrl } });
    expect(await ear.ended).toEqual({ kind: 'closed' });
    // What the instructions tell Twilio to dial is what must be signed.
    expect(streamInstructions({ platform: 'twilio', token: TOKEN, publicUrl }).url).toBe(
      `wss://auth.example.com/voice${streamPath('twilio')}`,
    );
  });

  it('covers the path as it was dialled', async () => {
    const publicUrl = 'https://auth.example.com';
    const { url } = await serve({ config: { ...signed, publicUrl } });
    const path = `${streamPath('twilio', 'some-token')}?x=1`;
    const good = { 'X-Twilio-Signature': twilioSignature(AUTH_TOKEN, `wss://auth.example.com${path}`) };
    const fine = bare(url, path, good);
    await fine.open;
    expect(await bare(url, streamPath('twilio', 'other-token'), good).refused).toBe(403);
  });

  it.each([
    ['missing', undefined, 401, 'signature_missing'],
    ['made with another token', { authToken: 'other' }, 403, 'signature_wrong'],
    ['for another host', { authToken: AUTH_TOKEN, publicUrl: 'https://evil.example' }, 403, 'signature_wrong'],
  ])('%s is refused', async (_what, twilio, status, outcome) => {
    const { url, outcomes, tokens } = await serve({
      config: { ...signed, publicUrl: 'https://auth.example.com' },
    });
    const call = dial(url, 'twilio', {}, twilio ? { twilio } : {});
    expect(await call.ended).toEqual({ kind: 'refused', status });
    expect(await outcomes()).toEqual({ [outcome]: 1 });
    expect(tokens.arrived).toEqual([]);
  });

  it('does not follow the Host header', async () => {
    const { port } = await serve({ config: { ...signed, publicUrl: 'https://auth.example.com' } });
    const signature = twilioSignature(AUTH_TOKEN, `wss://evil.example${streamPath('twilio')}`);
    const answer = await raw(port, upgrade(streamPath('twilio'), { 'X-Twilio-Signature': signature }));
    expect(answer).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
    expect(answer).not.toContain('evil');
  });

  it('is needed in production even when nobody configured it, and only from Twilio', async () => {
    const { url, ear } = await serve({ config: { allowUnsigned: false } });
    expect(await dial(url, 'twilio').ended).toEqual({ kind: 'refused', status: 403 });
    dial(url, 'telnyx');
    expect(await ear.ended).toEqual({ kind: 'closed' });
  });
});

describe('tokens', () => {
  it.each(['twilio', 'telnyx', 'plivo', 'vapi_transcriber'] as const)('%s is refused without one', async (platform) => {
    const { url, tokens, outcomes, server } = await serve();
    const call = dial(url, platform, { token: 'none' });
    expect(await call.ended).toEqual({ kind: 'closed', code: 1008 });
    expect(tokens.arrived).toEqual([]);
    expect(await outcomes()).toEqual({ no_token: 1 });
    await expect.poll(() => server.connections).toBe(0);
  });

  it('are refused when unknown or used before', async () => {
    const { url, outcomes, ear } = await serve();
    expect(await dial(url, 'twilio', {}, { token: 'tok-unknown' }).ended).toEqual({ kind: 'closed', code: 1008 });
    await dial(url, 'twilio').ended;
    expect(await dial(url, 'twilio').ended).toEqual({ kind: 'closed', code: 1008 });
    expect(await outcomes()).toEqual({ bad_token: 2, admitted: 1 });
    expect(ear.ends).toEqual([{ kind: 'closed' }]);
  });

  it('of the message win over those of the path', async () => {
    const { url, tokens } = await serve();
    const { socket, open } = bare(url, streamPath('twilio', 'tok-path'));
    await open;
    socket.send(START);
    await expect.poll(() => tokens.arrived).toEqual([{ platform: 'twilio', token: TOKEN }]);
  });
});

describe('admission', () => {
  it.each([
    ['too many calls', new VoiceAuthError('Busy', 'Too many calls'), 1013, 'busy'],
    ['no database', new VoiceAuthError('DatabaseUnavailable', 'No database'), 1013, 'busy'],
    ['a mistake', new TypeError(`cannot read ${TOKEN}`), 1011, 'error'],
  ])('that fails for %s closes the stream', async (_what, error, code, outcome) => {
    const { url, outcomes, logged } = await serve({ admit: () => Promise.reject(error) });
    expect(await dial(url, 'twilio').ended).toEqual({ kind: 'closed', code });
    expect(await outcomes()).toEqual({ [outcome]: 1 });
    expect(logged().includes('could not be admitted')).toBe(outcome === 'error');
  });

  it('that takes too long is given up, and the stream cannot be opened any more', async () => {
    let source: CallSource | undefined;
    let admit: (admitted: boolean) => void = () => undefined;
    const { url, outcomes } = await serve({
      limits: { admissionTimeoutMs: 50 },
      admit: (stream) => {
        source = stream.source;
        return new Promise((resolve) => {
          admit = resolve;
        });
      },
    });
    expect(await dial(url, 'twilio').ended).toEqual({ kind: 'closed', code: 1013 });
    admit(true);
    const open = { signal: new AbortController().signal, connectTimeoutMs: 1_000 };
    await expect(source?.open(new Ear(), open)).rejects.toMatchObject({ code: 'ListenConnectionError' });
    expect(await outcomes()).toEqual({ busy: 1 });
  });

  it('that nobody follows up by opening the stream is given up', async () => {
    const { url, outcomes } = await serve({ limits: { admissionTimeoutMs: 50 }, admit: async () => true });
    expect(await dial(url, 'twilio').ended).toEqual({ kind: 'closed', code: 1013 });
    expect(await outcomes()).toEqual({ busy: 1 });
  });

  it('loses nothing that comes meanwhile, however much that is', async () => {
    const ear = new Ear();
    const { url } = await serve({
      admit: async ({ source }) => {
        // Every message of the call has been written by then.
        await expect.poll(() => call.audioSent).toBe(100);
        await source.open(ear, { signal: new AbortController().signal, connectTimeoutMs: 1_000 });
        return true;
      },
    });
    const call = dial(url, 'twilio', { speed: Number.POSITIVE_INFINITY });
    expect(await ear.ended).toEqual({ kind: 'closed' });
    expect(ear.sampleCount).toBe(16_000);
  });
});

describe('a connection that never gets as far as a stream', () => {
  it.each([
    ['says nothing', []],
    ['greets and says no more', ['{"event":"connected"}']],
    ['sends garbage', ['not json', Buffer.of(1, 2, 3), '{}', '[]', 'null']],
    ['sends audio only', [MEDIA, MEDIA]],
  ])('is closed in time when it %s', async (_what, messages) => {
    const { url, outcomes, tokens, server } = await serve({ limits: { startTimeoutMs: 200 } });
    const { socket, open, closed } = bare(url);
    await open;
    for (const message of messages) socket.send(message);
    expect(await closed).toBe(1008);
    expect(await outcomes()).toEqual({ no_start: 1 });
    expect(tokens.arrived).toEqual([]);
    await expect.poll(() => server.connections).toBe(0);
  });

  it('is closed when it talks too much', async () => {
    const { url, outcomes } = await serve();
    const { socket, open, closed } = bare(url);
    await open;
    for (let i = 0; i < 300; i++) socket.send(MEDIA);
    expect(await closed).toBe(1008);
    expect(await outcomes()).toEqual({ flood: 1 });
  });

  it.each([
    ['audio before the start frame', 'vapi_transcriber', [Buffer.alloc(640)], { audio_before_start: 1 }],
    ['a start frame nobody can use', 'vapi_transcriber', ['{"type":"start","sampleRate":1}'], {}],
    ['a codec nobody can decode', 'telnyx', ['{"event":"start","start":{"media_format":{"encoding":"OPUS"}}}'], {}],
  ] as const)('is closed for %s', async (_what, platform, messages, lost) => {
    const { url, outcomes, dropped, ignored, tokens } = await serve();
    const { socket, open, closed } = bare(url, streamPath(platform, TOKEN));
    await open;
    for (const message of messages) socket.send(message);
    expect(await closed).toBe(1002);
    expect(await outcomes()).toEqual({ protocol_error: 1 });
    expect(await dropped()).toEqual(lost);
    expect(await ignored()).toEqual({});
    expect(tokens.arrived).toEqual([]);
  });

  it('may hang up', async () => {
    const { url, outcomes } = await serve();
    for (const leave of [(socket: WebSocket) => socket.close(1000), (socket: WebSocket) => socket.terminate()]) {
      const { socket, open, closed } = bare(url);
      await open;
      leave(socket);
      await closed;
    }
    const stopping = bare(url);
    await stopping.open;
    stopping.socket.send(STOP);
    expect(await stopping.closed).toBe(1000);
    await expect.poll(outcomes).toEqual({ abandoned: 3 });
  });

  it('cannot be there more often than is allowed; who is admitted does not count', async () => {
    const { url, server, outcomes, ear } = await serve({ limits: { maxAwaiting: 2 } });
    dial(url, 'twilio', { end: 'stay_open' });
    await expect.poll(() => ear.sampleCount).toBe(16_000);
    const waiting = [bare(url), bare(url)];
    await Promise.all(waiting.map(({ open }) => open));
    expect(await bare(url).refused).toBe(503);
    expect(server.connections).toBe(3);
    waiting[0]!.socket.close(1000);
    await waiting[0]!.closed;
    await expect.poll(() => server.connections).toBe(2);
    await bare(url).open;
    expect(await outcomes()).toMatchObject({ crowded: 1, abandoned: 1, admitted: 1 });
  });
});

describe('strangers', () => {
  const signed = { twilioAuthTokens: [AUTH_TOKEN], allowUnsigned: false };
  const from = (address: string) => ({ 'X-Test-Address': address });

  /** A connection whose start message shows the token of its path. */
  async function show(url: string, token: string, address: string) {
    const connection = bare(url, streamPath('telnyx', token), from(address));
    await Promise.race([connection.open, connection.refused]);
    if (connection.socket.readyState === WebSocket.OPEN) connection.socket.send('{"event":"start","start":{}}');
    return Promise.race([connection.closed, connection.refused]);
  }

  /** A connection that Twilio has signed, answered with its status when it is refused. */
  function twilio(url: string) {
    const address = `${url.replace('http', 'ws')}${streamPath('twilio')}`;
    return bare(url, streamPath('twilio'), { 'X-Twilio-Signature': twilioSignature(AUTH_TOKEN, address) });
  }

  it('of one address cannot take every place, and those of many none that Twilio has signed', async () => {
    const { url, outcomes, ear } = await serve({ config: signed, limits: { maxAwaiting: 16, startTimeoutMs: 60_000 } });
    const silent = (address: string) => bare(url, streamPath('telnyx', 'x'), from(address));
    for (const address of ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4']) {
      await Promise.all(Array.from({ length: 4 }, () => silent(address).open));
      expect(await silent(address).refused).toBe(503);
    }
    expect(await silent('192.0.2.5').refused).toBe(503);
    const { socket, open } = twilio(url);
    await open;
    socket.send(START);
    socket.send(STOP);
    expect(await ear.ended).toEqual({ kind: 'closed' });
    expect(await outcomes()).toEqual({ crowded: 5, admitted: 1 });
  });

  it('that Twilio has signed give their places back', async () => {
    const { url, server } = await serve({ config: signed, limits: { maxAwaiting: 1, startTimeoutMs: 60_000 } });
    for (let i = 0; i < 3; i++) {
      const { socket, open, closed, refused } = twilio(url);
      expect(await Promise.race([open, refused])).toBeUndefined();
      expect(await twilio(url).refused).toBe(503);
      socket.close(1000);
      await closed;
      await expect.poll(() => server.connections).toBe(0);
    }
  });

  it.each([
    ['shows a token nobody knows', 'bad_token', (socket: WebSocket) => socket.send('{"event":"start","start":{}}')],
    ['says nothing', 'no_start', () => undefined],
    ['leaves before it has said anything', 'abandoned', (socket: WebSocket) => socket.close(1000)],
  ])('are refused for a while when one address often %s', async (_what, outcome, act) => {
    const { url, outcomes, tokens } = await serve({
      config: signed,
      limits: { maxFailuresPerMinute: 2, startTimeoutMs: outcome === 'no_start' ? 200 : 60_000 },
    });
    for (const token of ['tok-1', 'tok-2']) {
      const { socket, open, closed } = bare(url, streamPath('telnyx', token), from('192.0.2.1'));
      await open;
      act(socket);
      await closed;
    }
    await expect.poll(outcomes).toEqual({ [outcome]: 2 });
    expect(await bare(url, streamPath('telnyx', TOKEN), from('192.0.2.1')).refused).toBe(429);
    const asked = tokens.arrived.length;
    // Others get in, and so does Twilio from the same address.
    await bare(url, streamPath('telnyx', TOKEN), from('192.0.2.2')).open;
    await twilio(url).open;
    expect(tokens.arrived.length).toBe(asked);
    expect(await outcomes()).toEqual({ [outcome]: 2, rate_limited: 1 });
  });

  it('do not count as such when they are let in, nor when the service is at fault', async () => {
    let fault = false;
    const { url, outcomes } = await serve({
      limits: { maxFailuresPerMinute: 1 },
      admit: async ({ source }) => {
        if (fault) throw new VoiceAuthError('DatabaseUnavailable', 'No database');
        await source.open(new Ear(), { signal: new AbortController().signal, connectTimeoutMs: 1_000 });
        return true;
      },
    });
    for (let i = 0; i < 3; i++) await dial(url, 'telnyx').ended;
    fault = true;
    for (let i = 0; i < 3; i++) expect(await dial(url, 'telnyx').ended).toEqual({ kind: 'closed', code: 1013 });
    expect(await outcomes()).toEqual({ admitted: 3, busy: 3 });
  });

  it('are asked about once per token: one that was refused stays refused, and does not count again', async () => {
    const { url, tokens, outcomes, ear } = await serve({ limits: { maxFailuresPerMinute: 2 } });
    const answers = [];
    for (let i = 0; i < 4; i++) answers.push(await show(url, 'tok-stale', '192.0.2.1'));
    expect(answers).toEqual([1008, 403, 403, 403]);
    expect(tokens.arrived).toEqual([{ platform: 'telnyx', token: 'tok-stale' }]);
    expect(await outcomes()).toEqual({ bad_token: 4 });
    dial(url, 'telnyx');
    expect(await ear.ended).toEqual({ kind: 'closed' });
  });
});

describe('an open stream', () => {
  /** A bare Twilio connection that has been admitted. */
  async function admitted(limits = {}) {
    const service = await serve({ limits });
    const connection = bare(service.url);
    await connection.open;
    connection.socket.send(START);
    connection.socket.send(MEDIA);
    await expect.poll(() => service.ear.sampleCount).toBe(3);
    return { ...service, ...connection };
  }

  it('fails when a message is too large', async () => {
    const { socket, closed, ear, outcomes } = await admitted();
    socket.send('x'.repeat(300 * 1024));
    expect(await ear.ended).toEqual({
      kind: 'failed',
      error: expect.objectContaining({
        code: 'ListenConnectionError',
        message: 'The media stream sent a message that is too large',
      }),
    });
    expect(await closed).toBe(1009);
    expect(await outcomes()).toEqual({ admitted: 1 });
  });

  it('fails when the peer breaks the WebSocket protocol', async () => {
    const { socket, ear } = await admitted();
    // A frame that is not masked, which a client's must be.
    (socket as unknown as { _socket: { write(bytes: Buffer): void } })._socket.write(Buffer.of(0x81, 0x01, 0x78));
    expect(await ear.ended).toEqual({
      kind: 'failed',
      error: expect.objectContaining({ message: 'The media stream sent an invalid message' }),
    });
  });

  it('is closed by a close frame, whatever its code, and lost without one', async () => {
    for (const code of [1000, 1001, 1011, 4000]) {
      const { socket, ear } = await admitted();
      socket.close(code);
      expect(await ear.ended).toEqual({ kind: 'closed' });
    }
    const { socket, ear } = await admitted();
    socket.terminate();
    expect(await ear.ended).toEqual({ kind: 'lost' });
  });

  it('is closed by the stop event, and what follows it is not heard', async () => {
    const { socket, ear, closed } = await admitted();
    socket.send(STOP);
    socket.send(MEDIA);
    expect(await closed).toBe(1000);
    expect(ear.ends).toEqual([{ kind: 'closed' }]);
    expect(ear.sampleCount).toBe(3);
  });

  it('is stopped by its listener', async () => {
    const { tokens, ear, closed, server } = await admitted();
    tokens.stop.abort();
    expect(ear.ends).toEqual([{ kind: 'stopped' }]);
    expect(await closed).toBe(1000);
    await expect.poll(() => server.connections).toBe(0);
  });

  it('outlives garbage, keys, binary noise and empty audio', async () => {
    const { socket, ear, dropped, ignored } = await admitted();
    const odd = [
      '{',
      '{"event":"dtmf","dtmf":{"digit":"7351"}}',
      Buffer.of(0),
      '',
      '{"event":"media","media":{"payload":""}}',
    ];
    for (const message of [...odd, START, '{"event":"media","media":{"payload":"%%%%"}}', MEDIA]) socket.send(message);
    await expect.poll(() => ear.sampleCount).toBe(6);
    expect(await dropped()).toEqual({ unusable_audio: 2 });
    expect(await ignored()).toEqual({ garbage_text: 2, dtmf: 1, unexpected_binary: 1, second_start: 1 });
  });
});

describe('many at once', () => {
  it('do not disturb one another', async () => {
    const ears = new Map<string, Ear>();
    const { url, server } = await serve({
      limits: { startTimeoutMs: 60_000 },
      admit: async ({ token, source }) => {
        const ear = new Ear();
        ears.set(token, ear);
        await source.open(ear, { signal: new AbortController().signal, connectTimeoutMs: 1_000 });
        return true;
      },
    });
    const troublemakers = Array.from({ length: 6 }, () => bare(url));
    await Promise.all(troublemakers.map(({ open }) => open));
    const platforms = ['twilio', 'telnyx', 'plivo', 'vapi_transcriber'] as const;
    const calls = platforms.map((platform) => dial(url, platform, {}, { token: `tok-${platform.slice(0, 4)}` }));
    const [big, loud, cut, silly, early] = troublemakers.map(({ socket }) => socket);
    big!.send('x'.repeat(1_000_000));
    for (let i = 0; i < 2_000; i++) loud!.send('{"event":');
    cut!.terminate();
    silly!.send(Buffer.alloc(10_000));
    for (let i = 0; i < 10; i++) early!.send(MEDIA);
    await Promise.all(calls.map(({ ended }) => ended));
    for (const ear of ears.values()) await ear.ended;
    expect([...ears].map(([token, ear]) => [token, ear.sampleCount, ear.ends])).toEqual(
      expect.arrayContaining([
        ['tok-twil', 16_000, [{ kind: 'closed' }]],
        ['tok-teln', 16_000, [{ kind: 'closed' }]],
        ['tok-pliv', 16_000, [{ kind: 'closed' }]],
        ['tok-vapi', 32_000, [{ kind: 'closed' }]],
      ]),
    );
    // Those who only waste time are still there: nobody was cut off but who was at fault.
    await expect.poll(() => server.connections).toBe(3);
  });
});

describe('closing the server', () => {
  it('ends every stream, refuses new ones, and waits until they are gone', async () => {
    const { url, server, ear, outcomes } = await serve();
    const call = dial(url, 'twilio', { end: 'stay_open' });
    await expect.poll(() => ear.sampleCount).toBe(16_000);
    const waiting = bare(url);
    await waiting.open;
    const closing = server.close();
    expect(await bare(url).refused).toBe(503);
    await closing;
    expect(server.connections).toBe(0);
    expect(ear.ends).toEqual([{ kind: 'stopped' }]);
    expect(await call.ended).toEqual({ kind: 'closed', code: 1001 });
    expect(await waiting.closed).toBe(1001);
    expect(await outcomes()).toEqual({ admitted: 1, stopped: 1, closing: 1 });
  });

  it('does not wait for a peer that does not answer', async () => {
    const { port, server } = await serve();
    const connection = createConnection(port, '127.0.0.1', () => connection.write(upgrade(streamPath('plivo'))));
    const cut = new Promise((resolve) => connection.on('close', resolve));
    connection.on('error', () => undefined);
    connection.resume();
    await expect.poll(() => server.connections).toBe(1);
    await server.close();
    await cut;
    expect(server.connections).toBe(0);
  });
});
