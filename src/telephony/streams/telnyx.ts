/**
 * Telnyx media streaming: snake_case, the codec of the call leg (PCMU, PCMA, L16), pieces in any order. Custom parameters
 * are documented for the request that starts a stream, as a list of `{name, value}`, but not for the messages that
 * follow, so both a list and an object are read, and the token may be in the URL instead. Sources disagree about the
 * byte order of L16.
 */
import { isObject, objectIn } from '../wire-json.js';
import type { MediaDialect } from './media-adapter.js';
import { tokenLike } from './stream-events.js';

export const TELNYX: MediaDialect = {
  defaults: { format: { encoding: 'mulaw', sampleRateHz: 8_000, channels: 1 }, l16: 's16_unordered' },
  outOfOrder: true,
  claim(body, message) {
    const format = isObject(body.media_format) ? body.media_format : message.media_format;
    if (!isObject(format)) return undefined;
    return { encoding: format.encoding, sampleRateHz: format.sample_rate, channels: format.channels };
  },
  token(start) {
    const parameters: unknown = start.custom_parameters;
    if (!Array.isArray(parameters)) return tokenLike(objectIn(parameters).token);
    const named: unknown = parameters.find((parameter: unknown) => objectIn(parameter).name === 'token');
    return tokenLike(objectIn(named).value);
  },
};
