/** What becomes of upgrades: media streams are let in, other WebSockets refused, other protocols ignored. */
import type { Server } from 'node:http';
import type { Connections } from './http/connections.js';
import { serveWithoutUpgrade } from './http/ignored-upgrades.js';
import type { Metrics } from './observability/metrics.js';
import type { StreamServer } from './telephony/streams/stream-server.js';
import { refuseUpgrade } from './telephony/streams/upgrade-refusal.js';

export interface UpgradeDeps {
  readonly streams: Pick<StreamServer, 'handleUpgrade'>;
  readonly connections: Connections;
  readonly metrics: Pick<Metrics, 'httpRequests'>;
}

/** Makes `server` accept upgrades. */
export function acceptUpgrades(server: Server, { streams, connections, metrics }: UpgradeDeps): void {
  server.on('upgrade', (request, connection, head) => {
    if (streams.handleUpgrade(request, connection, head)) return;
    if (request.headers.upgrade?.toLowerCase() !== 'websocket') {
      serveWithoutUpgrade(server, connections, { request, connection, head });
      return;
    }
    metrics.httpRequests.inc({ operation: 'unknown', status: '404' });
    refuseUpgrade(connection, 404);
  });
}
