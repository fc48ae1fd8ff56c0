/** What the tests of incoming streams share: a server as the service has it, tokens, ears, and everything that was logged. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { afterEach, expect } from 'vitest';
import type { PcmFrame, Track } from '../../src/audio/pcm-frame.js';
import type { StreamsConfig } from '../../src/config/config.js';
import type { ArrivingStream, StreamPlatform } from '../../src/domain/calls/calls.js';
import type { CallEnd, CallSink } from '../../src/domain/ports/call-source.js';
import { createLogger } from '../../src/observability/logger.js';
import { Metrics } from '../../src/observability/metrics.js';
import { type StreamCall, startStreamCall } from '../../src/telephony/simulator/stream-caller.js';
import type { StreamVariant } from '../../src/telephony/simulator/stream-variants.js';
import { createStreamServer, type StreamServerLimits } from '../../src/telephony/streams/stream-server.js';
import { privacyLeaks } from '../support/privacy.js';
import { speechLike } from '../unit/telephony/speech-like.js';

export const CALL = { caller: speechLike(2, 16_000, 3), agent: speechLike(2, 16_000, 8), sampleRateHz: 16_000 };
export const TOKEN = 'tok-5c1f9e77d0';
export const AUTH_TOKEN = 'a7f3c1d9e5';
/** What no log line may hold: tokens, keys that simulated callers press, parameters, payloads. */
const SECRETS = ['tok-', AUTH_TOKEN, '"7351"', 'is 7351', 'digit', 'Jane', 'payload', 'no+J', 'my label'];

const cleanups: (() => unknown)[] = [];
const logs: string[] = [];

/** To be run after the test, last one first. */
export function afterwards(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  const written = logs.splice(0).join('');
  expect(privacyLeaks(written, SECRETS)).toEqual([]);
});

/** A sink that copies, track by track, and lets tests wait for the end. */
export class Ear implements CallSink {
  readonly samples: Partial<Record<Track, number[]>> = {};
  readonly rates = new Set<number>();
  readonly ends: CallEnd[] = [];
  readonly ended: Promise<CallEnd>;
  afterEnd = 0;
  onEachFrame: (() => void) | undefined;
  readonly #expectedMs: Partial<Record<Track, number>> = {};
  timesWrong = 0;
  #end: (end: CallEnd) => void = () => undefined;

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  onFrame(frame: PcmFrame): void {
    if (this.ends.length > 0) this.afterEnd++;
    const expectedMs = this.#expectedMs[frame.track];
    if (expectedMs !== undefined && Math.abs(frame.startMs - expectedMs) > 1e-6) this.timesWrong++;
    this.#expectedMs[frame.track] = frame.startMs + (frame.samples.length * 1_000) / frame.sampleRateHz;
    this.rates.add(frame.sampleRateHz);
    const heard = this.samples[frame.track] ?? [];
    heard.push(...frame.samples);
    this.samples[frame.track] = heard;
    this.onEachFrame?.();
  }

  onEnd(end: CallEnd): void {
    this.ends.push(end);
    this.#end(end);
  }

  get sampleCount(): number {
    return Object.values(this.samples).reduce((sum, heard) => sum + heard.length, 0);
  }
}

/** Lets a stream in once per token, and listens to it. */
export class Tokens {
  readonly ear = new Ear();
  readonly stop = new AbortController();
  readonly arrived: Omit<ArrivingStream, 'source'>[] = [];
  readonly #good = new Set([TOKEN]);

  async admit({ source, platform, token }: ArrivingStream): Promise<boolean> {
    this.arrived.push({ platform, token });
    if (!this.#good.delete(token)) return false;
    await source.open(this.ear, { signal: this.stop.signal, connectTimeoutMs: 1_000 });
    return true;
  }
}

export interface TestServerOptions {
  readonly config?: Partial<StreamsConfig>;
  readonly limits?: Partial<StreamServerLimits>;
  readonly admit?: (stream: ArrivingStream) => Promise<boolean>;
}

/** An HTTP server on a free port that hands upgrades to a stream server. */
export async function serve({ config, limits, admit }: TestServerOptions = {}) {
  const metrics = new Metrics();
  const destination = new Writable({
    write: (line, _encoding, done) => {
      logs.push(String(line));
      done();
    },
  });
  const tokens = new Tokens();
  const http = createServer((_request, response) => response.writeHead(404).end());
  let url = '';
  const server = createStreamServer({
    config: { publicUrl: undefined, twilioAuthTokens: undefined, allowUnsigned: true, ...config },
    streams: { admit: admit ?? ((stream) => tokens.admit(stream)) },
    metrics,
    logger: createLogger('trace', destination),
    baseUrl: () => url,
    clientAddress: ({ headers, socket }) => String(headers['x-test-address'] ?? socket.remoteAddress),
    ...(limits ? { limits } : {}),
  });
  http.on('upgrade', (request, connection, head) => {
    if (!server.handleUpgrade(request, connection, head)) connection.end('HTTP/1.1 418 Elsewhere\r\n\r\n');
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const { port } = http.address() as AddressInfo;
  url = `http://127.0.0.1:${port}`;
  afterwards(async () => {
    await server.close();
    http.closeAllConnections();
    await new Promise((resolve) => http.close(resolve));
  });
  const count = async (
    metric: 'streamConnections' | 'framesDropped' | 'streamMessagesIgnored',
    label: 'outcome' | 'cause',
  ) => {
    const counted = (await metrics[metric].get()).values.filter(({ value }) => value > 0);
    return Object.fromEntries(counted.map(({ labels, value }) => [labels[label], value]));
  };
  return {
    url,
    port,
    server,
    tokens,
    ear: tokens.ear,
    metrics,
    outcomes: () => count('streamConnections', 'outcome'),
    dropped: () => count('framesDropped', 'cause'),
    ignored: () => count('streamMessagesIgnored', 'cause'),
    logged: () => logs.join(''),
  };
}

/** A simulated platform that plays `CALL`, hung up after the test. */
export function dial(
  serviceUrl: string,
  platform: StreamPlatform,
  variant: Partial<StreamVariant> = {},
  more: { readonly token?: string; readonly twilio?: { authToken: string; publicUrl?: string } } = {},
): StreamCall {
  const call = startStreamCall({
    platform,
    serviceUrl,
    token: more.token ?? TOKEN,
    audio: CALL,
    variant: { speed: 20, ...variant },
    ...(more.twilio ? { twilio: more.twilio } : {}),
  });
  afterwards(() => call.hangUp());
  return call;
}
