/**
 * Downloads one large file over an unreliable connection: goes on where it broke off when the server shows that the file is
 * still the same, starts over when it is not, follows redirects only to hosts that are allowed, and stops at the size cap.
 */
import type { Dispatcher } from 'undici';
import { VoiceAuthError } from '../domain/errors.js';
import { checkModelUrl, type ModelUrlPolicy } from '../outbound/address-policy.js';
import { isHostRefused } from '../outbound/guarded-lookup.js';
import { ModelPullError, type ModelPullReason } from './model-pull-error.js';
import type { PartFile } from './part-file.js';

export interface DownloadOptions {
  readonly url: string;
  readonly policy: ModelUrlPolicy;
  /** Dials; its time-outs say how long a server may be silent. */
  readonly dispatcher: Dispatcher;
  /** Null = not known beforehand. */
  readonly expectedBytes: number | null;
  readonly maxBytes: number;
  /** For everything, retries included. */
  readonly timeoutMs: number;
  /** Attempts in a row without a byte of progress, after the first. */
  readonly retries: number;
  /** Waits before the attempt after so many fruitless ones. */
  readonly backOff: (fruitless: number, signal: AbortSignal) => Promise<void>;
  readonly onProgress: (received: number, total: number | undefined) => void;
  /** What the person should know: going on, starting over, trying again. */
  readonly onNote: (note: string) => void;
}

const MAX_REDIRECTS = 5;
const REDIRECT_STATUS = new Set([301, 302, 303, 307, 308]);
const TRANSIENT_STATUS = new Set([408, 425, 429, 500, 502, 503, 504]);

const OTHER_FILE: ReadonlySet<ModelPullReason> = new Set(['wrong_size', 'too_large']);

/** Fills `part` with the file. Throws `ModelPullError`; what has come by then stays in `part`. */
export async function downloadFile(part: PartFile, options: DownloadOptions): Promise<void> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), options.timeoutMs);
  try {
    await new Download(part, options, deadline.signal).run();
  } catch (error) {
    // Bytes of another file than the wanted one are not worth keeping.
    if (error instanceof ModelPullError && OTHER_FILE.has(error.reason)) await part.restart(undefined);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

class Download {
  constructor(
    private readonly part: PartFile,
    private readonly options: DownloadOptions,
    private readonly deadline: AbortSignal,
  ) {}

  async run(): Promise<void> {
    const { retries, backOff, onNote, expectedBytes, url } = this.options;
    // All of it came before, and only what follows a download was not done.
    if (this.part.origin?.url === url && this.part.size === expectedBytes) return;
    for (let fruitless = 0; ; ) {
      const before = this.part.size;
      try {
        await this.attempt();
        return;
      } catch (error) {
        const failure = this.failure(error);
        if (!failure.transient) throw failure;
        fruitless = this.part.size > before ? 1 : fruitless + 1;
        if (fruitless > retries) throw failure;
        onNote(`${failure.message}; trying again`);
        await backOff(fruitless, this.deadline).catch(() => undefined);
        if (this.deadline.aborted) throw this.failure(undefined);
      }
    }
  }

  private async attempt(): Promise<void> {
    const { url } = this.options;
    const { size, origin } = this.part;
    const resumable = size > 0 && origin?.url === url;
    const headers = resumable ? { range: `bytes=${size}-`, 'if-range': origin.etag } : {};
    const { response, host } = await this.follow(url, headers);
    try {
      await this.take(response, host, resumable);
    } finally {
      response.body.destroy();
    }
  }

  /** The first answer that is no redirect. */
  private async follow(
    start: string,
    headers: Readonly<Record<string, string>>,
  ): Promise<{ response: Dispatcher.ResponseData; host: string }> {
    let url = this.check(start);
    for (let hop = 0; ; hop += 1) {
      const response = await this.options.dispatcher.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method: 'GET',
        headers: { accept: '*/*', 'accept-encoding': 'identity', ...headers },
        signal: this.deadline,
      });
      // A body that is destroyed before its end reports that as an error, which is of no interest here.
      response.body.on('error', () => undefined);
      if (!REDIRECT_STATUS.has(response.statusCode)) return { response, host: url.hostname };
      const { location } = response.headers;
      response.body.destroy();
      if (hop === MAX_REDIRECTS) throw new ModelPullError('refused_url', `${url.hostname} redirects too often`);
      if (typeof location !== 'string') {
        throw new ModelPullError('refused_url', `${url.hostname} redirects without saying where to`);
      }
      const next = this.check(absolute(location, url));
      if (url.protocol === 'https:' && next.protocol !== 'https:') {
        throw new ModelPullError('refused_url', `${url.hostname} redirects from https to http`);
      }
      url = next;
    }
  }

  private check(url: string): URL {
    try {
      return checkModelUrl(url, this.options.policy);
    } catch (error) {
      if (!(error instanceof VoiceAuthError)) throw error;
      throw new ModelPullError(
        'refused_url',
        `The address of the file, or one it redirects to, is refused: ${error.message}`,
      );
    }
  }

  private async take(response: Dispatcher.ResponseData, host: string, resumable: boolean): Promise<void> {
    const { part, options } = this;
    const { statusCode, headers } = response;
    const etag = strongEtag(headers.etag);
    let total: number | undefined;
    if (statusCode === 206 && resumable) {
      const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(String(headers['content-range'] ?? ''));
      const same = etag === undefined || etag === part.origin?.etag;
      if (!range || Number(range[1]) !== part.size || !same) {
        await part.restart(undefined);
        throw new ModelPullError('connection', `${host} does not go on where the file broke off`, true);
      }
      total = Number(range[2]);
      options.onNote(`Going on after ${part.size} bytes`);
    } else if (statusCode === 416 && resumable) {
      // Nothing follows because all of it has come: where no size is published, only the server can say so.
      if (headers['content-range'] === `bytes */${part.size}` && etag === part.origin?.etag) return;
      await part.restart(undefined);
      throw new ModelPullError('connection', `${host} has fewer bytes than have come: another file`, true);
    } else if (statusCode === 200) {
      if (part.size > 0) options.onNote('The file has changed, or the server cannot go on: starting over');
      total = headers['content-length'] === undefined ? undefined : Number(headers['content-length']);
      await part.restart(etag === undefined ? undefined : { url: options.url, etag });
    } else {
      throw new ModelPullError(
        'status',
        `${host} answers with HTTP status ${statusCode}`,
        TRANSIENT_STATUS.has(statusCode),
      );
    }
    const encoding = headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity' && encoding !== '') {
      throw new ModelPullError('status', `${host} sends a compressed file although none was asked for`);
    }
    this.requireSize(total);
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      this.deadline.throwIfAborted();
      this.requireRoom(part.size + chunk.length);
      await part.append(chunk);
      options.onProgress(part.size, total);
    }
    if (total !== undefined && part.size < total) {
      throw new ModelPullError('connection', `${host} broke off after ${part.size} of ${total} bytes`, true);
    }
  }

  /** What the server announces. */
  private requireSize(total: number | undefined): void {
    const { expectedBytes } = this.options;
    if (total === undefined) return;
    if (expectedBytes !== null && total !== expectedBytes) {
      throw new ModelPullError('wrong_size', `The file has ${total} bytes, the registry says ${expectedBytes}`);
    }
    this.requireRoom(total);
  }

  private requireRoom(bytes: number): void {
    const { expectedBytes, maxBytes } = this.options;
    if (bytes > (expectedBytes ?? maxBytes)) {
      throw new ModelPullError(
        'too_large',
        `The file is larger than the ${expectedBytes ?? maxBytes} bytes that are taken`,
      );
    }
  }

  private failure(error: unknown): ModelPullError {
    if (this.deadline.aborted) {
      const minutes = (this.options.timeoutMs / 60_000).toFixed(1);
      return new ModelPullError(
        'timeout',
        `The download took longer than ${minutes} minutes. What has come is kept: pull again`,
      );
    }
    if (error instanceof ModelPullError) return error;
    if (isHostRefused(error)) {
      return new ModelPullError('refused_url', 'The host of the file, or one it redirects to, has no usable address');
    }
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    return code.includes('TIMEOUT')
      ? new ModelPullError('timeout', 'The server does not answer, or stops sending', true)
      : new ModelPullError('connection', 'The connection failed or broke off', true);
  }
}

/** Only a strong validator says that bytes are the same. */
function strongEtag(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && /^"[\x21\x23-\x7e]*"$/.test(header) ? header : undefined;
}

function absolute(location: string, from: URL): string {
  try {
    return new URL(location, from).href;
  } catch {
    return location;
  }
}
