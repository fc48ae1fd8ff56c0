/** A call on VAPI as a source of caller audio: connects to its listen URL and pushes frames until the call ends. */
import type { LookupFunction } from 'node:net';
import type { WebSocket } from 'ws';
import type { VapiListenConfig } from '../../config/config.js';
import type { CallOpenOptions, CallSink, CallSource } from '../../domain/ports/call-source.js';
import type { Logger } from '../../observability/logger.js';
import type { Metrics } from '../../observability/metrics.js';
import { SpanKind, withSpan } from '../../observability/tracing.js';
import { ListenDecoder } from './listen-decoder.js';
import { dialListenSocket } from './listen-dialer.js';
import { ListenSession } from './listen-session.js';

export interface VapiListenSourceOptions {
  readonly config: VapiListenConfig;
  /** Resolves the host when it is dialled and refuses addresses that may not be. */
  readonly lookup: LookupFunction;
  readonly metrics: Pick<Metrics, 'listenConnections' | 'framesReceived' | 'framesDropped'>;
  readonly logger: Logger;
}

export class VapiListenSource implements CallSource {
  readonly #url: URL;
  readonly #options: VapiListenSourceOptions;

  /** `url` has been checked against the outgoing-connection rules and is kept secret. */
  constructor(url: URL, options: VapiListenSourceOptions) {
    this.#url = new URL(url);
    // Never sent anyway, and ws refuses it.
    this.#url.hash = '';
    this.#options = options;
  }

  /**
   * Connects and starts pushing audio to `sink`; frames may come, and even the end, in the moment of connecting, before
   * the caller has seen the promise resolve. Rejects with `ListenConnectionError` when no connection came about in
   * time, when it was refused for good (authentication, redirect, address, certificate), or when `signal` fired first.
   */
  async open(sink: CallSink, { signal, connectTimeoutMs }: CallOpenOptions): Promise<void> {
    const { config, lookup, metrics, logger } = this.#options;
    await withSpan(
      'listen.connect',
      {},
      async (span) => {
        const outcome = await dialListenSocket(this.#url, {
          lookup,
          bearerToken: config.bearerToken,
          timeoutMs: connectTimeoutMs,
          signal,
          onOpen: (socket) => this.#listen(socket, sink, signal),
          onRetry: (answer) => {
            metrics.listenConnections.inc({ outcome: 'retried' });
            logger.debug({ answer }, 'listen socket not open yet');
          },
        });
        const label = outcome.kind === 'open' ? 'open' : outcome.reason;
        metrics.listenConnections.inc({ outcome: label });
        span.setAttributes({ 'listen.attempts': outcome.attempts, 'listen.outcome': label });
        if (outcome.kind === 'failed') throw outcome.error;
        logger.debug({ attempts: outcome.attempts }, 'listen socket open');
      },
      { kind: SpanKind.CLIENT },
    );
  }

  #listen(socket: WebSocket, sink: CallSink, signal: AbortSignal): void {
    const { config, metrics, logger } = this.#options;
    new ListenSession(socket, {
      sink,
      signal,
      logger,
      decoder: (onFrame) => new ListenDecoder({ config, metrics, logger, onFrame }),
    });
  }
}
