/**
 * Everything the platforms that dial us have been seen or said to do, as options of the simulated caller, and one named
 * example of each. All times are audio time: at `speed` 4 they pass four times as fast.
 */
import { STREAM_PLATFORMS, type StreamPlatform } from '../../domain/calls/calls.js';
import { type FieldIssue, validationError } from '../../domain/errors.js';
import type { Pacing } from './schedule.js';

export interface StreamVariant extends Pacing {
  /** `l16_be`: 16-bit samples in network byte order. The transcriber always has `l16`. */
  readonly encoding: 'mulaw' | 'alaw' | 'l16' | 'l16_be';
  readonly sampleRateHz: 8_000 | 16_000;
  /** Transcriber: caller and agent on a channel each, mixed into one, or the mix on both. */
  readonly channels: 'stereo' | 'mono' | 'dual_mono';
  /** The others: whose audio is sent, each piece with its track. */
  readonly tracks: 'inbound' | 'outbound' | 'both';
  /** Where the format is stated: in the start message, with the audio, or nowhere. */
  readonly mediaFormat: 'start' | 'late' | 'none';
  readonly numbers: 'strings' | 'numbers';
  /** Whether `connected` comes before the start message. */
  readonly greeting: boolean;
  readonly start: 'first' | 'twice' | 'after_audio' | 'never';
  /** Where the token is. `list` and `text` are other spellings of parameters and headers. */
  readonly token: 'message' | 'list' | 'text' | 'path' | 'none';
  readonly frameMs: number;
  /** Frames of uneven lengths, which split samples where samples have two bytes. */
  readonly oddFrames: boolean;
  /** What comes among the audio. */
  readonly among: 'nothing' | 'dtmf' | 'mark' | 'unknown_events' | 'garbage' | 'binary_noise';
  /** Each piece is sent up to so many places too late. */
  readonly shuffle: number;
  /** Every so many pieces one is lost on the way; undefined = none. */
  readonly loseEvery: number | undefined;
  /** What follows the last audio. `abrupt` is a connection that is cut; `stay_open` sends nothing more. */
  readonly end: 'stop' | 'close' | 'abrupt' | 'stay_open';
}

const COMMON: StreamVariant = {
  encoding: 'mulaw',
  sampleRateHz: 8_000,
  channels: 'stereo',
  tracks: 'inbound',
  mediaFormat: 'start',
  numbers: 'strings',
  greeting: true,
  start: 'first',
  token: 'message',
  frameMs: 20,
  oddFrames: false,
  among: 'nothing',
  shuffle: 0,
  loseEvery: undefined,
  end: 'stop',
  speed: 1,
  backlogMs: 0,
  stallAtMs: undefined,
  stallMs: 1_000,
};

/** The documented behaviour of each platform. */
export const STREAM_DEFAULTS: Readonly<Record<StreamPlatform, StreamVariant>> = {
  twilio: COMMON,
  telnyx: { ...COMMON, token: 'path' },
  plivo: { ...COMMON, greeting: false, numbers: 'numbers', encoding: 'l16', token: 'path' },
  vapi_transcriber: { ...COMMON, encoding: 'l16', sampleRateHz: 16_000, token: 'path', end: 'close' },
};

export interface NamedStreamVariant {
  readonly description: string;
  readonly platforms: readonly StreamPlatform[];
  readonly options: Partial<StreamVariant>;
}

const JSON_MEDIA: readonly StreamPlatform[] = ['twilio', 'telnyx', 'plivo'];
const L16: readonly StreamPlatform[] = ['telnyx', 'plivo'];

/** One example of every behaviour, with the platforms that may show it. */
export const STREAM_VARIANTS = {
  documented: { description: 'as documented', platforms: STREAM_PLATFORMS, options: {} },
  'both-tracks': { description: 'caller and agent, a track each', platforms: JSON_MEDIA, options: { tracks: 'both' } },
  'agent-only': { description: 'only what the caller hears', platforms: JSON_MEDIA, options: { tracks: 'outbound' } },
  'no-media-format': {
    description: 'nobody states the format',
    platforms: JSON_MEDIA,
    options: { mediaFormat: 'none' },
  },
  'late-media-format': {
    description: 'the format comes with the audio',
    platforms: JSON_MEDIA,
    options: { mediaFormat: 'late' },
  },
  'numbers-as-strings': { description: 'numbers as strings', platforms: JSON_MEDIA, options: { numbers: 'strings' } },
  'numbers-as-numbers': { description: 'numbers as numbers', platforms: JSON_MEDIA, options: { numbers: 'numbers' } },
  'no-greeting': { description: 'no connected event', platforms: JSON_MEDIA, options: { greeting: false } },
  mulaw: { description: 'mu-law, 8 kHz', platforms: JSON_MEDIA, options: { encoding: 'mulaw' } },
  alaw: { description: 'A-law, 8 kHz', platforms: ['telnyx'], options: { encoding: 'alaw' } },
  'l16-8k': { description: 'L16, 8 kHz', platforms: L16, options: { encoding: 'l16' } },
  'l16-16k': { description: 'L16, 16 kHz', platforms: L16, options: { encoding: 'l16', sampleRateHz: 16_000 } },
  'l16-big-endian': {
    description: 'L16 in network byte order',
    platforms: ['telnyx'],
    options: { encoding: 'l16_be', sampleRateHz: 16_000 },
  },
  'token-in-message': { description: 'token in the message', platforms: JSON_MEDIA, options: { token: 'message' } },
  'token-in-list': { description: 'parameters as a list', platforms: ['telnyx'], options: { token: 'list' } },
  'token-in-text': { description: 'extra headers as a text', platforms: ['plivo'], options: { token: 'text' } },
  'token-in-path': { description: 'token in the URL', platforms: STREAM_PLATFORMS, options: { token: 'path' } },
  dtmf: { description: 'keys pressed among the audio', platforms: JSON_MEDIA, options: { among: 'dtmf' } },
  marks: { description: 'marks among the audio', platforms: JSON_MEDIA, options: { among: 'mark' } },
  'unknown-events': {
    description: 'events nobody knows',
    platforms: STREAM_PLATFORMS,
    options: { among: 'unknown_events' },
  },
  'garbage-text': {
    description: 'texts that are no JSON or no UTF-8',
    platforms: STREAM_PLATFORMS,
    options: { among: 'garbage' },
  },
  'binary-noise': {
    description: 'binary messages among the texts',
    platforms: JSON_MEDIA,
    options: { among: 'binary_noise' },
  },
  'second-start': { description: 'the start message twice', platforms: STREAM_PLATFORMS, options: { start: 'twice' } },
  'audio-before-start': {
    description: 'audio before the start message',
    platforms: JSON_MEDIA,
    options: { start: 'after_audio' },
  },
  'out-of-order': { description: 'pieces up to five places late', platforms: ['telnyx'], options: { shuffle: 5 } },
  'lost-pieces': { description: 'every ninth piece is lost', platforms: JSON_MEDIA, options: { loseEvery: 9 } },
  'odd-frames': {
    description: 'pieces of uneven lengths',
    platforms: ['twilio', 'plivo', 'vapi_transcriber'],
    options: { oddFrames: true },
  },
  'huge-frames': { description: '500 ms pieces', platforms: STREAM_PLATFORMS, options: { frameMs: 500 } },
  'tiny-frames': { description: '5 ms pieces', platforms: STREAM_PLATFORMS, options: { frameMs: 5 } },
  'transcriber-8k': { description: '8 kHz', platforms: ['vapi_transcriber'], options: { sampleRateHz: 8_000 } },
  'transcriber-mono': { description: 'one channel', platforms: ['vapi_transcriber'], options: { channels: 'mono' } },
  'transcriber-dual-mono': {
    description: 'the mix on both channels',
    platforms: ['vapi_transcriber'],
    options: { channels: 'dual_mono' },
  },
  stall: {
    description: 'no audio for a second, then all of it',
    platforms: STREAM_PLATFORMS,
    options: { stallAtMs: 1_000 },
  },
  backlog: { description: 'two seconds in a burst', platforms: STREAM_PLATFORMS, options: { backlogMs: 2_000 } },
  'no-stop': { description: 'a close frame, no stop event', platforms: JSON_MEDIA, options: { end: 'close' } },
  'abrupt-close': { description: 'cut off, no close frame', platforms: STREAM_PLATFORMS, options: { end: 'abrupt' } },
  'stays-open': {
    description: 'open, but silent, after the audio',
    platforms: STREAM_PLATFORMS,
    options: { end: 'stay_open' },
  },
  'no-start': { description: 'never a start message', platforms: STREAM_PLATFORMS, options: { start: 'never' } },
  'no-token': { description: 'no token anywhere', platforms: STREAM_PLATFORMS, options: { token: 'none' } },
} as const satisfies Readonly<Record<string, NamedStreamVariant>>;

export type StreamVariantName = keyof typeof STREAM_VARIANTS;

/** The platform's defaults filled in and checked. Throws `ValidationError` naming every option that is out of range. */
export function streamVariant(platform: StreamPlatform, options: Partial<StreamVariant> = {}): StreamVariant {
  const variant: StreamVariant = { ...STREAM_DEFAULTS[platform], ...options };
  const issues: FieldIssue[] = [];
  const check = (path: keyof StreamVariant, ok: boolean, message: string) => {
    if (!ok) issues.push({ path, message });
  };
  check('speed', variant.speed > 0, 'must be more than 0');
  check('frameMs', variant.frameMs >= 5 && variant.frameMs <= 1_000, 'must be 5 to 1000 ms');
  check('shuffle', Number.isInteger(variant.shuffle) && variant.shuffle >= 0, 'must be a whole number from 0');
  check('loseEvery', variant.loseEvery === undefined || variant.loseEvery >= 2, 'must be 2 or more');
  check('encoding', platform !== 'vapi_transcriber' || variant.encoding === 'l16', 'the transcriber always gets l16');
  for (const path of ['backlogMs', 'stallAtMs', 'stallMs'] as const) {
    const value = variant[path];
    check(path, value === undefined || (value >= 0 && value <= 3_600_000), 'must be 0 to 3600000 ms');
  }
  if (issues.length > 0) throw validationError(issues);
  return variant;
}
