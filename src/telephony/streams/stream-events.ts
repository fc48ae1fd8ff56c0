/**
 * What an adapter makes of a platform's messages. An adapter only translates: it knows neither sockets nor sinks, keeps no
 * time and never throws, whatever the bytes.
 */
import type { Track } from '../../audio/pcm-frame.js';
import type { AudioFormat } from './audio-format.js';

/** The platform says who it is: the first thing that counts. */
export interface StartEvent {
  readonly kind: 'start';
  /** What lets the stream in; undefined when the message carries none. A secret. */
  readonly token: string | undefined;
  /** As far as it is known yet. */
  readonly format: AudioFormat;
  /** What is announced; empty when nothing is. */
  readonly tracks: readonly Track[];
}

/** A piece of audio. The object and its payload are valid until the next message is translated. */
export interface AudioEvent {
  readonly kind: 'audio';
  /** A string is base64. */
  readonly payload: string | Uint8Array;
  readonly format: AudioFormat;
  readonly track: Track;
  /** Number of the piece within its track, where pieces may arrive out of order; undefined = they are in order. */
  readonly position: number | undefined;
}

/** Why a message without audio is left alone: stable words for metrics. */
export type IgnoredCause =
  | 'garbage_text'
  | 'unexpected_binary'
  | 'unknown_event'
  | 'dtmf'
  | 'mark'
  | 'platform_error'
  | 'second_start';

/** Why a piece of audio cannot be used. */
export type LostCause = 'unusable_audio' | 'unusable_format';

/** Why a stream cannot go on. */
export type ViolationCause = 'audio_before_start' | 'unusable_start';

export type StreamEvent =
  | StartEvent
  | AudioEvent
  | { readonly kind: 'stop' }
  /** Belongs to the protocol and says nothing about the audio. */
  | { readonly kind: 'courtesy' }
  | { readonly kind: 'ignored'; readonly cause: IgnoredCause }
  | { readonly kind: 'lost'; readonly cause: LostCause }
  | { readonly kind: 'violation'; readonly cause: ViolationCause };

/** Translates the messages of one connection. */
export interface StreamAdapter {
  translate(message: Uint8Array, isBinary: boolean): StreamEvent;
}

export function ignored(cause: IgnoredCause): StreamEvent {
  return { kind: 'ignored', cause };
}

export function lost(cause: LostCause): StreamEvent {
  return { kind: 'lost', cause };
}

/** Tokens of this service are made of these; anything else cannot be one. */
const TOKEN = /^[A-Za-z0-9._~-]{1,256}$/;

/** The value, if it could be a token. */
export function tokenLike(value: unknown): string | undefined {
  return typeof value === 'string' && TOKEN.test(value) ? value : undefined;
}
