/** Stretches of net speech that are embedded: all of it, or so many seconds from its start or its end. */
import { EvaluationError } from './eval-error.js';

export type Segment = { readonly kind: 'all' } | { readonly kind: 'first' | 'last'; readonly seconds: number };

/** `all`, `first-15`, `last-3`. */
export function segmentName(segment: Segment): string {
  return segment.kind === 'all' ? 'all' : `${segment.kind}-${segment.seconds}`;
}

/** The samples of the segment; speech that is shorter is taken whole. */
export function cutSegment(speech: Float32Array, segment: Segment, sampleRateHz: number): Float32Array {
  if (segment.kind === 'all') return speech;
  const samples = Math.min(speech.length, Math.round(segment.seconds * sampleRateHz));
  return segment.kind === 'first' ? speech.subarray(0, samples) : speech.subarray(speech.length - samples);
}

/** `all`, or a number of seconds counted from the end named. Throws `EvaluationError` for anything else. */
export function parseSegment(text: string, from: 'first' | 'last'): Segment {
  if (text === 'all') return { kind: 'all' };
  const seconds = Number(text);
  if (!(seconds > 0 && seconds <= 600)) {
    throw new EvaluationError(`"${text}" is no amount of speech: give seconds (at most 600) or "all"`);
  }
  return { kind: from, seconds };
}
