/**
 * Does a webhook come from VAPI? A secret in a header, a bearer token, or a signature over the raw body; any one way that is
 * configured will do, with any of its secrets. Comparisons take the same time however much of a secret is right.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { VapiWebhookConfig, WebhookHmacConfig } from '../../../config/config.js';

export type WebhookHeaders = Readonly<Record<string, string | string[] | undefined>>;

export type WebhookAccess =
  /** Let in; `by` says how. */
  | { readonly kind: 'granted'; readonly by: 'secret' | 'bearer' | 'signature' | 'development' }
  | { readonly kind: 'refused' }
  /** No way is configured, so nobody can be believed. */
  | { readonly kind: 'closed' }
  /** No way is configured; a development server believes its own machine, but this may be a web page that is open on it. */
  | { readonly kind: 'foreign' };

type AccessConfig = Pick<VapiWebhookConfig, 'secrets' | 'bearerTokens' | 'hmac' | 'unauthenticated' | 'publicHost'>;

const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]'];
/** Name and port. */
const HOST = /^(\[[\da-f:.]+\]|[\w.-]+)(?::\d+)?$/i;
const BEARER = /^bearer +(\S+)$/i;
/** Beyond this a header holds neither a secret nor a signature. */
const MAX_HEADER_LENGTH = 1_024;
/** Numbers below are seconds, above milliseconds. */
const SECONDS_BELOW = 1e11;
const NUMBER = /^\d{1,16}(\.\d{1,9})?$/;
const ISO_TIME = /^\d{4}-\d\d-\d\dT[\d:.]{5,18}(Z|[+-]\d\d:?\d\d)$/i;

/** Judges a webhook by its headers and the bytes of its body, at the time `nowMs`. */
export function authenticateWebhook(
  webhook: { readonly headers: WebhookHeaders; readonly body: Uint8Array },
  config: AccessConfig,
  nowMs: number,
): WebhookAccess {
  const early = accessByHeaders(webhook.headers, config);
  if (early.kind !== 'signed') return early;
  const { hmac } = config;
  const genuine = hmac !== undefined && isSigned(webhook, hmac, nowMs);
  return genuine ? { kind: 'granted', by: 'signature' } : { kind: 'refused' };
}

/** The same before the body is there: `signed` means that only the body can tell. */
export function accessByHeaders(
  headers: WebhookHeaders,
  config: AccessConfig,
): WebhookAccess | { readonly kind: 'signed' } {
  if (config.unauthenticated) {
    return isFromProgram(headers, config.publicHost) ? { kind: 'granted', by: 'development' } : { kind: 'foreign' };
  }
  const { secrets, bearerTokens, hmac } = config;
  if (secrets.length === 0 && bearerTokens.length === 0 && hmac === undefined) return { kind: 'closed' };
  if (isOneOf(secrets, headerOf(headers, 'x-vapi-secret'))) return { kind: 'granted', by: 'secret' };
  const token = BEARER.exec(headerOf(headers, 'authorization') ?? '')?.[1];
  if (isOneOf(bearerTokens, token)) return { kind: 'granted', by: 'bearer' };
  if (hmac !== undefined && headerOf(headers, hmac.signatureHeader) !== undefined) return { kind: 'signed' };
  return { kind: 'refused' };
}

/**
 * Sent by a program to a name that this server goes by. Browsers let any web page post here, but not as JSON unasked, and say
 * that a page does; and a page may have its own name lead here, but then it is that name that is asked for.
 */
function isFromProgram(headers: WebhookHeaders, publicHost: string | undefined): boolean {
  if (headers.origin !== undefined || headers['sec-fetch-site'] !== undefined) return false;
  const type = headerOf(headers, 'content-type')?.split(';')[0]?.trim().toLowerCase();
  const name = HOST.exec(headerOf(headers, 'host') ?? '')?.[1]?.toLowerCase();
  return type === 'application/json' && name !== undefined && [...LOOPBACK_NAMES, publicHost].includes(name);
}

function isSigned(
  { headers, body }: { readonly headers: WebhookHeaders; readonly body: Uint8Array },
  hmac: WebhookHmacConfig,
  nowMs: number,
): boolean {
  const shown = headerOf(headers, hmac.signatureHeader);
  if (shown === undefined || !shown.startsWith(hmac.prefix)) return false;
  const signature = decoded(shown.slice(hmac.prefix.length), hmac.encoding);
  let timestamp = '';
  if (hmac.payload.includes('{timestamp}')) {
    timestamp = headerOf(headers, hmac.timestampHeader) ?? '';
    const sentMs = timeOf(timestamp);
    // A NaN must refuse, too.
    if (!(Math.abs(nowMs - sentMs) <= hmac.toleranceMs)) return false;
  }
  // Every secret is tried, so that the time does not tell which one was right.
  return hmac.secrets.map((secret) => equal(sign(secret, hmac, { timestamp, body }), signature)).some(Boolean);
}

/** HMAC over the payload template with its placeholders filled in; the body goes in as the bytes it is. */
function sign(
  secret: string,
  hmac: WebhookHmacConfig,
  parts: { readonly timestamp: string; readonly body: Uint8Array },
): Buffer {
  const mac = createHmac(hmac.algorithm, secret);
  for (const piece of hmac.payload.split(/(\{timestamp\}|\{body\})/)) {
    if (piece === '{body}') mac.update(parts.body);
    else mac.update(piece === '{timestamp}' ? parts.timestamp : piece, 'utf8');
  }
  return mac.digest();
}

/** Bytes of a signature; of another text than a faithful encoding, none. */
function decoded(text: string, encoding: 'hex' | 'base64'): Buffer {
  const bytes = Buffer.from(text, encoding);
  const faithful =
    encoding === 'hex'
      ? bytes.toString('hex') === text.toLowerCase()
      : bytes.toString('base64').replace(/=+$/, '') === text.replace(/=+$/, '');
  return faithful ? bytes : Buffer.alloc(0);
}

/** Milliseconds since 1970; NaN for what is no time. */
function timeOf(text: string): number {
  if (NUMBER.test(text)) return Number(text) < SECONDS_BELOW ? Number(text) * 1000 : Number(text);
  return ISO_TIME.test(text) ? Date.parse(text) : Number.NaN;
}

function isOneOf(secrets: readonly string[], shown: string | undefined): boolean {
  // Node reads header bytes as Latin-1; a secret in UTF-8 has these very bytes.
  const hash = sha256(Buffer.from(shown ?? '', 'latin1'));
  const matches = secrets.map((secret) => timingSafeEqual(sha256(Buffer.from(secret, 'utf8')), hash));
  return shown !== undefined && matches.some(Boolean);
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

function equal(expected: Buffer, shown: Buffer): boolean {
  return expected.length === shown.length && timingSafeEqual(expected, shown);
}

/** A header that came once, is not empty and not absurdly long. Names are lower case. */
function headerOf(headers: WebhookHeaders, name: string): string | undefined {
  const value = Object.hasOwn(headers, name) ? headers[name] : undefined;
  return typeof value === 'string' && value !== '' && value.length <= MAX_HEADER_LENGTH ? value : undefined;
}
