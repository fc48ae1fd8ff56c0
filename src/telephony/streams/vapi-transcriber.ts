/**
 * VAPI's custom transcriber: a start frame, then interleaved s16le in binary messages, the customer on channel 0 and the
 * assistant on channel 1. One channel alone holds both. The start frame carries no token: it is in the URL, which VAPI lets
 * one choose.
 */
import { parseTextFrame } from '../vapi/start-frame.js';
import type { AudioFormat } from './audio-format.js';
import { type AudioEvent, ignored, type StreamAdapter, type StreamEvent } from './stream-events.js';

interface MutableAudioEvent extends AudioEvent {
  payload: Uint8Array;
}

export class VapiTranscriberAdapter implements StreamAdapter {
  #audio: MutableAudioEvent | undefined;

  translate(message: Uint8Array, isBinary: boolean): StreamEvent {
    return isBinary ? this.#binary(message) : this.#text(message);
  }

  #binary(message: Uint8Array): StreamEvent {
    if (!this.#audio) return { kind: 'violation', cause: 'audio_before_start' };
    this.#audio.payload = message;
    return this.#audio;
  }

  #text(message: Uint8Array): StreamEvent {
    const text = parseTextFrame(message);
    if (text.kind === 'garbage') return ignored('garbage_text');
    if (text.kind === 'event') return ignored('unknown_event');
    if (this.#audio) return ignored('second_start');
    if (text.kind === 'unusable_start') return { kind: 'violation', cause: 'unusable_start' };
    const format: AudioFormat = { encoding: 's16le', ...text.format };
    const track = format.channels === 2 ? 'caller' : 'mixed';
    this.#audio = { kind: 'audio', payload: message, format, track, position: undefined };
    return { kind: 'start', token: undefined, format, tracks: [track] };
  }
}
