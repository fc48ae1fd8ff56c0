/**
 * Which addresses this service may dial. Audio and listen URLs come from callers, so they are hostile: without this check
 * the service could be made to talk to the machine it runs on, to its neighbours, or to a cloud's metadata service.
 * Host names are only half decided here: what they resolve to is checked when they are dialled (`guarded-lookup.ts`).
 */
import ipaddr from 'ipaddr.js';
import type { OutboundConfig } from '../config/config.js';
import { type VoiceAuthError, validationError } from '../domain/errors.js';

/** What a URL is dialled for: a recording to download, a call to listen to, or a call to send something into. */
export type UrlKind = 'audio' | 'listen' | 'control';

export interface UrlPolicy {
  readonly kind: UrlKind;
  readonly config: Pick<OutboundConfig, 'listenHosts' | 'audioHosts' | 'controlHosts' | 'allowPrivateNetwork'>;
}

/** For files of models: the operator's own command names the source, so it is its hosts that are bounded. */
export interface ModelUrlPolicy {
  /** The only hosts that may be dialled, whatever else is allowed. */
  readonly hosts: readonly string[];
  /** Private addresses too: a mirror that the operator has named may lie inside. */
  readonly allowPrivateNetwork: boolean;
  /** Development only. */
  readonly allowPlainHttp: boolean;
}

type FieldKind = UrlKind | 'model';

const MAX_URL_LENGTH = 4096;
const FIELD = { audio: 'audioUrl', listen: 'listenUrl', control: 'controlUrl', model: 'url' } as const;
const HOSTS = { audio: 'audioHosts', listen: 'listenHosts', control: 'controlHosts' } as const;
const SECURE_SCHEME = { audio: 'https:', listen: 'wss:', control: 'https:', model: 'https:' } as const;
const PLAIN_SCHEME = { audio: 'http:', listen: 'ws:', control: 'http:', model: 'http:' } as const;

/** Names that never belong to the public internet (RFC 6761, RFC 6762, RFC 8375, and what private networks use). */
const PRIVATE_SUFFIXES = [
  'localhost',
  'localdomain',
  'local',
  'internal',
  'intranet',
  'private',
  'corp',
  'home',
  'lan',
  'home.arpa',
  'in-addr.arpa',
  'ip6.arpa',
  'onion',
  'test',
  'invalid',
];

/**
 * Addresses that look public but are answered by the cloud the service runs in: Azure's host, which hands out secrets of the
 * virtual machine (Microsoft, "What is IP address 168.63.129.16?").
 */
const CLOUD_HOST_ADDRESSES = new Set(['168.63.129.16']);

/** Globally routed IPv6 is allocated from this block only (IANA IPv6 address space registry). */
const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR('2000::/3');

/**
 * Checks a URL from a caller and returns it parsed, host normalised (lower case, no trailing dot). Throws
 * `ValidationError` on `audioUrl`, `listenUrl` or `controlUrl` with a message that says what is wrong and never contains the URL.
 */
export function checkUrl(raw: string, policy: UrlPolicy): URL {
  const { kind, config } = policy;
  const url = parse(raw, kind, { allowPlain: config.allowPrivateNetwork });
  const host = url.hostname;
  if (config.allowPrivateNetwork) return url;
  refusePrivate(url, kind);
  const patterns = config[HOSTS[kind]];
  const unrestricted = kind === 'audio' && patterns.length === 0;
  if (!unrestricted && !patterns.some((pattern) => matchesHost(pattern, host))) {
    throw refusal(kind, 'names a host that is not on the list of allowed hosts');
  }
  return url;
}

/**
 * Checks the URL of a model's file, or of a redirect on the way to it, as `checkUrl` does; throws `ValidationError` on `url`.
 * Unlike the others, its list of hosts holds even where private networks are allowed.
 */
export function checkModelUrl(raw: string, policy: ModelUrlPolicy): URL {
  const url = parse(raw, 'model', { allowPlain: policy.allowPlainHttp });
  if (!policy.allowPrivateNetwork) refusePrivate(url, 'model');
  if (!policy.hosts.some((pattern) => matchesHost(pattern, url.hostname))) {
    throw refusal('model', `names a host that is not one of ${policy.hosts.join(', ')}`);
  }
  return url;
}

/**
 * True for an address of the public internet, v4 or v6, given in any notation `ipaddr.js` reads. False for everything
 * private, local or reserved, for addresses that embed another one (NAT64, 6to4, Teredo), for zone ids, and for text that
 * is no address. An IPv4 address mapped into IPv6 is judged as what it is.
 */
export function isPublicAddress(address: string): boolean {
  if (address.includes('%') || !ipaddr.isValid(address)) return false;
  const parsed = ipaddr.process(address);
  if (parsed.range() !== 'unicast' || CLOUD_HOST_ADDRESSES.has(parsed.toString())) return false;
  return parsed instanceof ipaddr.IPv4 || parsed.match(GLOBAL_IPV6);
}

/** True when `host` is `pattern`, or, for `*.example.com`, any name below example.com (but not example.com itself). */
export function matchesHost(pattern: string, host: string): boolean {
  const wanted = pattern.toLowerCase().replace(/\.$/, '');
  const found = host.toLowerCase().replace(/\.$/, '');
  if (!wanted.startsWith('*.')) return wanted === found;
  const suffix = wanted.slice(1);
  return suffix.length > 1 && found.length > suffix.length && found.endsWith(suffix);
}

function parse(raw: string, kind: FieldKind, { allowPlain }: { readonly allowPlain: boolean }): URL {
  if (raw.length > MAX_URL_LENGTH) throw refusal(kind, `must not be longer than ${MAX_URL_LENGTH} characters`);
  let url: URL;
  try {
    url = new URL(raw);
  } catch {
    throw refusal(kind, 'must be a valid URL');
  }
  const plain = url.protocol === PLAIN_SCHEME[kind];
  if (url.protocol !== SECURE_SCHEME[kind] && !(plain && allowPlain)) {
    const exception = `${url.protocol}// and this machine only in development, with ALLOW_PRIVATE_NETWORK=true`;
    throw refusal(kind, `must start with ${SECURE_SCHEME[kind]}//${plain ? ` (${exception})` : ''}`);
  }
  if (url.username !== '' || url.password !== '') throw refusal(kind, 'must not contain a user name or password');
  const host = url.hostname.replace(/\.$/, '');
  if (host === '') throw refusal(kind, 'must name a host');
  url.hostname = host;
  return url;
}

function refusePrivate(url: URL, kind: FieldKind): void {
  if (!isPublicHost(url.hostname)) throw refusal(kind, 'must name a public host');
  if (!isOrdinaryPort(url.port)) throw refusal(kind, 'must use the standard port or one from 1024 up');
}

/** A host as the URL parser leaves it: decimal, octal, hex and short IPv4 notations are dotted quads by now. */
function isPublicHost(host: string): boolean {
  if (host.startsWith('[')) return isPublicAddress(host.slice(1, -1));
  if (ipaddr.isValid(host)) return isPublicAddress(host);
  if (!host.includes('.')) return false;
  return !PRIVATE_SUFFIXES.some((suffix) => host === suffix || host.endsWith(`.${suffix}`));
}

/** The URL parser has removed the scheme's own port; other low ports are never audio but mail, shells, databases. */
function isOrdinaryPort(port: string): boolean {
  return port === '' || Number(port) >= 1024;
}

function refusal(kind: FieldKind, message: string): VoiceAuthError {
  return validationError([{ path: FIELD[kind], message }]);
}
