/** The control URL of a simulated call: takes in what a server puts into the call while it runs, such as a late verdict. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ControlServer {
  readonly url: string;
  /** The messages so far, parsed; what is no JSON is kept as `undefined`. */
  readonly received: readonly unknown[];
  /** Resolves with the next message, or undefined after `timeoutMs`. */
  next(timeoutMs: number): Promise<unknown>;
  close(): Promise<void>;
}

const MAX_BYTES = 64 * 1024;

/** Listens on a free port of this machine. */
export async function startControlServer(): Promise<ControlServer> {
  const received: unknown[] = [];
  const waiting = new Set<(message: unknown) => void>();
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    let length = 0;
    request.on('data', (part: Buffer) => {
      length += part.length;
      if (length > MAX_BYTES) request.destroy();
      else parts.push(part);
    });
    request.on('end', () => {
      const message = parsed(Buffer.concat(parts).toString('utf8'));
      received.push(message);
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      for (const tell of waiting) tell(message);
    });
  });
  await listen(server);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/control`,
    received,
    next: (timeoutMs) =>
      new Promise((resolve) => {
        const done = (message: unknown) => {
          clearTimeout(timer);
          waiting.delete(done);
          resolve(message);
        };
        const timer = setTimeout(() => done(undefined), timeoutMs);
        waiting.add(done);
      }),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

function listen(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
