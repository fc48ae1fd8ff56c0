import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { WebhookHmacConfig } from '../../../../src/config/config.js';
import { credentialHeaders, HMAC_VARIANTS } from '../../../../src/telephony/simulator/webhook-variants.js';
import {
  accessByHeaders,
  authenticateWebhook,
  type WebhookHeaders,
} from '../../../../src/telephony/vapi/webhook/webhook-authentication.js';
import { webhookConfig } from '../../../support/webhook-harness.js';

const BODY = Buffer.from('{"message":{"type":"status-update","note":"grüße"}}');
const SENT_MS = 1_720_071_550_225;

/** Computed with Python's hmac and checked with openssl, over BODY, with this key. */
const KEY = 'hmac-s3cret';
const VECTORS = {
  sha256: '6de89a345ce85f1377c5818e2ef2a88a1afcdc6986162168c63d2225024edec6',
  sha256Base64: 'beiaNFzoXxN3xYGOLvKoihr83GmGFiFoxj0iJQJO3sY=',
  sha1: '03d23676759a34c19f86d0a9674daab3079d9279',
  sha512:
    '0a11bed12d8b6475e672427df38b178b71db1ae6388a6262b385985a4c13fd0d2899b08cc2e81503198333409325405afffd895e4ee12ffec21953b21ce3dd34',
  bodyOnly: 'ae02ebc27fade9a7c9634ad94e941cc6406f4e70999ffdfe45c764031795c493',
  milliseconds: '12e280a0605b4808cead2a84164ca4f2845b16ed97014e4c04534fa7b6327f7d',
  iso: '7b76aa1c50398e4cc68bcc6d39f6b704de7ccbfca2fa7c5b2045e424a5dc0133',
  otherTemplate: 'dc4d1bffb6bd4dc4e7cbe1028a79a8c053ef2842def19deacf6eb61e9fb7e658',
};

function hmac(overrides: Partial<WebhookHmacConfig> = {}): WebhookHmacConfig {
  return { ...HMAC_VARIANTS.documented.hmac, secrets: [KEY], ...overrides };
}

function bySignature(headers: WebhookHeaders, overrides: Partial<WebhookHmacConfig> = {}, nowMs = SENT_MS): string {
  const config = webhookConfig({ secrets: [], hmac: hmac(overrides) });
  return authenticateWebhook({ headers, body: BODY }, config, nowMs).kind;
}

const signed = (signature: string, timestamp = '1720071550') => ({
  'x-signature': signature,
  'x-timestamp': timestamp,
});

describe('a shared secret or a token', () => {
  const config = webhookConfig({ secrets: ['old-one', 'new-one'], bearerTokens: ['token-1', 'token-2'] });
  const access = (headers: WebhookHeaders) => authenticateWebhook({ headers, body: BODY }, config, SENT_MS);

  it('may be any of those configured', () => {
    expect(access({ 'x-vapi-secret': 'old-one' })).toEqual({ kind: 'granted', by: 'secret' });
    expect(access({ 'x-vapi-secret': 'new-one' })).toEqual({ kind: 'granted', by: 'secret' });
    expect(access({ authorization: 'Bearer token-2' })).toEqual({ kind: 'granted', by: 'bearer' });
    expect(access({ authorization: 'bearer  token-1' })).toEqual({ kind: 'granted', by: 'bearer' });
    expect(access({ 'x-vapi-secret': 'wrong', authorization: 'Bearer token-1' }).kind).toBe('granted');
  });

  it.each<[string, WebhookHeaders]>([
    ['nothing', {}],
    ['an empty secret', { 'x-vapi-secret': '' }],
    ['a part of a secret', { 'x-vapi-secret': 'old-on' }],
    ['more than a secret', { 'x-vapi-secret': 'old-one ' }],
    ['both secrets', { 'x-vapi-secret': 'old-one, new-one' }],
    ['a list of headers', { 'x-vapi-secret': ['old-one', 'old-one'] }],
    ['a token as a secret', { 'x-vapi-secret': 'token-1' }],
    ['a secret as a token', { authorization: 'Bearer old-one' }],
    ['a token of another scheme', { authorization: 'Basic token-1' }],
    ['a token without a scheme', { authorization: 'token-1' }],
    ['an endless header', { 'x-vapi-secret': 'x'.repeat(100_000) }],
  ])('is refused: %s', (_what, headers) => {
    expect(access(headers)).toEqual({ kind: 'refused' });
  });

  it('is never an empty one, even if such were configured', () => {
    const empty = webhookConfig({ secrets: [''], bearerTokens: [''] });
    for (const headers of [{}, { 'x-vapi-secret': '' }, { authorization: 'Bearer ' }]) {
      expect(authenticateWebhook({ headers, body: BODY }, empty, 0).kind).toBe('refused');
    }
  });

  it('may have letters beyond ASCII, which arrive as bytes', () => {
    const umlaut = webhookConfig({ secrets: ['schlüssel'] });
    const asSent = Buffer.from('schlüssel', 'utf8').toString('latin1');
    expect(authenticateWebhook({ headers: { 'x-vapi-secret': asSent }, body: BODY }, umlaut, 0).kind).toBe('granted');
  });
});

describe('without any way configured', () => {
  const none = { secrets: [], bearerTokens: [], hmac: undefined };
  const local = { host: '127.0.0.1:8000', 'content-type': 'application/json' };

  it('nobody is believed, or in development every program on this machine', () => {
    const headers = { ...local, 'x-vapi-secret': '', authorization: 'Bearer ' };
    expect(authenticateWebhook({ headers, body: BODY }, webhookConfig(none), 0)).toEqual({ kind: 'closed' });
    expect(authenticateWebhook({ headers, body: BODY }, webhookConfig({ ...none, unauthenticated: true }), 0)).toEqual({
      kind: 'granted',
      by: 'development',
    });
  });

  it.each<[string, WebhookHeaders, string]>([
    ['a program', local, 'granted'],
    ['a charset', { ...local, 'content-type': 'Application/JSON; charset=utf-8' }, 'granted'],
    ['fetch of Node', { ...local, 'sec-fetch-mode': 'cors' }, 'granted'],
    ['localhost', { ...local, host: 'LocalHost' }, 'granted'],
    ['IPv6', { ...local, host: '[::1]:8000' }, 'granted'],
    ['the public name', { ...local, host: 'tunnel.example' }, 'granted'],
    ['the public name with a port', { ...local, host: 'Tunnel.Example:443' }, 'granted'],
    ['another name', { ...local, host: 'evil.example' }, 'foreign'],
    ['a name that begins alike', { ...local, host: 'localhost.evil.example' }, 'foreign'],
    ['a name behind a user', { ...local, host: 'evil.example@localhost' }, 'foreign'],
    ['another address', { ...local, host: '0.0.0.0:8000' }, 'foreign'],
    ['no name', { ...local, host: undefined }, 'foreign'],
    ['a web page', { ...local, origin: 'https://evil.example' }, 'foreign'],
    ['a web page without a name', { ...local, origin: 'null' }, 'foreign'],
    ['a web page of ours', { ...local, origin: 'http://127.0.0.1:8000' }, 'foreign'],
    ['a browser', { ...local, 'sec-fetch-site': 'none' }, 'foreign'],
    ['text', { ...local, 'content-type': 'text/plain' }, 'foreign'],
    ['a form', { ...local, 'content-type': 'text/plain; application/json' }, 'foreign'],
    ['anything', { ...local, 'content-type': undefined }, 'foreign'],
  ])('a development server asked by %s', (_what, headers, kind) => {
    const config = webhookConfig({ ...none, unauthenticated: true, publicHost: 'tunnel.example' });
    expect(accessByHeaders(headers, config).kind).toBe(kind);
    expect(authenticateWebhook({ headers, body: BODY }, config, 0).kind).toBe(kind);
  });

  it('is no matter where one is configured', () => {
    const headers = { host: 'auth.example', origin: 'https://app.example', 'x-vapi-secret': 's' };
    expect(accessByHeaders(headers, webhookConfig({ ...none, secrets: ['s'] })).kind).toBe('granted');
  });
});

describe('a signature', () => {
  it.each<[string, WebhookHeaders, Partial<WebhookHmacConfig>]>([
    ['sha256 in hex', signed(VECTORS.sha256), {}],
    ['upper-case hex', signed(VECTORS.sha256.toUpperCase()), {}],
    ['base64', signed(VECTORS.sha256Base64), { encoding: 'base64' }],
    ['base64 without padding', signed(VECTORS.sha256Base64.replace('=', '')), { encoding: 'base64' }],
    ['sha1', signed(VECTORS.sha1), { algorithm: 'sha1' }],
    ['sha512', signed(VECTORS.sha512), { algorithm: 'sha512' }],
    ['a prefix', signed(`sha256=${VECTORS.sha256}`), { prefix: 'sha256=' }],
    ['milliseconds', signed(VECTORS.milliseconds, '1720071550225'), {}],
    ['ISO time', signed(VECTORS.iso, '2024-07-04T05:39:10.225Z'), {}],
    ['the second of two keys', signed(VECTORS.sha256), { secrets: ['other', KEY] }],
    ['another template', signed(VECTORS.otherTemplate), { payload: 'v0:{timestamp}:{body}' }],
    [
      'other header names',
      { 'x-vapi-signature': VECTORS.sha256, 'x-vapi-timestamp': '1720071550' },
      { signatureHeader: 'x-vapi-signature', timestampHeader: 'x-vapi-timestamp' },
    ],
    ['the body alone, without a time', { 'x-signature': VECTORS.bodyOnly }, { payload: '{body}' }],
    ['the body alone, whatever the time', signed(VECTORS.bodyOnly, 'never'), { payload: '{body}' }],
  ])('is good: %s', (_what, headers, overrides) => {
    expect(bySignature(headers, overrides)).toBe('granted');
  });

  it.each<[string, WebhookHeaders, Partial<WebhookHmacConfig>]>([
    ['of another key', signed(VECTORS.sha256), { secrets: ['other'] }],
    ['of another hash', signed(VECTORS.sha1), {}],
    ['of the body alone', signed(VECTORS.bodyOnly), {}],
    ['with one digit changed', signed(VECTORS.sha256.replace('6', '7')), {}],
    ['too short', signed(VECTORS.sha256.slice(0, 32)), {}],
    ['too long', signed(`${VECTORS.sha256}00`), {}],
    ['with dirt after it', signed(`${VECTORS.sha256}zz`), {}],
    ['in the other encoding', signed(VECTORS.sha256Base64), {}],
    ['without its prefix', signed(VECTORS.sha256), { prefix: 'sha256=' }],
    ['with another prefix', signed(`sha512=${VECTORS.sha256}`), { prefix: 'sha256=' }],
    ['with a prefix nobody expects', signed(`sha256=${VECTORS.sha256}`), {}],
    ['without a time', { 'x-signature': VECTORS.sha256 }, {}],
    ['with another time', signed(VECTORS.sha256, '1720071551'), {}],
    ['with a time that is none', signed(VECTORS.sha256, 'now'), {}],
    ['with the time in words', signed(VECTORS.sha256, 'Thu, 04 Jul 2024 05:39:10 GMT'), {}],
    ['in a header of another name', { 'x-vapi-signature': VECTORS.sha256, 'x-timestamp': '1720071550' }, {}],
    ['empty', signed(''), {}],
  ])('is refused: %s', (_what, headers, overrides) => {
    expect(bySignature(headers, overrides)).toBe('refused');
  });

  it('is over the bytes of the body', () => {
    const config = webhookConfig({ secrets: [], hmac: hmac() });
    const spaced = Buffer.from(`${BODY.toString()} `);
    expect(authenticateWebhook({ headers: signed(VECTORS.sha256), body: spaced }, config, SENT_MS).kind).toBe(
      'refused',
    );
  });

  it('is good within the replay window, both ways, and not beyond', () => {
    const sent = 1_720_071_550_000;
    const at = (offsetMs: number) => bySignature(signed(VECTORS.sha256), { toleranceMs: 300_000 }, sent + offsetMs);
    expect([-300_000, -1, 0, 300_000].map(at)).toEqual(['granted', 'granted', 'granted', 'granted']);
    expect([-300_001, 300_001, Number.NaN].map(at)).toEqual(['refused', 'refused', 'refused']);
  });

  it('can be told only from the body, but its absence from the headers', () => {
    const config = webhookConfig({ secrets: ['s'], hmac: hmac() });
    expect(accessByHeaders(signed('anything'), config)).toEqual({ kind: 'signed' });
    expect(accessByHeaders({ 'x-timestamp': '1720071550' }, config)).toEqual({ kind: 'refused' });
    expect(accessByHeaders({ 'x-vapi-secret': 's' }, config)).toEqual({ kind: 'granted', by: 'secret' });
  });

  it.each(Object.entries(HMAC_VARIANTS))('of the simulator is good: %s', (_name, variant) => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ minLength: 1 }), (body, key) => {
        const scheme = { ...variant.hmac, secrets: [key] };
        const headers = credentialHeaders({ kind: 'hmac', hmac: scheme, timestamp: variant.timestamp }, body, SENT_MS);
        const judged = (sent: string) =>
          authenticateWebhook(
            { headers, body: Buffer.from(sent) },
            webhookConfig({ secrets: [], hmac: scheme }),
            SENT_MS,
          ).kind;
        expect(judged(body)).toBe('granted');
        expect(judged(`${body}.`)).toBe('refused');
      }),
      { numRuns: 25 },
    );
  });

  it('never throws, whatever the headers are', () => {
    const names = fc.constantFrom('x-vapi-secret', 'authorization', 'x-signature', 'x-timestamp', '__proto__');
    const values = fc.oneof(fc.string(), fc.array(fc.string()), fc.constant(undefined));
    fc.assert(
      fc.property(fc.dictionary(names, values), fc.uint8Array(), (headers, body) => {
        const config = webhookConfig({ bearerTokens: ['t'], hmac: hmac() });
        expect(authenticateWebhook({ headers, body }, config, SENT_MS).kind).toBe('refused');
      }),
    );
  });
});
