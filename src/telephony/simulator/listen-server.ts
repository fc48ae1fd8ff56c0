/**
 * A listen server that behaves like the platform's, in every variant known of it: for the demo, the `simulate` command,
 * tests and benchmarks. One process plays hundreds of calls at once.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { CallPlayback, type PlaybackCounters } from './call-playback.js';
import { Ticker } from './ticker.js';
import { type WireVariant, wireVariant } from './variants.js';
import { type CallAudio, type WireAudio, wireAudio } from './wire-audio.js';

/** One call: who speaks, and how the wire behaves (defaults: `DEFAULT_VARIANT`). */
export interface CallScript extends CallAudio {
  readonly variant?: Partial<WireVariant>;
}

export interface ListenSimulatorOptions {
  /**
   * The script of a call, by call id; undefined answers 404. Scripts are told apart by identity: calls that share one
   * script object share its rendered audio.
   */
  readonly call: (callId: string) => CallScript | undefined;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: a free one. */
  readonly port?: number;
}

export interface CallStats extends Readonly<PlaybackCounters> {
  readonly connections: number;
  readonly refused: number;
  /** Listeners at present. */
  readonly open: number;
  /** When the latest connection opened, as `performance.now()` counts; 0 before the first. Its audio is paced from there. */
  readonly openedAtMs: number;
}

export interface ListenSimulator {
  readonly port: number;
  /**
   * The listen URL of a call, whose audio is rendered now rather than on connecting. Throws `ValidationError` when the
   * options of its script are out of range.
   */
  url(callId: string): string;
  /** What one call has sent so far, over all its listeners; zeros for a call nobody asked for. */
  stats(callId: string): CallStats;
  /** Sums over all calls. */
  totals(): Omit<CallStats, 'openedAtMs'>;
  /** Forgets the counts of a call that is over, for those who play many. */
  forget(callId: string): void;
  /** Cuts all connections and stops listening. */
  close(): Promise<void>;
}

/** A script made ready: checked, rendered. */
interface PreparedCall {
  readonly variant: WireVariant;
  readonly audio: WireAudio;
}

type Counters = PlaybackCounters & { connections: number; refused: number; open: number; openedAtMs: number };

const PATH = /^\/([A-Za-z0-9._~-]{1,128})\/listen$/;
const STATUS_TEXT: Readonly<Record<number, string>> = {
  401: 'Unauthorized',
  404: 'Not Found',
  409: 'Conflict',
  425: 'Too Early',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

/** Starts the simulator; resolves when it listens. Rejects when the port is taken. */
export async function startListenSimulator(options: ListenSimulatorOptions): Promise<ListenSimulator> {
  const simulator = new Simulator(options);
  await simulator.listen();
  return simulator;
}

class Simulator implements ListenSimulator {
  readonly #options: ListenSimulatorOptions;
  readonly #http: Server;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    clientTracking: false,
    maxPayload: 4_096,
  });
  readonly #connections = new Set<Duplex>();
  readonly #ticker = new Ticker();
  readonly #prepared = new WeakMap<CallScript, PreparedCall>();
  readonly #counters = new Map<string, Counters>();

  constructor(options: ListenSimulatorOptions) {
    this.#options = options;
    this.#http = createServer((_request, response) => response.writeHead(426).end());
    this.#http.on('upgrade', (request, connection, head) => this.#upgrade(request, connection, head));
    this.#http.on('connection', (connection) => {
      this.#connections.add(connection);
      connection.on('close', () => this.#connections.delete(connection));
    });
  }

  get port(): number {
    return (this.#http.address() as AddressInfo).port;
  }

  url(callId: string): string {
    const script = this.#options.call(callId);
    if (script) this.#prepare(script);
    return `ws://${this.#host.includes(':') ? `[${this.#host}]` : this.#host}:${this.port}/${callId}/listen`;
  }

  stats(callId: string): CallStats {
    return { ...(this.#counters.get(callId) ?? noCounters()) };
  }

  forget(callId: string): void {
    this.#counters.delete(callId);
  }

  totals(): Omit<CallStats, 'openedAtMs'> {
    const sum = noCounters();
    for (const counters of this.#counters.values()) {
      for (const key of Object.keys(sum) as (keyof Counters)[]) sum[key] += counters[key];
    }
    return sum;
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#http.once('error', reject);
      this.#http.listen(this.#options.port ?? 0, this.#host, () => {
        this.#http.off('error', reject);
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()));
    for (const connection of this.#connections) connection.destroy();
    await closed;
  }

  get #host(): string {
    return this.#options.host ?? '127.0.0.1';
  }

  #upgrade(request: IncomingMessage, connection: Duplex, head: Buffer): void {
    connection.on('error', () => connection.destroy());
    const callId = PATH.exec(request.url ?? '')?.[1];
    const script = callId === undefined ? undefined : this.#options.call(callId);
    if (callId === undefined || !script) {
      refuse(connection, 404);
      return;
    }
    const prepared = this.#tryPrepare(script);
    if (!prepared) {
      refuse(connection, 500);
      return;
    }
    const { variant, audio } = prepared;
    const counters = this.#countersOf(callId);
    if (variant.bearerToken !== undefined && request.headers.authorization !== `Bearer ${variant.bearerToken}`) {
      counters.refused++;
      refuse(connection, 401);
      return;
    }
    if (counters.refused < variant.refuseFirst) {
      counters.refused++;
      refuse(connection, variant.refuseWith);
      return;
    }
    this.#sockets.handleUpgrade(request, connection, head, (socket) => {
      counters.connections++;
      counters.open++;
      const startedMs = performance.now();
      counters.openedAtMs = startedMs;
      const playback = new CallPlayback({ socket, connection, audio, variant, counters, startedMs });
      const leave = this.#ticker.add((nowMs) => {
        if (!playback.serve(nowMs)) leave();
      });
      socket.on('error', () => socket.terminate());
      socket.on('close', () => {
        counters.open--;
        leave();
      });
      // The backlog goes out at once, not when the ticker comes round.
      if (!playback.serve(startedMs)) leave();
    });
  }

  /** A connection to a call whose script is unusable must not end the process that plays all the others. */
  #tryPrepare(script: CallScript): PreparedCall | undefined {
    try {
      return this.#prepare(script);
    } catch {
      return undefined;
    }
  }

  #prepare(script: CallScript): PreparedCall {
    let prepared = this.#prepared.get(script);
    if (!prepared) {
      const variant = wireVariant(script.variant ?? {});
      prepared = { variant, audio: wireAudio(script, variant) };
      this.#prepared.set(script, prepared);
    }
    return prepared;
  }

  #countersOf(callId: string): Counters {
    let counters = this.#counters.get(callId);
    if (!counters) {
      counters = noCounters();
      this.#counters.set(callId, counters);
    }
    return counters;
  }
}

function refuse(connection: Duplex, how: number | 'reset'): void {
  if (how !== 'reset') {
    connection.end(`HTTP/1.1 ${how} ${STATUS_TEXT[how]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    return;
  }
  if (connection instanceof Socket) connection.resetAndDestroy();
  else connection.destroy();
}

function noCounters(): Counters {
  return { framesSent: 0, audioBytesSent: 0, textFramesSent: 0, connections: 0, refused: 0, open: 0, openedAtMs: 0 };
}
