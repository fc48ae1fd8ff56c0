/**
 * Downloads recordings from URLs that callers name. Everything about such a server may be hostile: where its name
 * points, where it redirects to, how long it takes, how much it sends and what it claims about it.
 */
import type { Dispatcher } from 'undici';
import type { OutboundConfig } from '../config/config.js';
import { VoiceAuthError } from '../domain/errors.js';
import type { RecordingFetcher } from '../domain/ports/recordings.js';
import { checkUrl } from '../outbound/address-policy.js';
import { createGuardedAgent } from '../outbound/guarded-agent.js';
import { isHostRefused, type ResolveHost } from '../outbound/guarded-lookup.js';
import { joinChunks } from './byte-chunks.js';
import { cancelled } from './cancelled.js';

export interface GuardedFetcherOptions {
  /** Name resolution; default: the configured name servers. */
  readonly resolve?: ResolveHost;
  /** Downloads at once, which bounds memory; more are `Busy`. Default 16. */
  readonly maxActive?: number;
  /** What sends the requests, the caller's to close; default: an agent of our own that dials checked addresses only. */
  readonly dispatcher?: Dispatcher;
}

const MAX_REDIRECTS = 3;
const REDIRECT_STATUS = new Set([301, 302, 303, 307, 308]);
const BUSY_RETRY_SECONDS = 2;

export class GuardedFetcher implements RecordingFetcher {
  readonly #config: OutboundConfig;
  readonly #dispatcher: Dispatcher;
  readonly #ownsDispatcher: boolean;
  readonly #maxActive: number;
  #active = 0;

  constructor(config: OutboundConfig, options: GuardedFetcherOptions = {}) {
    this.#config = config;
    this.#maxActive = options.maxActive ?? 16;
    const { allowPrivateNetwork, downloadTimeoutMs: timeoutMs } = config;
    this.#dispatcher =
      options.dispatcher ?? createGuardedAgent({ allowPrivateNetwork, timeoutMs, resolve: options.resolve });
    this.#ownsDispatcher = options.dispatcher === undefined;
  }

  /**
   * Downloads a recording. Throws `ValidationError` for a URL that may not be dialled, `AudioDownloadError` for a
   * download that failed or took too long, `PayloadTooLarge` for more bytes than allowed (whatever the server
   * announced), `Busy` when too many downloads run and, when aborted, the abort reason if it is a `VoiceAuthError`, else
   * `Timeout`. No message contains the URL.
   */
  async fetch(audioUrl: string, options: { readonly signal: AbortSignal }): Promise<Uint8Array> {
    const url = checkUrl(audioUrl, { kind: 'audio', config: this.#config });
    if (this.#active >= this.#maxActive) {
      throw new VoiceAuthError('Busy', 'Too many recordings are being downloaded.', {
        retryAfterSeconds: BUSY_RETRY_SECONDS,
      });
    }
    this.#active += 1;
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), this.#config.downloadTimeoutMs);
    try {
      return await this.#follow(url, AbortSignal.any([options.signal, deadline.signal]));
    } catch (error) {
      if (options.signal.aborted) throw cancelled(options.signal);
      throw this.#failure(error, deadline.signal);
    } finally {
      clearTimeout(timer);
      this.#active -= 1;
    }
  }

  /** Ends running downloads and closes all connections. */
  async close(): Promise<void> {
    if (this.#ownsDispatcher) await this.#dispatcher.destroy();
  }

  async #follow(start: URL, signal: AbortSignal): Promise<Uint8Array> {
    let url = start;
    for (let hop = 0; ; hop += 1) {
      const response = await this.#request(url, signal);
      const { statusCode, headers, body } = response;
      // A body that is destroyed before its end reports that as an error, which is of no interest here.
      body.on('error', () => undefined);
      try {
        if (!REDIRECT_STATUS.has(statusCode)) return await this.#readBody(response, signal);
        if (hop === MAX_REDIRECTS) throw downloadError(`The audio URL redirects more than ${MAX_REDIRECTS} times.`);
        url = this.#redirectTarget(url, headers.location);
      } finally {
        body.destroy();
      }
    }
  }

  #request(url: URL, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    return this.#dispatcher.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method: 'GET',
      headers: { accept: 'audio/*, application/octet-stream;q=0.9, */*;q=0.5', 'accept-encoding': 'identity' },
      signal,
    });
  }

  #redirectTarget(from: URL, location: string | string[] | undefined): URL {
    if (typeof location !== 'string') throw downloadError('The audio URL redirects without saying where to.');
    let target: URL;
    try {
      target = checkUrl(new URL(location, from).href, { kind: 'audio', config: this.#config });
    } catch {
      throw downloadError('The audio URL redirects to an address that may not be dialled.');
    }
    if (from.protocol === 'https:' && target.protocol !== 'https:') {
      throw downloadError('The audio URL redirects from https to http.');
    }
    return target;
  }

  async #readBody(response: Dispatcher.ResponseData, signal: AbortSignal): Promise<Uint8Array> {
    const { statusCode, headers, body } = response;
    if (statusCode !== 200) {
      throw downloadError(`The audio URL answered with HTTP status ${statusCode}.`, { status: statusCode });
    }
    const encoding = headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity' && encoding !== '') {
      throw downloadError('The audio URL answered with a compressed transfer, although none was asked for.');
    }
    const maxBytes = this.#config.maxDownloadBytes;
    if (Number(headers['content-length']) > maxBytes) throw tooLarge(maxBytes);
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      signal.throwIfAborted();
      length += chunk.length;
      if (length > maxBytes) throw tooLarge(maxBytes);
      chunks.push(chunk);
    }
    if (length === 0) throw downloadError('The audio URL answered with an empty file.');
    return await joinChunks(chunks);
  }

  #failure(error: unknown, deadline: AbortSignal): VoiceAuthError {
    if (error instanceof VoiceAuthError) return error;
    if (deadline.aborted) {
      return downloadError(`The download took longer than ${this.#config.downloadTimeoutMs / 1000} s.`);
    }
    if (isHostRefused(error)) return downloadError('The host of the audio URL has no usable public address.');
    return downloadError('The audio URL could not be downloaded: the connection failed or broke off.');
  }
}

/** Neither `cause` nor text of the original error: both name hosts and addresses. */
function downloadError(message: string, details?: unknown): VoiceAuthError {
  return new VoiceAuthError('AudioDownloadError', message, details === undefined ? {} : { details });
}

function tooLarge(maxBytes: number): VoiceAuthError {
  return new VoiceAuthError('PayloadTooLarge', `The recording is larger than ${maxBytes} bytes.`, {
    details: { allowedBytes: maxBytes },
  });
}
