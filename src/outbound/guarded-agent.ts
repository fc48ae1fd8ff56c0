/** The only HTTP client of the service: it dials checked addresses and keeps no connection longer than one request. */
import { Agent } from 'undici';
import { createGuardedLookup, type ResolveHost } from './guarded-lookup.js';

export interface GuardedAgentOptions {
  readonly allowPrivateNetwork: boolean;
  /** For connecting, for the headers, and between two pieces of the body. */
  readonly timeoutMs: number;
  /** Name resolution; undefined = the configured name servers. */
  readonly resolve: ResolveHost | undefined;
}

/** An undici agent whose sockets resolve names by the guarded lookup. Whoever makes it closes it. */
export function createGuardedAgent({ allowPrivateNetwork, timeoutMs, resolve }: GuardedAgentOptions): Agent {
  const lookup = createGuardedLookup({ allowPrivateNetwork, ...(resolve === undefined ? {} : { resolve }) });
  return new Agent({
    connect: { lookup, timeout: timeoutMs },
    pipelining: 1,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    // A kept connection would outlive the check of the name it was opened for.
    keepAliveTimeout: 1,
    keepAliveMaxTimeout: 1,
  });
}
