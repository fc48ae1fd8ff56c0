/** Downloads against real servers on loopback, and, for the strict rules, against servers that must not be contacted. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { MockAgent } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import type { OutboundConfig } from '../../src/config/config.js';
import { VoiceAuthError } from '../../src/domain/errors.js';
import { GuardedFetcher, type GuardedFetcherOptions } from '../../src/recordings/recording-fetcher.js';
import { outboundConfig } from '../support/outbound-config.js';

const SECRET = 'token-5d1f';
const open: { close(): unknown }[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((resource) => resource.close()));
});

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function serve(handler: Handler): Promise<{ readonly url: string; readonly requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = [];
  const server: Server = createServer((request, response) => {
    requests.push(request);
    handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  open.push({
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

function fetcher(overrides: Partial<OutboundConfig> = {}, options: GuardedFetcherOptions = {}): GuardedFetcher {
  const created = new GuardedFetcher(outboundConfig({ allowPrivateNetwork: true, ...overrides }), options);
  open.push(created);
  return created;
}

const never = new AbortController().signal;

async function failureOf(work: Promise<unknown>): Promise<VoiceAuthError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(VoiceAuthError);
  const failure = error as VoiceAuthError;
  expect(JSON.stringify([failure.message, failure.details])).not.toContain(SECRET);
  expect(failure.cause).toBeUndefined();
  return failure;
}

function failedDownload(url: string, overrides: Partial<OutboundConfig> = {}): Promise<VoiceAuthError> {
  return failureOf(fetcher(overrides).fetch(`${url}/${SECRET}.wav?sig=${SECRET}`, { signal: never }));
}

describe('download', () => {
  it('returns the bytes as sent, asking for no compression', async () => {
    const body = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) % 251);
    const { url, requests } = await serve((_, response) => response.end(body));
    const bytes = await fetcher().fetch(`${url}/a.wav?x=1`, { signal: never });
    expect(Buffer.compare(bytes, body)).toBe(0);
    expect(requests[0]?.headers['accept-encoding']).toBe('identity');
    expect(requests[0]?.url).toBe('/a.wav?x=1');
  });

  it('follows up to three redirects, relative ones too', async () => {
    const { url } = await serve((request, response) => {
      const hop = Number(request.url?.slice(1));
      if (hop < 3) response.writeHead([301, 302, 307][hop]!, { location: `/${hop + 1}` }).end('moved');
      else response.end('audio');
    });
    expect(Buffer.from(await fetcher().fetch(`${url}/0`, { signal: never })).toString()).toBe('audio');
  });

  it('gives up at the fourth redirect', async () => {
    const { url, requests } = await serve((_, response) => response.writeHead(302, { location: '/again' }).end());
    expect(await failedDownload(url)).toMatchObject({ code: 'AudioDownloadError' });
    expect(requests).toHaveLength(4);
  });

  it.each([
    ['another scheme', 'ftp://127.0.0.1/a.wav'],
    ['a file', 'file:///etc/passwd'],
    ['credentials', 'http://user:password@127.0.0.1/a.wav'],
    ['no URL', 'http://['],
  ])('does not follow a redirect to %s', async (_, location) => {
    const { url, requests } = await serve((_request, response) => response.writeHead(302, { location }).end());
    expect(await failedDownload(url)).toMatchObject({ code: 'AudioDownloadError' });
    expect(requests).toHaveLength(1);
  });

  it('does not accept a redirect without a target', async () => {
    const { url } = await serve((_, response) => response.writeHead(302).end());
    expect(await failedDownload(url)).toMatchObject({ code: 'AudioDownloadError' });
  });

  it.each([204, 206, 304, 401, 403, 404, 500, 503])('fails for status %i and names it', async (status) => {
    const { url } = await serve((_, response) => response.writeHead(status).end());
    const failure = await failedDownload(url);
    expect(failure).toMatchObject({ code: 'AudioDownloadError', details: { status } });
    expect(failure.message).toContain(String(status));
  });

  it('fails for an empty body', async () => {
    const { url } = await serve((_, response) => response.end());
    expect(await failedDownload(url)).toMatchObject({ code: 'AudioDownloadError' });
  });

  it.each(['gzip', 'br', 'deflate', 'zstd', 'x-unknown'])('refuses content-encoding %s', async (encoding) => {
    const { url } = await serve((_, response) => {
      response.writeHead(200, { 'content-encoding': encoding }).end(gzipSync(Buffer.alloc(100_000)));
    });
    expect(await failedDownload(url)).toMatchObject({ code: 'AudioDownloadError' });
  });

  it('fails when the connection breaks off in the middle', async () => {
    const { url } = await serve((_, response) => {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('abc', () => response.destroy());
    });
    expect(await failedDownload(url)).toMatchObject({ code: 'AudioDownloadError' });
  });

  it('fails when nobody listens', async () => {
    const { url } = await serve((_, response) => response.end());
    await open.pop()?.close();
    expect(await failedDownload(url)).toMatchObject({ code: 'AudioDownloadError' });
  });
});

describe('byte limit', () => {
  it('refuses an announced length without reading the body', async () => {
    const { url } = await serve((_, response) => {
      response.writeHead(200, { 'content-length': '1000001' });
      response.flushHeaders();
    });
    expect(await failedDownload(url)).toMatchObject({
      code: 'PayloadTooLarge',
      details: { allowedBytes: 1_000_000 },
    });
  });

  it('stops an endless body at the limit', async () => {
    const { url } = await serve((_, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(16_384)));
        response.once('drain', more);
      };
      more();
    });
    expect(await failedDownload(url, { maxDownloadBytes: 50_000 })).toMatchObject({ code: 'PayloadTooLarge' });
  });

  it('is not fooled by a content-length that is too small', async () => {
    const { url } = await serve((request) => {
      request.socket.end(
        Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n'), Buffer.alloc(100_000, 65)]),
      );
    });
    const result = await fetcher({ maxDownloadBytes: 50_000 })
      .fetch(`${url}/a`, { signal: never })
      .catch((error: unknown) => error);
    // The surplus is either cut off or an error, never part of the recording.
    if (result instanceof Uint8Array) expect(result).toHaveLength(10);
    else expect(result).toMatchObject({ code: 'AudioDownloadError' });
  });

  it('accepts exactly as many bytes as allowed', async () => {
    const { url } = await serve((_, response) => response.end(Buffer.alloc(5000)));
    expect(await fetcher({ maxDownloadBytes: 5000 }).fetch(`${url}/a`, { signal: never })).toHaveLength(5000);
    expect(await failedDownload(url, { maxDownloadBytes: 4999 })).toMatchObject({ code: 'PayloadTooLarge' });
  });
});

describe('time limit', () => {
  it('ends a server that never answers', async () => {
    const { url } = await serve(() => undefined);
    expect(await failedDownload(url, { downloadTimeoutMs: 200 })).toMatchObject({ code: 'AudioDownloadError' });
  });

  it('ends a body that trickles for ever, byte by byte', async () => {
    const { url } = await serve((_, response) => {
      const timer = setInterval(() => response.write('x'), 10);
      response.once('close', () => clearInterval(timer));
    });
    const failure = await failedDownload(url, { downloadTimeoutMs: 300 });
    expect(failure).toMatchObject({ code: 'AudioDownloadError', message: expect.stringContaining('0.3 s') });
  });

  it('counts all redirects together', async () => {
    const { url } = await serve((_, response) => {
      setTimeout(() => response.writeHead(302, { location: '/next' }).end(), 150);
    });
    const failure = await failedDownload(url, { downloadTimeoutMs: 300 });
    expect(failure.message).toContain('0.3 s');
  });

  it('ends a name server that never answers', async () => {
    const silent = fetcher({ downloadTimeoutMs: 200 }, { resolve: () => new Promise(() => undefined) });
    expect(await failureOf(silent.fetch('http://audio.example.com/a', { signal: never }))).toMatchObject({
      code: 'AudioDownloadError',
    });
  });
});

describe('cancelling', () => {
  it('stops when the request ends, with its reason when that is one of ours', async () => {
    const controller = new AbortController();
    const { url } = await serve(() => controller.abort(new VoiceAuthError('Busy', 'shutting down')));
    expect(await failureOf(fetcher().fetch(url, { signal: controller.signal }))).toMatchObject({ code: 'Busy' });
    const plain = new AbortController();
    plain.abort();
    expect(await failureOf(fetcher().fetch(url, { signal: plain.signal }))).toMatchObject({ code: 'Timeout' });
  });

  it('is busy beyond the number of downloads at once, and free again afterwards', async () => {
    const waiting: ServerResponse[] = [];
    let arrived: () => void = () => undefined;
    const bothThere = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const { url } = await serve((_, response) => {
      waiting.push(response);
      if (waiting.length === 2) arrived();
    });
    const two = fetcher({}, { maxActive: 2 });
    const running = [two.fetch(`${url}/1`, { signal: never }), two.fetch(`${url}/2`, { signal: never })];
    await bothThere;
    const refused = await failureOf(two.fetch(`${url}/3`, { signal: never }));
    expect(refused).toMatchObject({ code: 'Busy', retryAfterSeconds: expect.any(Number) });
    for (const response of waiting) response.end('audio');
    await Promise.all(running);
    const again = two.fetch(`${url}/4`, { signal: never });
    await expect.poll(() => waiting.length).toBe(3);
    waiting[2]?.end('audio');
    expect(await again).toHaveLength(5);
  });

  it('fails running downloads when closed', async () => {
    let arrived: () => void = () => undefined;
    const there = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const { url } = await serve(() => arrived());
    const closing = fetcher();
    const failure = failureOf(closing.fetch(url, { signal: never }));
    await there;
    await closing.close();
    expect(await failure).toMatchObject({ code: 'AudioDownloadError' });
  });
});

describe('strict rules', () => {
  it.each([
    ['loopback', [{ address: '127.0.0.1', family: 4 as const }]],
    [
      'a public and a private address',
      [
        { address: '93.184.215.14', family: 4 as const },
        { address: '127.0.0.1', family: 4 as const },
      ],
    ],
    ['loopback as IPv6', [{ address: '::ffff:127.0.0.1', family: 6 as const }]],
  ])('does not dial a name that resolves to %s', async (_, addresses) => {
    const { url, requests } = await serve((_request, response) => response.end('internal'));
    const strict = fetcher({ allowPrivateNetwork: false }, { resolve: async () => addresses });
    const failure = await failureOf(
      strict.fetch(`https://audio.example.com:${new URL(url).port}/${SECRET}`, { signal: never }),
    );
    expect(failure).toMatchObject({ code: 'AudioDownloadError', message: expect.stringContaining('public address') });
    expect(requests).toHaveLength(0);
  });

  it.each(['http://audio.example.com/a', 'https://127.0.0.1/a', 'https://[::1]/a', 'https://u:p@audio.example.com/a'])(
    'refuses %s before anything is dialled',
    async (raw) => {
      const strict = fetcher({ allowPrivateNetwork: false }, { resolve: () => Promise.reject(new Error('asked')) });
      expect(await failureOf(strict.fetch(raw, { signal: never }))).toMatchObject({
        code: 'ValidationError',
        details: [{ path: 'audioUrl' }],
      });
    },
  );

  it.each([
    'https://127.0.0.1/latest/meta-data',
    'https://169.254.169.254/latest/meta-data',
    'https://2852039166/',
    'https://0x7f.1/',
    'https://[::ffff:7f00:1]/',
    'https://[64:ff9b::a9fe:a9fe]/',
    'https://localhost/',
    'https://metadata.google.internal/',
    'https://other.example.org/',
    'https://audio.example.com:22/',
    'http://audio.example.com/a.wav',
    '//10.0.0.1/a.wav',
    'ftp://audio.example.com/a.wav',
    'https://user:password@audio.example.com/a.wav',
  ])('does not follow a redirect to %s', async (location) => {
    const dispatcher = new MockAgent();
    dispatcher.disableNetConnect();
    const far = dispatcher.get('https://audio.example.com');
    far.intercept({ path: `/${SECRET}` }).reply(302, '', { headers: { location } });
    const strict = fetcher({ allowPrivateNetwork: false, audioHosts: ['audio.example.com'] }, { dispatcher });
    const failure = await failureOf(strict.fetch(`https://audio.example.com/${SECRET}`, { signal: never }));
    expect(failure).toMatchObject({ code: 'AudioDownloadError', message: expect.stringContaining('redirects') });
  });

  it('follows a redirect to another allowed host', async () => {
    const dispatcher = new MockAgent();
    dispatcher.disableNetConnect();
    const headers = { location: 'https://cdn.example.com/b.wav' };
    dispatcher.get('https://audio.example.com').intercept({ path: '/a.wav' }).reply(302, '', { headers });
    dispatcher.get('https://cdn.example.com').intercept({ path: '/b.wav' }).reply(200, 'audio');
    const strict = fetcher({ allowPrivateNetwork: false }, { dispatcher });
    expect(await strict.fetch('https://audio.example.com/a.wav', { signal: never })).toHaveLength(5);
  });

  it('does not fall back from https to http, even where http is allowed', async () => {
    const dispatcher = new MockAgent();
    dispatcher.disableNetConnect();
    const headers = { location: 'http://audio.example.com/a.wav' };
    dispatcher.get('https://audio.example.com').intercept({ path: '/a.wav' }).reply(302, '', { headers });
    const failure = await failureOf(
      fetcher({}, { dispatcher }).fetch('https://audio.example.com/a.wav', { signal: never }),
    );
    expect(failure).toMatchObject({ code: 'AudioDownloadError', message: expect.stringContaining('https to http') });
  });
});
