/** How each platform words what it sends: the messages of the simulated callers. */
import type { StreamPlatform } from '../../domain/calls/calls.js';
import type { StreamPiece } from './stream-audio.js';
import type { StreamVariant } from './stream-variants.js';

export interface MessageContext {
  readonly variant: StreamVariant;
  readonly token: string;
}

/** Writes the messages of one platform. A string is a text message, bytes are a binary one. */
export interface MessageWriter {
  readonly greeting: string | undefined;
  start(context: MessageContext): string;
  audio(piece: StreamPiece, context: MessageContext): string | Uint8Array;
  readonly stop: string | undefined;
  /** What a platform may send that nobody asked for. */
  readonly events: Readonly<Record<'dtmf' | 'mark', string>>;
}

const ENCODINGS = {
  twilio: { mulaw: 'audio/x-mulaw', alaw: 'audio/x-alaw', l16: 'audio/x-l16', l16_be: 'audio/x-l16' },
  telnyx: { mulaw: 'PCMU', alaw: 'PCMA', l16: 'L16', l16_be: 'L16' },
  plivo: { mulaw: 'audio/x-mulaw', alaw: 'audio/x-alaw', l16: 'audio/x-l16', l16_be: 'audio/x-l16' },
} as const;

const TWILIO: MessageWriter = {
  greeting: '{"event":"connected","protocol":"Call","version":"1.0.0"}',
  start({ variant, token }) {
    return JSON.stringify({
      event: 'start',
      sequenceNumber: number(1, variant),
      streamSid: 'MZ17',
      start: {
        accountSid: 'AC17',
        streamSid: 'MZ17',
        callSid: 'CA17',
        tracks: trackNames(variant),
        ...(variant.mediaFormat === 'start' ? { mediaFormat: camelFormat('twilio', variant) } : {}),
        customParameters: variant.token === 'message' ? { FirstName: 'Jane', token } : {},
      },
    });
  },
  audio: (piece, { variant }) =>
    JSON.stringify({
      event: 'media',
      sequenceNumber: number(piece.chunk + 1, variant),
      streamSid: 'MZ17',
      media: {
        ...(variant.mediaFormat === 'late' ? { mediaFormat: camelFormat('twilio', variant) } : {}),
        ...media(piece, variant),
      },
    }),
  stop: '{"event":"stop","sequenceNumber":"5","streamSid":"MZ17","stop":{"accountSid":"AC17","callSid":"CA17"}}',
  events: {
    dtmf: '{"event":"dtmf","streamSid":"MZ17","sequenceNumber":"5","dtmf":{"track":"inbound_track","digit":"7351"}}',
    mark: '{"event":"mark","sequenceNumber":"4","streamSid":"MZ17","mark":{"name":"my label"}}',
  },
};

const TELNYX: MessageWriter = {
  greeting: '{"event":"connected","version":"1.0.0"}',
  start({ variant, token }) {
    const parameters = { message: { token }, list: [{ name: 'token', value: token }] };
    return JSON.stringify({
      event: 'start',
      sequence_number: number(1, variant),
      start: {
        user_id: '3e6f995f',
        call_control_id: 'v3:MdI91X4lWFEs7IgbBEOT9M4AigoY08M0WWZFISt1Yw2axZ',
        client_state: 'aGF2ZSBhIG5pY2UgZGF5ID1d',
        ...(variant.token === 'message' || variant.token === 'list'
          ? { custom_parameters: parameters[variant.token] }
          : {}),
        ...(variant.mediaFormat === 'start' ? { media_format: snakeFormat(variant) } : {}),
      },
      stream_id: '32de0dea',
    });
  },
  audio: (piece, { variant }) =>
    JSON.stringify({
      event: 'media',
      sequence_number: number(piece.chunk + 1, variant),
      media: media(piece, variant),
      ...(variant.mediaFormat === 'late' ? { media_format: snakeFormat(variant) } : {}),
      stream_id: '32de0dea',
    }),
  stop: '{"event":"stop","sequence_number":"5","stop":{"user_id":"3e6f995f"},"stream_id":"32de0dea"}',
  events: {
    dtmf: '{"event":"dtmf","stream_id":"32de0dea","sequence_number":"5","dtmf":{"digit":"7351"}}',
    mark: '{"event":"mark","stream_id":"32de0dea","mark":{"name":"my label"}}',
  },
};

const PLIVO: MessageWriter = {
  greeting: '{"event":"connected"}',
  start({ variant, token }) {
    const headers = { message: JSON.stringify({ 'X-PH-token': token }), text: `{X-PH-lang: en, X-PH-token: ${token}}` };
    return JSON.stringify({
      sequenceNumber: number(0, variant),
      event: 'start',
      start: {
        callId: '17',
        streamId: '18',
        accountId: 'MA17',
        tracks: trackNames(variant),
        ...(variant.mediaFormat === 'start' ? { mediaFormat: camelFormat('plivo', variant) } : {}),
      },
      extra_headers: variant.token === 'message' || variant.token === 'text' ? headers[variant.token] : '{}',
    });
  },
  audio: (piece, { variant }) =>
    JSON.stringify({
      sequenceNumber: number(piece.chunk, variant),
      streamId: '18',
      event: 'media',
      media: {
        ...media(piece, variant),
        ...(variant.mediaFormat === 'late'
          ? {
              contentType: `${ENCODINGS.plivo[variant.encoding]};rate=${variant.sampleRateHz}`,
              sampleRate: variant.sampleRateHz,
            }
          : {}),
      },
      extra_headers: '{}',
    }),
  stop: '{"event":"stop","streamId":"18"}',
  events: {
    dtmf: '{"event":"dtmf","streamId":"18","dtmf":{"track":"inbound","digit":"7351","timestamp":"1711216222735"}}',
    mark: '{"event":"mark","streamId":"18","name":"my label"}',
  },
};

const VAPI_TRANSCRIBER: MessageWriter = {
  greeting: undefined,
  start: ({ variant }) =>
    JSON.stringify({
      type: 'start',
      encoding: 'linear16',
      container: 'raw',
      sampleRate: variant.sampleRateHz,
      channels: variant.channels === 'mono' ? 1 : 2,
    }),
  audio: (piece) => piece.bytes,
  stop: undefined,
  events: { dtmf: '{"type":"dtmf","digit":"7351"}', mark: '{"type":"mark"}' },
};

export const MESSAGE_WRITERS: Readonly<Record<StreamPlatform, MessageWriter>> = {
  twilio: TWILIO,
  telnyx: TELNYX,
  plivo: PLIVO,
  vapi_transcriber: VAPI_TRANSCRIBER,
};

function number(value: number, { numbers }: StreamVariant): number | string {
  return numbers === 'strings' ? String(value) : value;
}

function trackNames({ tracks }: StreamVariant): string[] {
  return tracks === 'both' ? ['inbound', 'outbound'] : [tracks];
}

function media(piece: StreamPiece, variant: StreamVariant) {
  return {
    track: piece.track,
    chunk: number(piece.chunk, variant),
    timestamp: number(Math.round(piece.startMs), variant),
    payload: Buffer.from(piece.bytes).toString('base64'),
  };
}

function camelFormat(platform: 'twilio' | 'plivo', variant: StreamVariant) {
  return {
    encoding: ENCODINGS[platform][variant.encoding],
    sampleRate: number(variant.sampleRateHz, variant),
    channels: number(1, variant),
  };
}

function snakeFormat(variant: StreamVariant) {
  return {
    encoding: ENCODINGS.telnyx[variant.encoding],
    sample_rate: number(variant.sampleRateHz, variant),
    channels: number(1, variant),
  };
}
