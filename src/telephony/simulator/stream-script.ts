/** What a simulated caller sends, message by message, and when: computed before the call, so that sending is cheap. */
import type { StreamPlatform } from '../../domain/calls/calls.js';
import { type StreamPiece, streamPieces } from './stream-audio.js';
import { MESSAGE_WRITERS, type MessageContext, type MessageWriter } from './stream-messages.js';
import type { StreamVariant } from './stream-variants.js';
import type { CallAudio } from './wire-audio.js';

interface Message {
  readonly data: string | Uint8Array;
  /** Bytes may also be a text, which need not be UTF-8. */
  readonly isBinary: boolean;
}

export interface ScriptedMessage extends Message {
  /** Audio time at which it is due. */
  readonly dueMs: number;
  readonly isAudio: boolean;
}

const AMONG_EVERY_PIECES = 15;
/** Pieces before a start message that comes late. */
const PIECES_BEFORE_START = 3;

const UNKNOWN_EVENTS = [
  '{"event":"speech","text":"my number is 7351"}',
  '{"type":"transcript","transcript":"my number is 7351"}',
  '{}',
  '{"event":{"toString":1}}',
  '{"event":"__proto__"}',
];
const NOT_UTF8 = Buffer.from('{"event":"mark","name":"Jos\u00e9', 'latin1');
const GARBAGE = [NOT_UTF8, 'not json', '{"event":"media",', '', '\u0000', '[1,2', '7351', 'null'];
const BINARY_NOISE = [Uint8Array.of(7), new Uint8Array(0), Uint8Array.of(0xff, 0xfe, 0x7b, 0, 1)];

/** All messages in the order in which they are sent. */
export function streamScript(
  audio: CallAudio,
  platform: StreamPlatform,
  { variant, token }: MessageContext,
): ScriptedMessage[] {
  const writer = MESSAGE_WRITERS[platform];
  const context = { variant, token };
  const spoken = shuffled(streamPieces(audio, platform, variant), variant.shuffle);
  const messages: ScriptedMessage[] = [];
  const say = (data: string, dueMs: number) => messages.push({ ...text(data), dueMs, isAudio: false });
  if (variant.greeting && writer.greeting !== undefined) say(writer.greeting, 0);
  if (variant.start === 'first' || variant.start === 'twice') say(writer.start(context), 0);
  const noise = amongTheAudio(writer, variant);
  let latestMs = 0;
  spoken.forEach((piece, at) => {
    // What is sent late makes what follows it late, too.
    latestMs = Math.max(latestMs, piece.endMs);
    if (variant.start === 'after_audio' && at === PIECES_BEFORE_START) say(writer.start(context), latestMs);
    if (variant.start === 'twice' && at === PIECES_BEFORE_START) say(writer.start(context), latestMs);
    const data = writer.audio(piece, context);
    messages.push({ data, isBinary: typeof data !== 'string', dueMs: latestMs, isAudio: true });
    if (noise.length > 0 && at % AMONG_EVERY_PIECES === 0) {
      messages.push({ ...noise[(at / AMONG_EVERY_PIECES) % noise.length]!, dueMs: latestMs, isAudio: false });
    }
  });
  if (variant.end === 'stop' && writer.stop !== undefined) say(writer.stop, latestMs);
  return messages;
}

function amongTheAudio(writer: MessageWriter, { among }: StreamVariant): readonly Message[] {
  switch (among) {
    case 'nothing':
      return [];
    case 'dtmf':
    case 'mark':
      return [text(writer.events[among])];
    case 'unknown_events':
      return UNKNOWN_EVENTS.map(text);
    case 'garbage':
      return GARBAGE.map(text);
    case 'binary_noise':
      return BINARY_NOISE.map((data) => ({ data, isBinary: true }));
  }
}

function text(data: string | Uint8Array): Message {
  return { data, isBinary: false };
}

/** Pieces in blocks of `places` + 1, each block sent backwards: none is further than `places` from where it belongs. */
function shuffled(pieces: readonly StreamPiece[], places: number): readonly StreamPiece[] {
  if (places === 0) return pieces;
  const sent: StreamPiece[] = [];
  for (let at = 0; at < pieces.length; at += places + 1) {
    sent.push(...pieces.slice(at, at + places + 1).reverse());
  }
  return sent;
}
