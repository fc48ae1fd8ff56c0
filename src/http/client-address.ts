/** Where a client is, as limits per address see it: IPv6 by /56, since a client owns at least that much. */
import type { IncomingMessage } from 'node:http';
import type { Request } from 'express';
import { ipKeyGenerator } from 'express-rate-limit';

/** The client's address of a request that the app handles. */
export function addressOf(req: Request): string {
  return ipKeyGenerator(req.ip ?? '');
}

/** The same of an upgrade, which the app never sees; `trustProxy` = proxies in front whose `X-Forwarded-For` is believed. */
export function addressOfUpgrade(request: IncomingMessage, trustProxy: number): string {
  const forwarded = [request.headers['x-forwarded-for'] ?? []].flat().join(',').split(',');
  const proxies = forwarded.map((address) => address.trim()).filter(Boolean);
  // From the peer back to where the request began: each proxy appends who has dialled it.
  const way = [request.socket.remoteAddress ?? '', ...proxies.reverse()];
  return ipKeyGenerator(way[Math.min(trustProxy, way.length - 1)]!);
}
