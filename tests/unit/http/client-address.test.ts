/** Upgrades never reach the app, so where they come from is found apart: it must be what the app would say. */
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { describe, expect, it } from 'vitest';
import { addressOf, addressOfUpgrade } from '../../../src/http/client-address.js';

/** What the app and the upgrade say about one request. */
async function addresses(trustProxy: number, forwardedFor: string | undefined) {
  const app = express();
  app.set('trust proxy', trustProxy);
  app.use((req, res) => {
    res.json([addressOf(req), addressOfUpgrade(req as IncomingMessage, trustProxy)]);
  });
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const headers = forwardedFor === undefined ? {} : { 'X-Forwarded-For': forwardedFor };
    const { port } = server.address() as AddressInfo;
    return (await (await fetch(`http://127.0.0.1:${port}/`, { headers })).json()) as string[];
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

describe('the address of an upgrade', () => {
  it.each([
    [0, undefined, '127.0.0.1'],
    [0, '198.51.100.7', '127.0.0.1'],
    [1, undefined, '127.0.0.1'],
    [1, '198.51.100.7', '198.51.100.7'],
    [1, '203.0.113.9, 198.51.100.7', '198.51.100.7'],
    [2, '203.0.113.9 ,198.51.100.7', '203.0.113.9'],
    [5, '203.0.113.9, 198.51.100.7', '203.0.113.9'],
    [1, '2001:db8:1:2ff:3::4', '2001:db8:1:200::/56'],
    [1, '', '127.0.0.1'],
    [2, ' , 203.0.113.9,,', '203.0.113.9'],
    [1, 'unknown', 'unknown'],
  ])('with %s proxies and X-Forwarded-For %j is that of a request', async (trustProxy, forwardedFor, expected) => {
    expect(await addresses(trustProxy, forwardedFor)).toEqual([expected, expected]);
  });
});
