import { once } from 'node:events';
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Connections } from '../../../src/http/connections.js';
import { eventually } from '../../support/eventually.js';

let server: Server;
let client: Socket;

afterEach(() => {
  client.destroy();
  server.close();
});

async function serve(listener: RequestListener): Promise<Connections> {
  server = createServer(listener);
  const connections = new Connections(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return connections;
}

function dial(bytes: string): void {
  const { port } = server.address() as AddressInfo;
  client = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => client.write(bytes));
  client.on('error', () => undefined).resume();
}

describe('Connections', () => {
  it('ends also those that an upgrade has taken over and whose peer stays', async () => {
    const connections = await serve(() => undefined);
    const upgraded = once(server, 'upgrade');
    dial('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    const [, connection] = (await upgraded) as [unknown, Socket];
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    expect(connection.destroyed).toBe(false);
    connections.destroyAll();
    expect(connection.destroyed).toBe(true);
    await closed;
  });

  it('knows the answers that a connection waits for', async () => {
    const connections = await serve(() => undefined);
    const asked = once(server, 'request');
    dial('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const [request, response] = await asked;
    expect(connections.answersOn(request.socket)).toEqual([response]);
    response.end();
    await eventually(() => expect(connections.answersOn(request.socket)).toEqual([]));
    expect(request.socket.destroyed).toBe(false);
  });

  it('closes with a connection also the answers that wait for their turn on it', async () => {
    const open = new Set<string>();
    const arrived: ServerResponse[] = [];
    await serve((request, response) => {
      open.add(request.url ?? '');
      arrived.push(response);
      response.once('close', () => open.delete(request.url ?? ''));
    });
    dial(['/1', '/2', '/3'].map((path) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`).join(''));
    await eventually(() => expect([...open]).toEqual(['/1', '/2', '/3']));
    client.destroy();
    await eventually(() => expect([...open]).toEqual([]));
    expect(arrived.map(({ destroyed, writableFinished }) => [destroyed, writableFinished])).toEqual(
      Array(3).fill([true, false]),
    );
    // Whoever answers all the same does no harm.
    for (const response of arrived) response.end('late');
  });
});
