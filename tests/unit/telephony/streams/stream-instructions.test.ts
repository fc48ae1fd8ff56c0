import twilio from 'twilio';
import { describe, expect, it } from 'vitest';
import { readStreamPath, streamPath, webSocketAddress } from '../../../../src/telephony/streams/platforms.js';
import { streamInstructions } from '../../../../src/telephony/streams/stream-instructions.js';

const publicUrl = 'https://auth.example.com/voice';
const token = 'tok-1';

describe('streamInstructions', () => {
  it("gives Twilio what Twilio's own library writes", () => {
    const { url, twiml } = streamInstructions({ platform: 'twilio', token, publicUrl });
    const response = new twilio.twiml.VoiceResponse();
    response.start().stream({ url, track: 'inbound_track' }).parameter({ name: 'token', value: token });
    expect(url).toBe('wss://auth.example.com/voice/api/v1/streams/twilio');
    expect(twiml?.replace(/\n|<!--.*?-->/g, '')).toBe(response.toString());
  });

  it('escapes what is special in XML', () => {
    const { twiml } = streamInstructions({ platform: 'twilio', token: `<&"'>`, publicUrl: 'https://a.example/?x&y' });
    expect(twiml).toContain('value="&lt;&amp;&quot;&apos;&gt;"');
    expect(twiml).toContain('url="wss://a.example/?x&amp;y/api/v1/streams/twilio"');
  });

  it.each([
    ['telnyx', 'telnyx', /"stream_url":"(wss:[^"]+)"/],
    ['plivo', 'plivo', />(wss:[^<]+)<\/Stream>/],
    ['vapi_transcriber', 'vapi-transcriber', /"server":\{"url":"(wss:[^"]+)"\}/],
  ] as const)('tells %s to dial a URL with the token, which the server can read', (platform, segment, place) => {
    const { url, hint, twiml } = streamInstructions({ platform, token, publicUrl: 'https://auth.example.com' });
    expect(url).toBe(`wss://auth.example.com/api/v1/streams/${segment}/tok-1`);
    expect(place.exec(hint)?.[1]).toBe(url);
    expect(twiml).toBeUndefined();
    expect(readStreamPath(new URL(url).pathname)).toEqual({ kind: 'endpoint', platform, token });
  });
});

describe('readStreamPath', () => {
  it('reads endpoints with and without a token, whatever the query', () => {
    expect(readStreamPath(streamPath('twilio'))).toEqual({ kind: 'endpoint', platform: 'twilio', token: undefined });
    expect(readStreamPath('/api/v1/streams/plivo/a.b_c~d-e?x=/y')).toMatchObject({ token: 'a.b_c~d-e' });
    expect(readStreamPath('/api/v1/streams/telnyx/?x')).toMatchObject({ platform: 'telnyx', token: undefined });
  });

  it.each([
    '/',
    '/api/v1/streams',
    '/api/v1/streams?x',
    '/api/v1/stream',
    '/api/v1/streamsx/twilio',
    '/api/v1/users',
    '',
    '/socket',
  ])('leaves %j to others', (target) => {
    expect(readStreamPath(target)).toEqual({ kind: 'elsewhere' });
  });

  it.each([
    '/api/v1/streams/',
    '/api/v1/streams/vonage',
    '/api/v1/streams/constructor',
    '/api/v1/streams/twilio/a/b',
    '/api/v1/streams/twilio/a%20b',
    '/api/v1/streams/TWILIO',
    `/api/v1/streams/twilio/${'x'.repeat(257)}`,
  ])('knows no endpoint %j', (target) => {
    expect(readStreamPath(target)).toEqual({ kind: 'unknown' });
  });
});

it('maps public addresses to those of WebSockets', () => {
  expect(webSocketAddress('https://auth.example.com/voice')).toBe('wss://auth.example.com/voice');
  expect(webSocketAddress('http://127.0.0.1:8000')).toBe('ws://127.0.0.1:8000');
});
