/** Answers to upgrades that are not let in: plain HTTP, nothing of the request repeated, and the connection goes. */
import type { Duplex } from 'node:stream';

const STATUS_TEXT = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  426: 'Upgrade Required',
  429: 'Too Many Requests',
  503: 'Service Unavailable',
} as const;

export type RefusalStatus = keyof typeof STATUS_TEXT;

const EXTRA_HEADERS: Partial<Record<RefusalStatus, string>> = {
  426: 'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n',
  429: 'Retry-After: 60\r\n',
  503: 'Retry-After: 1\r\n',
};

/** How long a peer may take to read the answer and leave. */
const LEAVE_MS = 1_000;

/** Answers `status` and closes the connection. */
export function refuseUpgrade(connection: Duplex, status: RefusalStatus): void {
  const timer = setTimeout(() => connection.destroy(), LEAVE_MS);
  connection.on('error', () => connection.destroy());
  connection.once('close', () => clearTimeout(timer));
  // What the peer still sends is thrown away, or the answer would be lost with it.
  connection.resume();
  connection.end(
    `HTTP/1.1 ${status} ${STATUS_TEXT[status]}\r\n${EXTRA_HEADERS[status] ?? ''}Connection: close\r\nContent-Length: 0\r\n\r\n`,
  );
}
