/** What the tests of the listen source share: a sink that watches, the source, and a simulator. */
import { Writable } from 'node:stream';
import { afterEach } from 'vitest';
import type { PcmFrame, Track } from '../../src/audio/pcm-frame.js';
import type { OutboundConfig, VapiListenConfig } from '../../src/config/config.js';
import type { CallEnd, CallSink, CallSource } from '../../src/domain/ports/call-source.js';
import { createLogger } from '../../src/observability/logger.js';
import { Metrics } from '../../src/observability/metrics.js';
import {
  type CallScript,
  type ListenSimulator,
  startListenSimulator,
} from '../../src/telephony/simulator/listen-server.js';
import { createCallSources } from '../../src/telephony/vapi/vapi-call-sources.js';
import { speechLike } from '../unit/telephony/speech-like.js';

export const CALL = { caller: speechLike(3, 16_000, 3), agent: speechLike(3, 16_000, 8), sampleRateHz: 16_000 };
export const SECRET_ID = 'call-0d9f8a7b6c';
const OUTBOUND: OutboundConfig = {
  listenHosts: ['*.vapi.ai'],
  audioHosts: [],
  controlHosts: [],
  allowPrivateNetwork: true,
  downloadTimeoutMs: 1_000,
  maxDownloadBytes: 1_000,
};
export const AUTO: VapiListenConfig = {
  sampleRateHz: undefined,
  channels: undefined,
  callerChannel: 0,
  monoIsCaller: false,
  bearerToken: undefined,
};

/** Run after each test, last one first. */
export const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A sink that copies, counts what must not happen, and lets tests wait for events. */
export class Listener implements CallSink {
  readonly samples: number[] = [];
  readonly tracks = new Set<Track>();
  readonly rates = new Set<number>();
  ends: CallEnd[] = [];
  afterEnd = 0;
  frames = 0;
  readonly ended: Promise<CallEnd>;
  onEachFrame: (() => void) | undefined;
  #end: (end: CallEnd) => void = () => undefined;

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  onFrame(frame: PcmFrame): void {
    if (this.ends.length > 0) this.afterEnd++;
    this.frames++;
    this.tracks.add(frame.track);
    this.rates.add(frame.sampleRateHz);
    for (const sample of frame.samples) this.samples.push(sample);
    this.onEachFrame?.();
  }

  onEnd(end: CallEnd): void {
    this.ends.push(end);
    this.#end(end);
  }
}

/** Call sources as the service makes them, with their log lines and connection outcomes. */
export function setup(config: Partial<VapiListenConfig> = {}, outbound: Partial<OutboundConfig> = {}) {
  const metrics = new Metrics();
  const lines: string[] = [];
  const logger = createLogger(
    'trace',
    new Writable({
      write: (line, _encoding, done) => {
        lines.push(String(line));
        done();
      },
    }),
  );
  const sources = createCallSources({
    vapi: { ...AUTO, ...config },
    outbound: { ...OUTBOUND, ...outbound },
    metrics,
    logger,
  });
  const outcomes = async () => {
    const counted = (await metrics.listenConnections.get()).values.filter(({ value }) => value > 0);
    return Object.fromEntries(counted.map(({ labels, value }) => [labels.outcome, value]));
  };
  return { sources, metrics, lines, logger, outcomes };
}

/** A simulator that plays `script` under `SECRET_ID`. */
export async function simulate(script: CallScript): Promise<ListenSimulator> {
  const simulator = await startListenSimulator({ call: (id) => (id === SECRET_ID ? script : undefined) });
  cleanups.push(() => simulator.close());
  return simulator;
}

/** Opens `source` with a stop switch that is thrown after the test. */
export function open(listener: Listener, source: CallSource, connectTimeoutMs = 10_000) {
  const stop = new AbortController();
  cleanups.push(() => stop.abort());
  return { stop, opened: source.open(listener, { signal: stop.signal, connectTimeoutMs }) };
}
