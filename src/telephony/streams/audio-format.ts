/** What platforms call the audio they send, read leniently: the same format has a dozen spellings. */
import { SPEECH_RATES_HZ } from '../speech-rates.js';

/** `s16_unordered`: 16-bit samples whose byte order the sources disagree about, so that it has to be heard. */
export type Encoding = 'mulaw' | 'alaw' | 's16le' | 's16_unordered';

export interface AudioFormat {
  readonly encoding: Encoding;
  readonly sampleRateHz: number;
  readonly channels: 1 | 2;
}

/** A format as a message states it; what is undefined was left out. */
export interface FormatClaim {
  readonly encoding: unknown;
  readonly sampleRateHz: unknown;
  readonly channels: unknown;
}

/** `audio/x-l16;rate=16000`: the name of a codec, and perhaps its rate. */
const CONTENT_TYPE = /^(?:audio\/)?(?:x-)?([a-z0-9]{1,16})(?:\s*;\s*rate=(\d{4,5}))?$/i;

const CODECS: ReadonlyMap<string, 'mulaw' | 'alaw' | 'l16'> = new Map([
  ['mulaw', 'mulaw'],
  ['ulaw', 'mulaw'],
  ['pcmu', 'mulaw'],
  ['g711u', 'mulaw'],
  ['alaw', 'alaw'],
  ['pcma', 'alaw'],
  ['g711a', 'alaw'],
  ['l16', 'l16'],
  ['linear16', 'l16'],
]);

/** What a platform sends when it does not say, and what its `L16` is. */
export interface FormatDefaults {
  readonly format: AudioFormat;
  readonly l16: 's16le' | 's16_unordered';
}

/**
 * The format that is claimed, with what was left out taken from `inForce`; undefined when this service cannot read it.
 * `l16` is what the platform's `L16` stands for.
 */
export function readFormat(
  claim: FormatClaim,
  inForce: AudioFormat,
  l16: FormatDefaults['l16'],
): AudioFormat | undefined {
  const named = claim.encoding === undefined ? undefined : contentType(claim.encoding);
  if (claim.encoding !== undefined && named === undefined) return undefined;
  const known = named ? CODECS.get(named.codec) : inForce.encoding;
  const encoding = known === 'l16' ? l16 : known;
  const sampleRateHz = wholeNumber(claim.sampleRateHz ?? named?.rate ?? inForce.sampleRateHz);
  if (encoding === undefined || wholeNumber(claim.channels ?? 1) !== 1) return undefined;
  if (sampleRateHz === undefined || !SPEECH_RATES_HZ.includes(sampleRateHz)) return undefined;
  return { encoding, sampleRateHz, channels: 1 };
}

/** A whole number from 0, written as a number or as its digits. */
export function wholeNumber(value: unknown): number | undefined {
  const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}

function contentType(value: unknown): { readonly codec: string; readonly rate: string | undefined } | undefined {
  const match = typeof value === 'string' ? CONTENT_TYPE.exec(value) : null;
  return match?.[1] === undefined ? undefined : { codec: match[1].toLowerCase(), rate: match[2] };
}
