import { describe, expect, it } from 'vitest';
import type { StreamPlatform } from '../../../../src/domain/calls/calls.js';
import { STREAM_ENDPOINTS } from '../../../../src/telephony/streams/platforms.js';
import type { StreamEvent } from '../../../../src/telephony/streams/stream-events.js';

/** A connection of `platform`: takes messages as they come, objects as JSON, and returns copies of the events. */
function connection(platform: StreamPlatform) {
  const adapter = STREAM_ENDPOINTS[platform].adapter();
  return (message: unknown): StreamEvent => {
    if (message instanceof Uint8Array) return { ...adapter.translate(message, true) };
    const text = typeof message === 'string' ? message : JSON.stringify(message);
    return { ...adapter.translate(Buffer.from(text), false) };
  };
}

const MULAW_8K = { encoding: 'mulaw', sampleRateHz: 8_000, channels: 1 };

const TWILIO_START = {
  event: 'start',
  sequenceNumber: '1',
  streamSid: 'MZ0a',
  start: {
    accountSid: 'AC0a',
    streamSid: 'MZ0a',
    callSid: 'CA0a',
    tracks: ['inbound', 'outbound'],
    mediaFormat: { encoding: 'audio/x-mulaw', sampleRate: 8000, channels: 1 },
    customParameters: { FirstName: 'Jane', token: 'tok-1' },
  },
};
const twilioMedia = (media: object) => ({
  event: 'media',
  sequenceNumber: '3',
  streamSid: 'MZ0a',
  media: { track: 'inbound', chunk: '1', timestamp: '5', payload: 'no+J', ...media },
});

describe('Twilio', () => {
  it('reads a whole stream', () => {
    const say = connection('twilio');
    expect(say({ event: 'connected', protocol: 'Call', version: '1.0.0' })).toEqual({ kind: 'courtesy' });
    expect(say(TWILIO_START)).toEqual({
      kind: 'start',
      token: 'tok-1',
      format: MULAW_8K,
      tracks: ['caller', 'agent'],
    });
    expect(say(twilioMedia({}))).toEqual({
      kind: 'audio',
      payload: 'no+J',
      format: MULAW_8K,
      track: 'caller',
      position: undefined,
    });
    expect(say(twilioMedia({ track: 'outbound' }))).toMatchObject({ track: 'agent' });
    expect(say({ event: 'stop', sequenceNumber: '5', stop: { accountSid: 'AC0a' } })).toEqual({ kind: 'stop' });
  });

  it('leaves alone what is not audio, with a cause each', () => {
    const say = connection('twilio');
    say(TWILIO_START);
    expect(say({ event: 'dtmf', dtmf: { track: 'inbound_track', digit: '1' } })).toEqual({
      kind: 'ignored',
      cause: 'dtmf',
    });
    expect(say({ event: 'mark', mark: { name: 'x' } })).toMatchObject({ cause: 'mark' });
    expect(say({ event: 'speed' })).toMatchObject({ cause: 'unknown_event' });
    expect(say({})).toMatchObject({ cause: 'unknown_event' });
    expect(say('not json')).toMatchObject({ cause: 'garbage_text' });
    expect(say('[]')).toMatchObject({ cause: 'garbage_text' });
    expect(say(Uint8Array.of(1, 2))).toMatchObject({ cause: 'unexpected_binary' });
    expect(say({ event: 'media', media: { track: 'inbound' } })).toMatchObject({ cause: 'unusable_audio' });
    expect(say({ event: 'media' })).toEqual({ kind: 'lost', cause: 'unusable_audio' });
  });

  it('keeps to the first start message', () => {
    const say = connection('twilio');
    say(TWILIO_START);
    const other = { mediaFormat: { encoding: 'audio/x-l16', sampleRate: 16000 }, customParameters: { token: 'tok-2' } };
    expect(say({ event: 'start', start: other })).toEqual({ kind: 'ignored', cause: 'second_start' });
    expect(say(twilioMedia({}))).toMatchObject({ format: MULAW_8K });
  });

  it('takes mu-law at 8 kHz for granted until something else is stated, whenever that comes', () => {
    const say = connection('twilio');
    expect(say({ event: 'start', start: { customParameters: { token: 'tok-1' } } })).toMatchObject({
      kind: 'start',
      format: MULAW_8K,
    });
    expect(say(twilioMedia({}))).toMatchObject({ format: MULAW_8K });
    const stated = { encoding: 'audio/x-l16', sampleRate: '16000', channels: '1' };
    const l16 = { encoding: 's16le', sampleRateHz: 16_000, channels: 1 };
    expect(say(twilioMedia({ mediaFormat: stated }))).toMatchObject({ format: l16 });
    expect(say(twilioMedia({}))).toMatchObject({ format: l16 });
  });

  it('cannot start with a format it cannot read, and leaves out audio that turns into one', () => {
    const start = (mediaFormat: object) => ({ event: 'start', start: { mediaFormat } });
    for (const unreadable of [
      { encoding: 'OPUS' },
      { encoding: 7 },
      { sampleRate: 7_999 },
      { sampleRate: '-8000' },
      { sampleRate: '8e3' },
      { channels: 2 },
    ]) {
      expect(connection('twilio')(start(unreadable)), JSON.stringify(unreadable)).toEqual({
        kind: 'violation',
        cause: 'unusable_start',
      });
    }
    const say = connection('twilio');
    say(TWILIO_START);
    expect(say(twilioMedia({ mediaFormat: { encoding: 'OPUS' } }))).toEqual({
      kind: 'lost',
      cause: 'unusable_format',
    });
    expect(say(twilioMedia({}))).toMatchObject({ cause: 'unusable_format' });
    expect(say(twilioMedia({ mediaFormat: { encoding: 'PCMU' } }))).toMatchObject({ kind: 'audio', format: MULAW_8K });
  });

  it('takes nobody for the caller whose track is not named', () => {
    const unnamed = { event: 'media', media: { payload: 'no+J' } };
    const started = (tracks: unknown) => {
      const say = connection('twilio');
      say({ event: 'start', start: { tracks } });
      return say;
    };
    expect(started(['inbound', 'outbound'])(unnamed)).toMatchObject({ track: 'mixed' });
    expect(started(undefined)(unnamed)).toMatchObject({ track: 'mixed' });
    expect(started(['inbound'])(unnamed)).toMatchObject({ track: 'caller' });
    expect(started(['outbound'])(unnamed)).toMatchObject({ track: 'agent' });
    expect(started(['inbound'])(twilioMedia({ track: 'both_tracks' }))).toMatchObject({ track: 'mixed' });
    expect(started(['inbound'])(twilioMedia({ track: 'constructor' }))).toMatchObject({ track: 'mixed' });
  });

  it.each([undefined, '', 'a b', 'x'.repeat(257), 7, ['tok-1'], { token: 'tok-1' }])(
    'finds no token in %j',
    (token) => {
      expect(connection('twilio')({ event: 'start', start: { customParameters: { token } } })).toMatchObject({
        kind: 'start',
        token: undefined,
      });
    },
  );
});

describe('Telnyx', () => {
  const start = (more: object) => ({
    event: 'start',
    sequence_number: '1',
    start: { user_id: '3e6f', call_control_id: 'v3:MdI9', client_state: 'aGF2', ...more },
    stream_id: '32de',
  });
  const media = (more: object) => ({
    event: 'media',
    sequence_number: '4',
    media: { track: 'inbound', chunk: '2', timestamp: '5', payload: 'no+J', ...more },
    stream_id: '32de',
  });

  it.each([
    ['PCMU', 8000, 'mulaw', 8_000],
    ['PCMA', '8000', 'alaw', 8_000],
    ['L16', 16000, 's16_unordered', 16_000],
    ['audio/x-mulaw', 8000, 'mulaw', 8_000],
  ])('reads %s at %s', (name, rate, encoding, sampleRateHz) => {
    const say = connection('telnyx');
    const media_format = { encoding: name, sample_rate: rate, channels: 1 };
    expect(say(start({ media_format }))).toEqual({
      kind: 'start',
      token: undefined,
      format: { encoding, sampleRateHz, channels: 1 },
      tracks: [],
    });
    expect(say(media({}))).toMatchObject({ kind: 'audio', track: 'caller', position: 2, format: { encoding } });
    expect(say(media({ track: 'outbound', chunk: 7 }))).toMatchObject({ track: 'agent', position: 7 });
    expect(say(media({ chunk: 'x' }))).toMatchObject({ kind: 'audio', position: undefined });
  });

  it('cannot read G722, Opus and AMR-WB', () => {
    for (const encoding of ['G722', 'OPUS', 'AMR-WB']) {
      const event = connection('telnyx')(start({ media_format: { encoding, sample_rate: 16000, channels: 1 } }));
      expect(event).toEqual({ kind: 'violation', cause: 'unusable_start' });
    }
  });

  it.each([
    [{ token: 'tok-1' }],
    [
      [
        { name: 'a', value: 'b' },
        { name: 'token', value: 'tok-1' },
      ],
    ],
  ])('finds the token in %j', (custom_parameters) => {
    expect(connection('telnyx')(start({ custom_parameters }))).toMatchObject({ token: 'tok-1' });
  });

  it('leaves errors of the platform alone', () => {
    const error = { event: 'error', payload: { code: 100002, title: 'unknown_error' }, stream_id: '32de' };
    expect(connection('telnyx')(error)).toEqual({ kind: 'ignored', cause: 'platform_error' });
  });
});

describe('Plivo', () => {
  const start = (more: object, around: object = {}) => ({
    sequenceNumber: 0,
    event: 'start',
    start: { callId: '56e3', streamId: 'b77e', accountId: '1234', tracks: ['inbound'], ...more },
    ...around,
  });
  const media = (more: object) => ({
    sequenceNumber: 2,
    streamId: '2096',
    event: 'media',
    media: { track: 'inbound', timestamp: '1711216222735', chunk: 1, payload: 'no+J', ...more },
    extra_headers: '{}',
  });

  it.each([
    ['audio/x-l16', 8000, { encoding: 's16le', sampleRateHz: 8_000, channels: 1 }],
    ['audio/x-l16', 16000, { encoding: 's16le', sampleRateHz: 16_000, channels: 1 }],
    ['audio/x-l16;rate=16000', undefined, { encoding: 's16le', sampleRateHz: 16_000, channels: 1 }],
    ['audio/x-mulaw', 8000, MULAW_8K],
  ])('reads %s at %s', (encoding, sampleRate, format) => {
    const say = connection('plivo');
    expect(say(start({ mediaFormat: { encoding, sampleRate } }))).toEqual({
      kind: 'start',
      token: undefined,
      format,
      tracks: ['caller'],
    });
    expect(say(media({}))).toMatchObject({ kind: 'audio', payload: 'no+J', track: 'caller', position: undefined });
  });

  it('is L16 at 8 kHz by default; every piece may say otherwise', () => {
    const say = connection('plivo');
    expect(say(start({}))).toMatchObject({ format: { encoding: 's16le', sampleRateHz: 8_000 } });
    expect(say(media({ contentType: 'audio/x-mulaw', sampleRate: 8000 }))).toMatchObject({ format: MULAW_8K });
    expect(say(media({ sampleRate: 16000 }))).toMatchObject({ format: { encoding: 'mulaw', sampleRateHz: 16_000 } });
  });

  it.each([
    ['{"X-PH-token":"tok-1"}'],
    ['{X-PH-lang: en, X-PH-Token: tok-1}'],
    ['token=tok-1'],
    ['lang=en;token=tok-1'],
    [{ 'X-PH-token': 'tok-1' }],
    [{ token: 'tok-1' }],
  ])('finds the token in extra headers %j', (extra_headers) => {
    expect(connection('plivo')(start({}, { extra_headers }))).toMatchObject({ token: 'tok-1' });
    expect(connection('plivo')(start({ extra_headers }))).toMatchObject({ token: 'tok-1' });
  });

  it.each(['{}', '', 'x', '{tokens: a}', '{"token":7}', null, 7, `token=${'x'.repeat(3_000)}`])(
    'finds none in %j',
    (extra_headers) => {
      expect(connection('plivo')(start({}, { extra_headers }))).toMatchObject({ kind: 'start', token: undefined });
    },
  );
});

describe("VAPI's transcriber", () => {
  const START = { type: 'start', encoding: 'linear16', container: 'raw', sampleRate: 16000, channels: 2 };

  it('reads the start frame, then binary audio', () => {
    const say = connection('vapi_transcriber');
    const format = { encoding: 's16le', sampleRateHz: 16_000, channels: 2 };
    expect(say(START)).toEqual({ kind: 'start', token: undefined, format, tracks: ['caller'] });
    const bytes = Uint8Array.of(1, 2, 3, 4);
    expect(say(bytes)).toEqual({ kind: 'audio', payload: bytes, format, track: 'caller', position: undefined });
    expect(say({ type: 'transcript' })).toEqual({ kind: 'ignored', cause: 'unknown_event' });
    expect(say('nonsense')).toEqual({ kind: 'ignored', cause: 'garbage_text' });
    expect(say({ ...START, sampleRate: 8000 })).toEqual({ kind: 'ignored', cause: 'second_start' });
    expect(say(bytes)).toMatchObject({ format });
  });

  it('counts a single channel as mixed', () => {
    const say = connection('vapi_transcriber');
    expect(say({ ...START, channels: 1 })).toMatchObject({ kind: 'start', tracks: ['mixed'] });
    expect(say(Uint8Array.of(1, 2))).toMatchObject({ track: 'mixed' });
  });

  it('refuses audio that nobody announced, and announcements of anything else', () => {
    expect(connection('vapi_transcriber')(Uint8Array.of(1, 2))).toEqual({
      kind: 'violation',
      cause: 'audio_before_start',
    });
    for (const unreadable of [{ encoding: 'mulaw' }, { sampleRate: 12345 }, { channels: 3 }, { container: 'wav' }]) {
      const say = connection('vapi_transcriber');
      expect(say({ ...START, ...unreadable })).toEqual({ kind: 'violation', cause: 'unusable_start' });
      expect(say(Uint8Array.of(1, 2))).toMatchObject({ kind: 'violation' });
    }
  });
});
