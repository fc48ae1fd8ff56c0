/**
 * Twilio Media Streams: camelCase, numbers as strings, always mu-law at 8 kHz. The token is a `<Parameter>` of the stream,
 * because Twilio cuts query strings off. Clients that speak this protocol without being Twilio leave `mediaFormat` out,
 * or state it with the first audio.
 */
import { isObject, objectIn } from '../wire-json.js';
import type { MediaDialect } from './media-adapter.js';
import { tokenLike } from './stream-events.js';

export const TWILIO: MediaDialect = {
  defaults: { format: { encoding: 'mulaw', sampleRateHz: 8_000, channels: 1 }, l16: 's16le' },
  outOfOrder: false,
  claim(body, message) {
    const format = isObject(body.mediaFormat) ? body.mediaFormat : message.mediaFormat;
    if (!isObject(format)) return undefined;
    return { encoding: format.encoding, sampleRateHz: format.sampleRate, channels: format.channels };
  },
  token(start) {
    return tokenLike(objectIn(start.customParameters).token);
  },
};
