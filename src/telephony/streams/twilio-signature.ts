/**
 * Proof that Twilio dials: `X-Twilio-Signature` is base64(HMAC-SHA1(auth token, URL)). The URL is the public one, so it is
 * built from the configuration: a `Host` header is the peer's word.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { StreamsConfig } from '../../config/config.js';

/** The signature Twilio sends when it dials exactly `url`. */
export function twilioSignature(authToken: string, url: string): string {
  return createHmac('sha1', authToken).update(url, 'utf8').digest('base64');
}

export type SignatureVerdict = 'valid' | 'missing' | 'wrong' | 'not_configured';

/** Judges the signature of an upgrade to `url`. Without auth tokens everything passes if unsigned streams are allowed. */
export function judgeSignature(
  given: string | readonly string[] | undefined,
  url: string,
  config: Pick<StreamsConfig, 'twilioAuthTokens' | 'allowUnsigned'>,
): SignatureVerdict {
  const authTokens = config.twilioAuthTokens ?? [];
  if (authTokens.length === 0) return config.allowUnsigned ? 'valid' : 'not_configured';
  if (given === undefined) return 'missing';
  if (typeof given !== 'string') return 'wrong';
  // All are compared, so that the time says nothing about which one fits.
  const fitting = authTokens.filter((authToken) => sameText(given, twilioSignature(authToken, url)));
  return fitting.length > 0 ? 'valid' : 'wrong';
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8')];
  return left.length === right.length && timingSafeEqual(left, right);
}
