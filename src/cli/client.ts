/** The command line's HTTP client: it speaks only to the public API of a running server. */
import { basename } from 'node:path';
import { clientEnvironment } from '../config/client-environment.js';
import { CommandError } from './command-error.js';
import { readInput } from './input-file.js';

export interface ClientOptions {
  readonly server?: string | undefined;
  readonly apiKey?: string | undefined;
}

/** Longer than a verification may listen (WEBSOCKET_TIMEOUT is at most 600 s). */
const ANSWER_TIMEOUT_MS = 660_000;

export type Json = Readonly<Record<string, unknown>>;

export class ApiClient {
  /** Of the server, without a trailing slash. */
  readonly url: string;
  private readonly apiKey: string | undefined;
  private readonly apiKeyFrom: string | undefined;

  /**
   * Options win over VOICE_AUTH_URL / VOICE_AUTH_API_KEY, which win over a development server on this machine. Throws
   * `CommandError` for what is no URL.
   */
  constructor(options: ClientOptions) {
    const environment = clientEnvironment();
    this.url = (options.server ?? environment.url).replace(/\/$/, '');
    if (!/^https?:\/\//i.test(this.url) || !URL.canParse(this.url)) {
      const name = options.server === undefined ? 'VOICE_AUTH_URL' : '--server';
      throw new CommandError(`${name} must be a URL such as http://127.0.0.1:8000`);
    }
    this.apiKey = options.apiKey ?? environment.apiKey;
    this.apiKeyFrom = options.apiKey === undefined ? environment.apiKeyFrom : '--api-key';
  }

  async get(path: string): Promise<Json> {
    return this.json(await this.send(path, { method: 'GET' }));
  }

  async post(path: string, body: Json): Promise<Json> {
    return this.json(await this.send(path, jsonRequest(body)));
  }

  /** Uploads a recording with form fields; undefined fields are left out. */
  async upload(path: string, file: string, fields: Readonly<Record<string, string | undefined>>): Promise<Json> {
    return this.json(await this.send(path, { method: 'POST', body: await form(file, fields) }));
  }

  /** Posts and follows the server-sent events; resolves with the `result` event, rejects on an `error` event. */
  async follow(
    path: string,
    request:
      | { readonly body: Json }
      | { readonly file: string; readonly fields: Readonly<Record<string, string | undefined>> },
    onProgress: (progress: Json) => void,
  ): Promise<Json> {
    const init: ClientRequest =
      'body' in request
        ? jsonRequest(request.body)
        : { method: 'POST', body: await form(request.file, request.fields) };
    const response = await this.send(path, { ...init, headers: { ...init.headers, accept: 'text/event-stream' } });
    if (!response.headers.get('content-type')?.startsWith('text/event-stream')) return this.json(response);
    for await (const { event, data } of serverSentEvents(this.chunksOf(response))) {
      if (event === 'progress') onProgress(data);
      if (event === 'result') return data;
      if (event === 'error') throw serverError(data);
    }
    throw new CommandError('The server ended the stream without a result');
  }

  private async send(path: string, init: ClientRequest): Promise<Response> {
    const headers = { ...init.headers, ...(this.apiKey ? { authorization: `Bearer ${this.apiKey}` } : {}) };
    try {
      return await fetch(this.url + path, {
        ...init,
        headers,
        redirect: 'error',
        signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
      });
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
      throw new CommandError(`No answer from ${this.url}${cause}. Is the server running? Start it with "npm start".`);
    }
  }

  private async json(response: Response): Promise<Json> {
    let text = '';
    for await (const chunk of this.chunksOf(response)) text += chunk;
    const body = text === '' ? {} : parseObject(text);
    if (response.status === 401) throw this.unauthorized(body);
    if (!response.ok) throw serverError(body, response.status);
    return body;
  }

  /** Which server and which key, since either may be another one than was meant; never the key itself. */
  private unauthorized(body: Json): CommandError {
    const what = this.apiKeyFrom === undefined ? 'wants an API key' : `does not accept the key from ${this.apiKeyFrom}`;
    const message = `the server at ${this.url} ${what}; give --api-key or VOICE_AUTH_API_KEY`;
    return new CommandError(describe({ ...body, message }, 401), body);
  }

  /** The text of an answer as it comes in. Throws `CommandError` when it does not come to its end. */
  private async *chunksOf(response: Response): AsyncGenerator<string> {
    if (!response.body) return;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read().catch(() => {
          throw new CommandError(`The connection to ${this.url} broke off before there was a result`);
        });
        if (done) return;
        yield value;
      }
    } finally {
      // Whoever has heard enough leaves the rest.
      reader.cancel().catch(() => undefined);
    }
  }
}

interface ClientRequest {
  readonly method: string;
  readonly body?: string | FormData;
  readonly headers?: Readonly<Record<string, string>>;
}

function jsonRequest(body: Json): ClientRequest {
  return { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
}

async function form(file: string, fields: Readonly<Record<string, string | undefined>>): Promise<FormData> {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) data.set(name, value);
  data.set('audio', new Blob([new Uint8Array(await readInput(file))]), basename(file));
  return data;
}

function parseObject(text: string): Json {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Json;
  } catch {
    // Falls through: a proxy's HTML page, say.
  }
  throw new CommandError('The answer is not JSON: is this a voice-auth server?');
}

function serverError(body: Json, status?: number): CommandError {
  return new CommandError(describe(body, status), body);
}

function describe(body: Json, status?: number): string {
  const code = typeof body.error === 'string' ? body.error : `HTTP ${status ?? '?'}`;
  const message = typeof body.message === 'string' ? body.message : 'request failed';
  const id = typeof body.correlation_id === 'string' ? ` (correlation id ${body.correlation_id})` : '';
  return `${code}: ${message}${id}`;
}

async function* serverSentEvents(chunks: AsyncIterable<string>): AsyncGenerator<{ event: string; data: Json }> {
  let buffered = '';
  for await (const chunk of chunks) {
    buffered += chunk;
    for (let end = buffered.indexOf('\n\n'); end >= 0; end = buffered.indexOf('\n\n')) {
      const lines = buffered.slice(0, end).split('\n');
      buffered = buffered.slice(end + 2);
      const event = lines
        .find((line) => line.startsWith('event:'))
        ?.slice(6)
        .trim();
      const data = lines
        .find((line) => line.startsWith('data:'))
        ?.slice(5)
        .trim();
      if (event && data) yield { event, data: parseObject(data) };
    }
  }
}
