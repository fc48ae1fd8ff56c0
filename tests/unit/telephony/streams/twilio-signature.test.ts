import fc from 'fast-check';
import twilio from 'twilio';
import { describe, expect, it } from 'vitest';
import { judgeSignature, twilioSignature } from '../../../../src/telephony/streams/twilio-signature.js';

const URL = 'wss://mycompany.com/media';

describe('the signature of Twilio', () => {
  it('is that of the documented example', () => {
    expect(twilioSignature('12345', URL)).toBe('okykUWKkAOgQseVjzERZh4soLeU=');
  });

  it("is what Twilio's own library accepts, and only that", () => {
    const token = fc.string({ minLength: 1, maxLength: 40 });
    const url = fc.webUrl({ validSchemes: ['wss'], withQueryParameters: true });
    fc.assert(
      fc.property(token, token, url, (authToken, other, address) => {
        const signature = twilioSignature(authToken, address);
        expect(twilio.validateRequest(authToken, signature, address, {})).toBe(true);
        if (other !== authToken) expect(twilio.validateRequest(other, signature, address, {})).toBe(false);
        expect(twilio.validateRequest(authToken, signature, `${address}x`, {})).toBe(false);
      }),
    );
  });
});

describe('judging an upgrade', () => {
  const config = { twilioAuthTokens: ['old', 'new'], allowUnsigned: false };

  it('accepts the signature of any auth token, for exactly this URL', () => {
    expect(judgeSignature(twilioSignature('old', URL), URL, config)).toBe('valid');
    expect(judgeSignature(twilioSignature('new', URL), URL, config)).toBe('valid');
    expect(judgeSignature(twilioSignature('other', URL), URL, config)).toBe('wrong');
    expect(judgeSignature(twilioSignature('new', `${URL}/`), URL, config)).toBe('wrong');
    expect(judgeSignature(twilioSignature('new', URL.replace('wss', 'https')), URL, config)).toBe('wrong');
  });

  it('tells a missing signature from a wrong one', () => {
    const good = twilioSignature('new', URL);
    expect(judgeSignature(undefined, URL, config)).toBe('missing');
    for (const wrong of ['', good.slice(0, -1), `${good}=`, good.toLowerCase(), [good, good]]) {
      expect(judgeSignature(wrong, URL, config)).toBe('wrong');
    }
  });

  it('lets unsigned streams in only where that is allowed and no auth token is there', () => {
    for (const twilioAuthTokens of [undefined, []]) {
      expect(judgeSignature(undefined, URL, { twilioAuthTokens, allowUnsigned: true })).toBe('valid');
      expect(judgeSignature('x', URL, { twilioAuthTokens, allowUnsigned: false })).toBe('not_configured');
    }
    expect(judgeSignature(undefined, URL, { ...config, allowUnsigned: true })).toBe('missing');
  });
});
