/** What is asked of VAPI, against real servers on loopback, and, for the strict rules, servers that must not be contacted. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { VapiApi, type VapiApiOptions } from '../../src/telephony/vapi/webhook/vapi-api.js';
import { outboundConfig } from '../support/outbound-config.js';

const CALL_ID = '6b38b0c2-5d0f-4a6e-9a43-0e1f2d3c4b5a';
const KEY = 'private-key';
const open: { close(): unknown }[] = [];
const never = new AbortController().signal;

afterEach(async () => {
  await Promise.all(open.splice(0).map((resource) => resource.close()));
});

async function serve(handler: (request: IncomingMessage, response: ServerResponse) => void) {
  const requests: IncomingMessage[] = [];
  const server: Server = createServer((request, response) => {
    requests.push(request);
    handler(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push({
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

function vapi(url: string, options: Partial<VapiApiOptions> = {}): VapiApi {
  const api = new VapiApi({ api: { url, privateKey: KEY }, outbound: outboundConfig(), ...options });
  open.push(api);
  return api;
}

const development = outboundConfig({ allowPrivateNetwork: true });
const find = (api: VapiApi, options: { timeoutMs?: number; signal?: AbortSignal } = {}) =>
  api.findCall(CALL_ID, { timeoutMs: 3_000, signal: never, ...options });

describe('looking up a call', () => {
  it('asks with the private key and takes what the call says', async () => {
    const { url, requests } = await serve((_, response) =>
      response.end(
        JSON.stringify({
          id: CALL_ID,
          customer: { number: '+14566836490' },
          monitor: { listenUrl: 'wss://a.vapi.ai/x', controlUrl: 'https://a.vapi.ai/x' },
        }),
      ),
    );
    expect(await find(vapi(url))).toEqual({
      kind: 'found',
      call: { callerNumber: '+14566836490', listenUrl: 'wss://a.vapi.ai/x', controlUrl: 'https://a.vapi.ai/x' },
    });
    expect(requests[0]).toMatchObject({
      method: 'GET',
      url: `/call/${CALL_ID}`,
      headers: { authorization: `Bearer ${KEY}` },
    });
  });

  it('keeps the path of the configured address', async () => {
    const { url, requests } = await serve((_, response) => response.end('{}'));
    expect(await find(vapi(`${url}/v2`))).toMatchObject({ kind: 'found', call: { listenUrl: undefined } });
    expect(requests[0]?.url).toBe(`/v2/call/${CALL_ID}`);
  });

  it('needs a key', async () => {
    const { url, requests } = await serve((_, response) => response.end('{}'));
    const api = vapi(url, { api: { url, privateKey: undefined } });
    expect(api.canFindCalls).toBe(false);
    expect(await find(api)).toEqual({ kind: 'failed', outcome: 'no_key' });
    expect(requests).toHaveLength(0);
  });

  it.each([401, 404, 500])('says no more than the status of HTTP %i', async (status) => {
    const { url } = await serve((_, response) => response.writeHead(status).end('{"monitor":{"listenUrl":"wss://x"}}'));
    expect(await find(vapi(url))).toEqual({ kind: 'failed', outcome: `http_${status}` });
  });

  it('follows no redirect, so that the key goes nowhere else', async () => {
    const elsewhere = await serve((_, response) => response.end('{}'));
    const { url } = await serve((_, response) => response.writeHead(302, { location: elsewhere.url }).end());
    expect(await find(vapi(url))).toEqual({ kind: 'failed', outcome: 'http_302' });
    expect(elsewhere.requests).toHaveLength(0);
  });

  it('bounds the answer in size and time', async () => {
    const endless = await serve((_, response) => {
      const piece = Buffer.alloc(65_536, 'x');
      const pump = () => {
        while (!response.destroyed && response.write(piece));
      };
      response.on('drain', pump);
      pump();
    });
    expect(await find(vapi(endless.url))).toEqual({ kind: 'failed', outcome: 'too_large' });
    const silent = await serve(() => undefined);
    expect(await find(vapi(silent.url), { timeoutMs: 50 })).toEqual({ kind: 'failed', outcome: 'timeout' });
    const trickling = await serve((_, response) => {
      response.write('{');
    });
    expect(await find(vapi(trickling.url), { timeoutMs: 50 })).toEqual({ kind: 'failed', outcome: 'timeout' });
  });

  it('stops when nobody waits any more', async () => {
    const stop = new AbortController();
    const { url } = await serve(() => stop.abort());
    expect(await find(vapi(url), { signal: stop.signal })).toEqual({ kind: 'failed', outcome: 'aborted' });
    expect(await find(vapi(url), { signal: stop.signal })).toEqual({ kind: 'failed', outcome: 'aborted' });
  });

  it('tells what is no JSON, and a connection that breaks', async () => {
    const text = await serve((_, response) => response.end('<html>'));
    expect(await find(vapi(text.url))).toEqual({ kind: 'failed', outcome: 'not_json' });
    const broken = await serve((request) => request.socket.destroy());
    expect(await find(vapi(broken.url))).toEqual({ kind: 'failed', outcome: 'connection' });
  });

  it('does not go to a name that leads into the private network', async () => {
    const { url, requests } = await serve((_, response) => response.end('{}'));
    const api = vapi(`https://api.vapi.example:${new URL(url).port}`, {
      resolve: async () => [{ address: '127.0.0.1', family: 4 }],
    });
    expect(await find(api)).toEqual({ kind: 'failed', outcome: 'blocked' });
    expect(requests).toHaveLength(0);
  });
});

describe('putting something into a call', () => {
  it.each([
    [
      { kind: 'message', content: 'verified' } as const,
      { type: 'add-message', message: { role: 'system', content: 'verified' }, triggerResponseEnabled: true },
    ],
    [{ kind: 'say', content: 'Thank you.' } as const, { type: 'say', content: 'Thank you.' }],
  ])('posts %j without any key', async (message, expected) => {
    const bodies: unknown[] = [];
    const { url, requests } = await serve(async (request, response) => {
      bodies.push(await json(request));
      response.writeHead(204).end();
    });
    const api = vapi(url, { outbound: development });
    expect(await api.control(`${url}/x/control?t=1`, message, never)).toEqual({ kind: 'delivered' });
    expect(bodies).toEqual([expected]);
    expect(requests[0]).toMatchObject({ method: 'POST', url: '/x/control?t=1' });
    expect(requests[0]?.headers).toMatchObject({ 'content-type': 'application/json' });
    expect(requests[0]?.headers).not.toHaveProperty('authorization');
  });

  it('refuses addresses that the policy refuses, without contacting them', async () => {
    const { url, requests } = await serve((_, response) => response.end());
    const port = new URL(url).port;
    const outbound = outboundConfig({ controlHosts: ['*.vapi.ai', '127.0.0.1'] });
    const api = vapi(url, { outbound, resolve: async () => [{ address: '127.0.0.1', family: 4 }] });
    const message = { kind: 'say', content: 'x' } as const;
    for (const target of [
      url,
      `https://127.0.0.1:${port}`,
      `https://evil.example:${port}`,
      'nonsense',
      `wss://a.vapi.ai`,
    ]) {
      expect(await api.control(target, message, never)).toEqual({ kind: 'failed', outcome: 'refused_url' });
    }
    const rebound = await api.control(`https://a.vapi.ai:${port}/control`, message, never);
    expect(rebound).toEqual({ kind: 'failed', outcome: 'blocked' });
    expect(requests).toHaveLength(0);
  });

  it.each([302, 400, 500])('fails with HTTP %i and does not try again', async (status) => {
    const { url, requests } = await serve((_, response) => response.writeHead(status, { location: '/other' }).end());
    const api = vapi(url, { outbound: development });
    expect(await api.control(url, { kind: 'say', content: 'x' }, never)).toEqual({
      kind: 'failed',
      outcome: `http_${status}`,
    });
    expect(requests).toHaveLength(1);
  });
});
