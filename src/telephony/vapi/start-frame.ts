/**
 * Text frames of a listen socket. Any JSON may come at any time (events, transcripts), and so may text that is no JSON;
 * only a `start` frame means something here: it announces the format of the audio.
 */
import { z } from 'zod';
import type { WireFormat } from '../pcm-deframer.js';
import { SPEECH_RATES_HZ } from '../speech-rates.js';
import { fieldOf, parseJson } from '../wire-json.js';

export type TextFrame =
  | { readonly kind: 'start'; readonly format: WireFormat }
  /** A start frame that announces something this service cannot read, e.g. another encoding. */
  | { readonly kind: 'unusable_start'; readonly problem: string }
  | { readonly kind: 'event' }
  | { readonly kind: 'garbage' };

/** Longer texts are not looked into: a start frame has about a hundred characters. */
export const MAX_TEXT_BYTES = 64 * 1024;

/** `{"type":"start","encoding":"linear16","container":"raw","sampleRate":16000,"channels":2}`; the first two optional. */
const startSchema = z.object({
  encoding: z.literal('linear16').optional(),
  container: z.literal('raw').optional(),
  sampleRate: z.coerce.number().pipe(z.union(SPEECH_RATES_HZ.map((rate) => z.literal(rate)))),
  channels: z.coerce.number().pipe(z.union([z.literal(1), z.literal(2)])),
});

/** Says what a text frame is. Never throws, whatever the bytes; never quotes them. */
export function parseTextFrame(bytes: Uint8Array): TextFrame {
  if (bytes.length > MAX_TEXT_BYTES) return { kind: 'garbage' };
  const json = parseJson(bytes);
  if (json === undefined) return { kind: 'garbage' };
  if (fieldOf(json, 'type') !== 'start') return { kind: 'event' };
  const start = startSchema.safeParse(json);
  if (!start.success) {
    const fields = start.error.issues.map((issue) => issue.path.join('.')).join(', ');
    return { kind: 'unusable_start', problem: `unusable ${fields}` };
  }
  return { kind: 'start', format: { sampleRateHz: start.data.sampleRate, channels: start.data.channels } };
}
