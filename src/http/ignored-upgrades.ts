/**
 * Requests that offer to go on in another protocol, which nobody here speaks (`curl --http2` offers h2c with every request).
 * HTTP wants the offer ignored and the request answered. Node ignores it only on servers that accept no upgrades at all;
 * otherwise it stops reading behind the headers.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Connections } from './connections.js';

export interface IgnoredUpgrade {
  readonly request: IncomingMessage;
  readonly connection: Duplex;
  /** What came behind the headers. */
  readonly head: Buffer;
}

/** Lets `server` read the request once more, without its offer: with its body, and under all the limits of any other. */
export function serveWithoutUpgrade(server: Server, connections: Connections, upgrade: IgnoredUpgrade): void {
  const { request, connection, head } = upgrade;
  if (connections.answersOn(connection).length > 0) {
    // Node loses the order of answers when a connection begins anew.
    connection.destroy();
    return;
  }
  if (request.rawHeaders.length / 2 >= (server.maxHeadersCount ?? Number.POSITIVE_INFINITY)) {
    // Some may have been dropped, and without its length a body would be read as the next request.
    connection.on('error', () => connection.destroy());
    server.emit(
      'clientError',
      Object.assign(new Error('Too many headers'), { code: 'HPE_HEADER_OVERFLOW' }),
      connection,
    );
    return;
  }
  connection.unshift(Buffer.concat([headOf(request), head]));
  server.emit('connection', connection);
}

function headOf({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.toLowerCase() !== 'upgrade') lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}
