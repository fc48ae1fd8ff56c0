/**
 * Name resolution that refuses to leave the public internet. It is given to the socket as its `lookup`, so the addresses
 * checked are the ones dialled: a name that answers differently the second time (DNS rebinding) gains nothing. Sockets
 * skip `lookup` for literal addresses, which is why `checkUrl` decides about those.
 */
import { Resolver, lookup as systemLookup } from 'node:dns/promises';
import type { LookupFunction } from 'node:net';
import { isPublicAddress } from './address-policy.js';

export interface ResolvedAddress {
  readonly address: string;
  readonly family: 4 | 6;
}

/** Every address of a host name. Rejects or resolves to an empty list when there is none. */
export type ResolveHost = (hostname: string) => Promise<readonly ResolvedAddress[]>;

export interface GuardedLookupOptions {
  readonly allowPrivateNetwork: boolean;
  /** Default: `resolvePublicHost`, or the system's resolver (with its hosts file) when private networks are allowed. */
  readonly resolve?: ResolveHost;
}

/** The name has no address, or one that may not be dialled: deliberately one error, or it would map private networks. */
export class HostRefusedError extends Error {
  readonly code = 'ERR_HOST_REFUSED';

  constructor() {
    super('the host has no usable public address');
    this.name = 'HostRefusedError';
  }
}

const DNS_TIMEOUT_MS = 2500;
const DNS_TRIES = 2;

/**
 * A `dns.lookup`-compatible function for `net`, `tls`, undici and ws. It resolves every address of the name and fails
 * with `HostRefusedError` when there is none or when even one of them is not public (unless private networks are
 * allowed); otherwise it hands on exactly the addresses it has checked.
 */
export function createGuardedLookup(options: GuardedLookupOptions): LookupFunction {
  const resolve = options.resolve ?? (options.allowPrivateNetwork ? resolveSystemHost : resolvePublicHost);
  return (hostname, lookupOptions, callback) => {
    void resolve(hostname)
      .then(
        (addresses) => choose(addresses, lookupOptions.family, options.allowPrivateNetwork),
        () => [],
      )
      .then((addresses) => {
        const first = addresses[0];
        if (first === undefined) callback(new HostRefusedError(), '', 0);
        else if (lookupOptions.all) callback(null, [...addresses]);
        else callback(null, first.address, first.family);
      });
  };
}

/** True when `error` is a `HostRefusedError` or was caused by one, however deep libraries have wrapped it. */
export function isHostRefused(error: unknown): boolean {
  for (let current = error, depth = 0; current instanceof Error && depth < 8; current = current.cause, depth += 1) {
    if (current instanceof HostRefusedError) return true;
    if (current instanceof AggregateError && current.errors.some((inner) => inner instanceof HostRefusedError)) {
      return true;
    }
  }
  return false;
}

/**
 * Asks the configured name servers for A and AAAA records. Not `dns.lookup`: that one would occupy a thread of libuv's
 * small pool for as long as a hostile name server cares to stay silent, and would read the hosts file and search list.
 */
export async function resolvePublicHost(hostname: string): Promise<readonly ResolvedAddress[]> {
  const resolver = new Resolver({ timeout: DNS_TIMEOUT_MS, tries: DNS_TRIES });
  const [v4, v6] = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)]);
  return [
    ...(v4.status === 'fulfilled' ? v4.value.map((address) => ({ address, family: 4 as const })) : []),
    ...(v6.status === 'fulfilled' ? v6.value.map((address) => ({ address, family: 6 as const })) : []),
  ];
}

async function resolveSystemHost(hostname: string): Promise<readonly ResolvedAddress[]> {
  const addresses = await systemLookup(hostname, { all: true });
  return addresses.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 }));
}

function choose(
  addresses: readonly ResolvedAddress[],
  family: number | 'IPv4' | 'IPv6' | undefined,
  allowPrivateNetwork: boolean,
): readonly ResolvedAddress[] {
  if (!allowPrivateNetwork && !addresses.every(({ address }) => isPublicAddress(address))) return [];
  if (family === 4 || family === 'IPv4') return addresses.filter((candidate) => candidate.family === 4);
  if (family === 6 || family === 'IPv6') return addresses.filter((candidate) => candidate.family === 6);
  return addresses;
}
