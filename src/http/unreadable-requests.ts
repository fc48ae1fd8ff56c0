/**
 * Answers what cannot be read as an HTTP request (no HTTP, headers too long, too slow) in the shape of every other error. Such
 * bytes never reach the app, so there is no request to log and nothing of them is repeated.
 */
import { type Server, STATUS_CODES } from 'node:http';
import { VoiceAuthError } from '../domain/errors.js';
import { correlationIdFrom } from '../observability/correlation.js';
import type { Connections } from './connections.js';
import { errorBody } from './error-table.js';

interface Refusal {
  /** HTTP has statuses of its own for what goes wrong below the app. */
  readonly status: number;
  readonly error: VoiceAuthError;
}

/** Makes `server` answer such connections and close them. */
export function answerUnreadableRequests(server: Server, connections: Connections): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // In the middle of an answer another one would be taken for a part of it.
    const answering = connections.answersOn(socket).some((begun) => begun.headersSent && !begun.writableEnded);
    if (socket.writable && !answering && error.code !== 'ECONNRESET') socket.write(answerTo(error));
    socket.destroy(error);
  });
}

function answerTo(fault: NodeJS.ErrnoException): string {
  const { status, error } = refusalOf(fault);
  const correlationId = correlationIdFrom(undefined);
  const body = JSON.stringify(errorBody(error, correlationId));
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'X-Content-Type-Options: nosniff',
    `X-Correlation-ID: ${correlationId}`,
    'Connection: close',
  ];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}

function refusalOf({ code }: NodeJS.ErrnoException): Refusal {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return { status: 431, error: new VoiceAuthError('PayloadTooLarge', 'The address and headers are too long') };
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return { status: 413, error: new VoiceAuthError('PayloadTooLarge', 'The chunk extensions are too long') };
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { status: 408, error: new VoiceAuthError('Timeout', 'The request took too long to arrive') };
    default:
      return { status: 400, error: new VoiceAuthError('ValidationError', 'This is not a valid HTTP request') };
  }
}
