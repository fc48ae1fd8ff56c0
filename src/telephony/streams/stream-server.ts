/**
 * The door for platforms that dial us with a call's audio. It takes WebSocket upgrades of an HTTP server, checks what can be
 * checked before a WebSocket exists, and hands each connection to a session of its own.
 */
import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import type { StreamsConfig } from '../../config/config.js';
import type { StreamPlatform, StreamsUseCase } from '../../domain/calls/calls.js';
import type { Logger } from '../../observability/logger.js';
import type { Metrics } from '../../observability/metrics.js';
import { readStreamPath, STREAM_ENDPOINTS, webSocketAddress } from './platforms.js';
import { type StreamOutcome, StreamSession, type StreamSessionLimits } from './stream-session.js';
import { judgeSignature, type SignatureVerdict } from './twilio-signature.js';
import { type UnprovenRefusal, type UnprovenStreamLimits, UnprovenStreams } from './unproven-streams.js';
import { type RefusalStatus, refuseUpgrade } from './upgrade-refusal.js';

export interface StreamServerOptions {
  readonly config: StreamsConfig;
  readonly streams: Pick<StreamsUseCase, 'admit'>;
  readonly metrics: Pick<Metrics, 'streamConnections' | 'framesReceived' | 'framesDropped' | 'streamMessagesIgnored'>;
  readonly logger: Logger;
  /** Where the server listens, e.g. `http://127.0.0.1:8000`; asked when no public URL is configured. */
  readonly baseUrl: () => string;
  /** The client's address of an upgrade, as limits per address see it. */
  readonly clientAddress: (request: IncomingMessage) => string;
  /** Default: `STREAM_LIMITS`. */
  readonly limits?: Partial<StreamServerLimits>;
}

/** Streams that Twilio has signed may be `maxAwaiting` as well, and nothing else limits them: others cannot keep them out. */
export interface StreamServerLimits extends StreamSessionLimits, UnprovenStreamLimits {
  /** Longest message. */
  readonly maxMessageBytes: number;
}

/** Room for platforms that are slow or wordy, and no more. */
export const STREAM_LIMITS: StreamServerLimits = {
  startTimeoutMs: 5_000,
  admissionTimeoutMs: 10_000,
  maxBytesBeforeStart: 64 * 1024,
  maxAwaiting: 256,
  maxFailuresPerMinute: 100,
  // 6 s of 16 kHz L16 in base64, for a platform that sends its backlog in one piece.
  maxMessageBytes: 256 * 1024,
};

export interface StreamServer {
  /** Takes an upgrade over, or returns false: not for a stream. */
  handleUpgrade(request: IncomingMessage, connection: Duplex, head: Buffer): boolean;
  /** Streams that are connected at present, admitted or not. */
  readonly connections: number;
  /** Refuses new streams, ends those that are connected, and resolves when they are gone. */
  close(): Promise<void>;
}

/** What ws understands beyond its published types. */
interface SocketServerOptions extends ServerOptions {
  readonly closeTimeout: number;
}

/** A peer that does not answer our close frame is cut off after this. */
const CLOSE_TIMEOUT_MS = 1_000;
/** Silence on the connection after which the operating system asks whether the peer is still there. */
const KEEP_ALIVE_MS = 15_000;

interface Refusal {
  readonly status: RefusalStatus;
  /** Stable word for metrics. */
  readonly outcome: string;
}

const SIGNATURE_REFUSALS: Readonly<Record<Exclude<SignatureVerdict, 'valid'>, Refusal>> = {
  missing: { status: 401, outcome: 'signature_missing' },
  wrong: { status: 403, outcome: 'signature_wrong' },
  not_configured: { status: 403, outcome: 'signature_not_configured' },
};

const UNPROVEN_REFUSALS: Readonly<Record<UnprovenRefusal, Refusal>> = {
  rate_limited: { status: 429, outcome: 'rate_limited' },
  bad_token: { status: 403, outcome: 'bad_token' },
  crowded: { status: 503, outcome: 'crowded' },
};

/** An upgrade that was taken over. */
interface Arrival {
  readonly platform: StreamPlatform;
  readonly pathToken: string | undefined;
  /** Undefined = it has shown by a signature where it comes from. */
  readonly unprovenAddress: string | undefined;
}

/** Makes the server; it listens to nothing by itself. */
export function createStreamServer(options: StreamServerOptions): StreamServer {
  return new Door(options);
}

class Door implements StreamServer {
  readonly #options: StreamServerOptions;
  readonly #limits: StreamServerLimits;
  readonly #sockets: WebSocketServer;
  readonly #sessions = new Set<StreamSession>();
  readonly #unproven: UnprovenStreams;
  #awaitingSigned = 0;
  #closing = false;
  #onEmpty: (() => void) | undefined;

  constructor(options: StreamServerOptions) {
    this.#options = options;
    this.#limits = { ...STREAM_LIMITS, ...options.limits };
    this.#unproven = new UnprovenStreams(this.#limits);
    const socketOptions: SocketServerOptions = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      // Each message has a turn of the event loop, so that one chatty peer does not starve the others.
      allowSynchronousEvents: false,
      maxPayload: this.#limits.maxMessageBytes,
      // Text that is not UTF-8 is somebody's mistake, not a reason to lose the call.
      skipUTF8Validation: true,
      closeTimeout: CLOSE_TIMEOUT_MS,
    };
    this.#sockets = new WebSocketServer(socketOptions);
  }

  get connections(): number {
    return this.#sessions.size;
  }

  handleUpgrade(request: IncomingMessage, connection: Duplex, head: Buffer): boolean {
    const path = readStreamPath(request.url ?? '');
    if (path.kind === 'elsewhere') return false;
    if (path.kind === 'unknown') {
      refuseUpgrade(connection, 404);
      return true;
    }
    const { platform, token: pathToken } = path;
    // Without auth tokens nothing is checked, and `valid` proves nothing.
    const signed = STREAM_ENDPOINTS[platform].signed && (this.#options.config.twilioAuthTokens ?? []).length > 0;
    const unprovenAddress = signed ? undefined : this.#options.clientAddress(request);
    const arrival = { platform, pathToken, unprovenAddress };
    const refusal = this.#refusal(arrival, request);
    if (refusal) {
      this.#options.metrics.streamConnections.inc({ platform, outcome: refusal.outcome });
      this.#options.logger.info({ platform, outcome: refusal.outcome }, 'media stream refused');
      refuseUpgrade(connection, refusal.status);
      return true;
    }
    if (connection instanceof Socket) connection.setKeepAlive(true, KEEP_ALIVE_MS);
    this.#sockets.handleUpgrade(request, connection, head, (socket) => this.#connect(socket, arrival));
    return true;
  }

  async close(): Promise<void> {
    this.#closing = true;
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
    for (const session of this.#sessions) session.shutDown();
    if (this.#sessions.size > 0) await empty;
  }

  #refusal({ platform, pathToken, unprovenAddress }: Arrival, request: IncomingMessage): Refusal | undefined {
    const { method, headers } = request;
    if (
      method !== 'GET' ||
      headers.upgrade?.toLowerCase() !== 'websocket' ||
      headers['sec-websocket-version'] !== '13'
    ) {
      return { status: 426, outcome: 'no_websocket' };
    }
    const verdict = STREAM_ENDPOINTS[platform].signed ? this.#judge(request) : 'valid';
    if (verdict !== 'valid') return SIGNATURE_REFUSALS[verdict];
    if (this.#closing) return { status: 503, outcome: 'closing' };
    if (unprovenAddress === undefined) {
      return this.#awaitingSigned >= this.#limits.maxAwaiting ? UNPROVEN_REFUSALS.crowded : undefined;
    }
    const unproven = this.#unproven.refusal(unprovenAddress, platform, pathToken);
    return unproven && UNPROVEN_REFUSALS[unproven];
  }

  #judge(request: IncomingMessage): SignatureVerdict {
    const { config, baseUrl } = this.#options;
    const url = webSocketAddress(config.publicUrl ?? baseUrl()) + (request.url ?? '');
    return judgeSignature(request.headers['x-twilio-signature'], url, config);
  }

  #connect(socket: WebSocket, arrival: Arrival): void {
    const { streams, metrics, logger } = this.#options;
    const { platform, pathToken, unprovenAddress } = arrival;
    if (unprovenAddress === undefined) this.#awaitingSigned++;
    else this.#unproven.enter(unprovenAddress);
    const session = new StreamSession({
      socket,
      platform,
      adapter: STREAM_ENDPOINTS[platform].adapter(),
      pathToken,
      limits: this.#limits,
      streams,
      metrics,
      logger,
      onSettled: (outcome, token) => this.#settled(arrival, outcome, token),
    });
    this.#sessions.add(session);
    socket.on('close', () => {
      this.#sessions.delete(session);
      if (this.#sessions.size === 0) this.#onEmpty?.();
    });
  }

  #settled({ platform, pathToken, unprovenAddress }: Arrival, outcome: StreamOutcome, token: string | undefined): void {
    if (unprovenAddress === undefined) {
      this.#awaitingSigned--;
      return;
    }
    const badToken = outcome === 'bad_token' && token === pathToken ? token : undefined;
    this.#unproven.leave(unprovenAddress, outcome, { platform, badToken });
  }
}
