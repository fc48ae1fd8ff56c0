/**
 * node:cluster hands each connection to a worker and forgets it when the worker dies before it has taken it: the client
 * would wait for ever, and the primary keep the file open (Node 20, `RoundRobinHandle.handoff`). Watched here are what it
 * sends to the worker and the acknowledgements, both internal to Node: should they change, that fault is back, no other.
 */
import type { Worker } from 'node:cluster';

interface Sent {
  readonly act?: unknown;
  readonly seq?: unknown;
  readonly ack?: unknown;
}

/** Closes the connections that the worker has not taken when it is gone, like those that it had. */
export function closeUntakenConnections(worker: Worker): void {
  const { process } = worker;
  const untaken = new Map<unknown, { close(): void }>();
  const send = process.send?.bind(process) as ((...args: unknown[]) => boolean) | undefined;
  process.send = (message: Sent, handle?: unknown, ...rest: unknown[]) => {
    if (message.act === 'newconn' && isHandle(handle)) untaken.set(message.seq, handle);
    return send?.(message, handle, ...rest) ?? false;
  };
  process.on('internalMessage', ({ ack }: Sent) => untaken.delete(ack));
  const close = () => {
    for (const handle of untaken.values()) handle.close();
    untaken.clear();
  };
  // Either may come first, and connections are handed out in between.
  worker.on('exit', close);
  worker.on('disconnect', close);
}

function isHandle(value: unknown): value is { close(): void } {
  return typeof value === 'object' && value !== null && 'close' in value && typeof value.close === 'function';
}
