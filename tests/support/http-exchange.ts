/** HTTP as strangers speak it: paths, headers and bodies go out exactly as written, also where `fetch` would be too polite. */
import { randomBytes } from 'node:crypto';
import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

export interface Ask {
  /** Default POST with a body, else GET. */
  readonly method?: string;
  readonly path: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | Uint8Array;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** Sends one request on a connection of its own. The answer may come before the body has been sent. */
export function exchange(server: string, ask: Ask): Promise<Reply> {
  const method = ask.method ?? (ask.body === undefined ? 'GET' : 'POST');
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server);
    const sent = request({ hostname, port, method, path: ask.path, headers: ask.headers, agent: false });
    let answered = false;
    sent.on('error', (error) => {
      // An early answer may be followed by a reset, since the server does not read the rest.
      if (!answered) reject(error);
    });
    sent.on('response', (response) => {
      answered = true;
      text(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, headers: response.headers, text: body }),
        reject,
      );
    });
    sent.end(ask.body);
  });
}

/** Writes bytes to the server's port and resolves with all it answers until it closes the connection. */
export function exchangeBytes(server: string, bytes: string | Uint8Array): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server);
    const chunks: Buffer[] = [];
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', (error) => (chunks.length === 0 ? reject(error) : undefined));
    socket.on('close', () => resolve(parseReply(Buffer.concat(chunks).toString('utf8'))));
  });
}

/**
 * Sends a head (which must ask for `100-continue`, so that the server is known to have it), then the start of a body, then
 * vanishes; resolves when the connection is gone.
 */
export function sendAndVanish(server: string, head: string, start: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server);
    const socket = connect(Number(port), hostname, () => socket.write(head));
    socket.once('data', () => socket.write(start, () => socket.destroy()));
    socket.on('error', reject);
    socket.on('close', () => resolve());
  });
}

export interface FormPart {
  readonly name: string;
  readonly value: string | Uint8Array;
  /** Makes it a file part. */
  readonly filename?: string;
}

export interface Form {
  readonly headers: { readonly 'content-type': string };
  readonly body: Buffer;
}

/** A multipart/form-data body; names go in unescaped. */
export function form(parts: readonly FormPart[]): Form {
  const boundary = `b${randomBytes(8).toString('hex')}`;
  const chunks = parts.flatMap(({ name, value, filename }) => [
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="${name}"` +
        `${filename === undefined ? '' : `; filename="${filename}"\r\nContent-Type: application/octet-stream`}\r\n\r\n`,
    ),
    Buffer.from(value),
    Buffer.from('\r\n'),
  ]);
  return {
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
    body: Buffer.concat([...chunks, Buffer.from(`--${boundary}--\r\n`)]),
  };
}

function parseReply(raw: string): Reply {
  const split = raw.indexOf('\r\n\r\n');
  const [statusLine = '', ...lines] = raw.slice(0, split < 0 ? undefined : split).split('\r\n');
  const headers = lines.map((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  return {
    status: Number(statusLine.split(' ')[1] ?? 0),
    headers: Object.fromEntries(headers),
    text: split < 0 ? '' : raw.slice(split + 4),
  };
}
