/**
 * Platforms that send JSON texts of the kind `start`, `media`, `stop` with audio in base64. They differ in spelling only:
 * what differs is a dialect, the rest is here.
 */
import type { Track } from '../../audio/pcm-frame.js';
import { isObject, type JsonObject, objectIn, parseJson } from '../wire-json.js';
import { type AudioFormat, type FormatClaim, type FormatDefaults, readFormat, wholeNumber } from './audio-format.js';
import {
  type AudioEvent,
  type IgnoredCause,
  ignored,
  lost,
  type StreamAdapter,
  type StreamEvent,
} from './stream-events.js';

export interface MediaDialect {
  /** In force until a message states something else. */
  readonly defaults: FormatDefaults;
  /** Whether pieces of audio may arrive out of order, so that their chunk numbers count. */
  readonly outOfOrder: boolean;
  /** What a `start` or `media` object, or the message around it, says of the format; undefined = nothing. */
  claim(body: JsonObject, message: JsonObject): FormatClaim | undefined;
  /** What may be a token in the start message. */
  token(start: JsonObject, message: JsonObject): string | undefined;
}

const COURTESY: StreamEvent = { kind: 'courtesy' };
const STOP: StreamEvent = { kind: 'stop' };

/** Events that are known and left alone. What they carry, digits above all, is nobody's business here. */
const LEFT_ALONE: ReadonlyMap<unknown, IgnoredCause> = new Map([
  ['dtmf', 'dtmf'],
  ['mark', 'mark'],
  ['error', 'platform_error'],
]);

const TRACKS: ReadonlyMap<unknown, Track> = new Map([
  ['inbound', 'caller'],
  ['inbound_track', 'caller'],
  ['outbound', 'agent'],
  ['outbound_track', 'agent'],
]);

interface MutableAudioEvent extends AudioEvent {
  payload: string;
  format: AudioFormat;
  track: Track;
  position: number | undefined;
}

export class MediaAdapter implements StreamAdapter {
  readonly #dialect: MediaDialect;
  /** Reused for every piece of audio. */
  readonly #audio: MutableAudioEvent;
  #started = false;
  /** Undefined: what was stated last cannot be read. */
  #format: AudioFormat | undefined;
  #claim: FormatClaim | undefined;
  #tracks: readonly Track[] = [];

  constructor(dialect: MediaDialect) {
    const { format } = dialect.defaults;
    this.#dialect = dialect;
    this.#format = format;
    this.#audio = { kind: 'audio', payload: '', format, track: 'mixed', position: undefined };
  }

  translate(message: Uint8Array, isBinary: boolean): StreamEvent {
    if (isBinary) return ignored('unexpected_binary');
    const json = parseJson(message);
    if (!isObject(json)) return ignored('garbage_text');
    switch (json.event) {
      case 'media':
        return this.#media(objectIn(json.media), json);
      case 'start':
        return this.#start(objectIn(json.start), json);
      case 'stop':
        return STOP;
      case 'connected':
        return COURTESY;
      default:
        return ignored(LEFT_ALONE.get(json.event) ?? 'unknown_event');
    }
  }

  #start(start: JsonObject, message: JsonObject): StreamEvent {
    if (this.#started) return ignored('second_start');
    this.#listenToClaim(start, message);
    if (this.#format === undefined) return { kind: 'violation', cause: 'unusable_start' };
    this.#started = true;
    this.#tracks = announcedTracks(start.tracks);
    return {
      kind: 'start',
      token: this.#dialect.token(start, message),
      format: this.#format,
      tracks: this.#tracks,
    };
  }

  #media(media: JsonObject, message: JsonObject): StreamEvent {
    if (typeof media.payload !== 'string') return lost('unusable_audio');
    this.#listenToClaim(media, message);
    if (this.#format === undefined) return lost('unusable_format');
    this.#audio.payload = media.payload;
    this.#audio.format = this.#format;
    this.#audio.track = this.#trackOf(media.track);
    this.#audio.position = this.#dialect.outOfOrder ? wholeNumber(media.chunk) : undefined;
    return this.#audio;
  }

  #listenToClaim(body: JsonObject, message: JsonObject): void {
    const claim = this.#dialect.claim(body, message);
    if (claim === undefined || (this.#claim && sameClaim(claim, this.#claim))) return;
    this.#claim = claim;
    const { format, l16 } = this.#dialect.defaults;
    this.#format = readFormat(claim, this.#format ?? format, l16);
  }

  /** Nobody knows whose voice it is when neither the piece nor the start message says so: then it is nobody's alone. */
  #trackOf(name: unknown): Track {
    if (name === undefined) return this.#tracks.length === 1 ? this.#tracks[0]! : 'mixed';
    return TRACKS.get(name) ?? 'mixed';
  }
}

/** `["inbound", "outbound"]`, or one of them as a string. */
function announcedTracks(value: unknown): Track[] {
  const names: readonly unknown[] = Array.isArray(value) ? value.slice(0, 2) : [value];
  return names.flatMap((name) => TRACKS.get(name) ?? []);
}

function sameClaim(a: FormatClaim, b: FormatClaim): boolean {
  return a.encoding === b.encoding && a.sampleRateHz === b.sampleRateHz && a.channels === b.channels;
}
