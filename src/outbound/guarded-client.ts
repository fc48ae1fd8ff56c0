/**
 * Small requests to addresses that have passed the policy: no redirect is followed, an answer is read up to a limit, and what
 * goes wrong is a word, because errors of sockets name hosts and addresses.
 */
import type { Dispatcher } from 'undici';
import { createGuardedAgent } from './guarded-agent.js';
import { isHostRefused, type ResolveHost } from './guarded-lookup.js';

export interface GuardedClientOptions {
  readonly allowPrivateNetwork: boolean;
  /** For a whole exchange, unless the request says less. */
  readonly timeoutMs: number;
  readonly maxAnswerBytes: number;
  /** Name resolution; undefined = the configured name servers. */
  readonly resolve: ResolveHost | undefined;
}

export interface GuardedRequest {
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal;
}

export type GuardedAnswer =
  | { readonly kind: 'answered'; readonly status: number; readonly body: Uint8Array }
  | { readonly kind: 'failed'; readonly reason: 'aborted' | 'timeout' | 'blocked' | 'too_large' | 'connection' };

export class GuardedClient {
  readonly #options: GuardedClientOptions;
  readonly #agent: Dispatcher;

  constructor(options: GuardedClientOptions) {
    this.#options = options;
    this.#agent = createGuardedAgent(options);
  }

  /** Sends a request to `url`, which has passed the policy or comes from the operator. Never rejects. */
  async send(url: URL, request: GuardedRequest): Promise<GuardedAnswer> {
    const { method, headers, body, signal } = request;
    if (signal.aborted) return { kind: 'failed', reason: 'aborted' };
    const deadline = new AbortController();
    const timeoutMs = Math.min(request.timeoutMs ?? Number.POSITIVE_INFINITY, this.#options.timeoutMs);
    const timer = setTimeout(() => deadline.abort(), timeoutMs);
    try {
      const answer = await this.#agent.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers: { accept: 'application/json', 'accept-encoding': 'identity', ...headers },
        body: body ?? null,
        signal: AbortSignal.any([signal, deadline.signal]),
      });
      const bytes = await readUpTo(answer.body, this.#options.maxAnswerBytes);
      if (bytes === undefined) return { kind: 'failed', reason: 'too_large' };
      return { kind: 'answered', status: answer.statusCode, body: bytes };
    } catch (error) {
      if (signal.aborted) return { kind: 'failed', reason: 'aborted' };
      if (deadline.signal.aborted) return { kind: 'failed', reason: 'timeout' };
      return { kind: 'failed', reason: isHostRefused(error) ? 'blocked' : 'connection' };
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends running requests and closes all connections. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

async function readUpTo(body: Dispatcher.ResponseData['body'], maxBytes: number): Promise<Uint8Array | undefined> {
  // A body that is destroyed before its end reports that as an error, which is of no interest here.
  body.on('error', () => undefined);
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      if (length > maxBytes) return undefined;
      chunks.push(chunk);
    }
  } finally {
    body.destroy();
  }
  return Buffer.concat(chunks, length);
}
