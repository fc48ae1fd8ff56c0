/** Time and size limits of the listening socket itself, below the app: slow and endless requests end here. */
import type { Server } from 'node:http';
import type { Connections } from './connections.js';
import { answerUnreadableRequests } from './unreadable-requests.js';

/** Time to send the whole request, body included. Answers may take longer. */
const REQUEST_TIMEOUT_MS = 60_000;
const HEADERS_TIMEOUT_MS = 15_000;
/** Longer than the idle time of common load balancers (60 s), so that they never reuse a connection we are closing. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000;
const MAX_HEADERS = 100;

/** Sets the limits on a server made from the app, and how requests beyond them are answered. */
export function applyServerLimits(server: Server, connections: Connections): void {
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS;
  server.maxHeadersCount = MAX_HEADERS;
  answerUnreadableRequests(server, connections);
}
