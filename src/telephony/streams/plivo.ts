/**
 * Plivo audio streaming: no `connected`, numbers as numbers, mu-law at 8 kHz or L16 at 8 or 16 kHz, stated in the start
 * message or with every piece. Extra headers come as an object, as JSON, as `{X-PH-token: value}` or as `token=value`, or
 * not at all, so the token may be in the URL instead.
 */
import { isObject, objectIn, parseJson } from '../wire-json.js';
import type { MediaDialect } from './media-adapter.js';
import { tokenLike } from './stream-events.js';

const MAX_HEADER_CHARACTERS = 2_048;

export const PLIVO: MediaDialect = {
  defaults: { format: { encoding: 's16le', sampleRateHz: 8_000, channels: 1 }, l16: 's16le' },
  outOfOrder: false,
  claim(body) {
    const format = isObject(body.mediaFormat) ? body.mediaFormat : body;
    const encoding = format.encoding ?? format.contentType;
    if (encoding === undefined && format.sampleRate === undefined) return undefined;
    return { encoding, sampleRateHz: format.sampleRate, channels: format.channels };
  },
  token(start, message) {
    return tokenIn(start.extra_headers) ?? tokenIn(message.extra_headers);
  },
};

function tokenIn(headers: unknown): string | undefined {
  if (isObject(headers)) return tokenAmong(Object.entries(headers));
  if (typeof headers !== 'string' || headers.length > MAX_HEADER_CHARACTERS) return undefined;
  return tokenAmong(Object.entries(objectIn(parseJson(headers)))) ?? tokenAmong(pairsIn(headers));
}

function tokenAmong(headers: readonly (readonly [string, unknown])[]): string | undefined {
  const header = headers.find(([name]) => /^(x-ph-)?token$/i.test(name));
  return tokenLike(header?.[1]);
}

/** `{a: 1, b: 2}` or `a=1;b=2`. */
function pairsIn(text: string): [string, string][] {
  return text
    .replace(/^\{|\}$/g, '')
    .split(/[,;]/)
    .map((pair) => {
      const at = pair.search(/[:=]/);
      return [pair.slice(0, Math.max(0, at)).trim(), pair.slice(at + 1).trim()];
    });
}
