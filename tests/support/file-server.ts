/** A file server for downloads: does what a good one does (ETag, Range, If-Range), or what the test says instead. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type FileHandler = (request: IncomingMessage, response: ServerResponse, index: number) => void;

export interface FileServer {
  readonly url: string;
  readonly requests: IncomingMessage[];
  /** Requests from now on. */
  handler: FileHandler;
  close(): Promise<void>;
}

export async function fileServer(handler: FileHandler, host = '127.0.0.1'): Promise<FileServer> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    response.on('error', () => undefined);
    files.handler(request, response, requests.length - 1);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const files: FileServer = {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    requests,
    handler,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
  return files;
}

/** Serves `body` under `etag`, whole or from where it is asked for. */
export function serve(body: Uint8Array, etag = '"v1"'): FileHandler {
  return (request, response) => {
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
    const condition = request.headers['if-range'];
    if (!range || (condition !== undefined && condition !== etag)) {
      response.writeHead(200, { 'content-length': body.length, etag }).end(body);
      return;
    }
    const start = Number(range[1]);
    if (start >= body.length) {
      response.writeHead(416, { 'content-range': `bytes */${body.length}` }).end();
      return;
    }
    const rest = body.subarray(start);
    const headers = {
      'content-length': rest.length,
      'content-range': `bytes ${start}-${body.length - 1}/${body.length}`,
    };
    response.writeHead(206, { ...headers, etag }).end(rest);
  };
}

/** Announces all of `body` and sends the first `bytes`; then it is the test's to cut the connection. */
export function begin(body: Uint8Array, bytes: number, etag: string | undefined = '"v1"'): FileHandler {
  return (_, response) => {
    response.writeHead(200, { 'content-length': body.length, ...(etag === undefined ? {} : { etag }) });
    response.write(body.subarray(0, bytes));
  };
}
