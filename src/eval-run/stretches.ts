/** Stretches of a file: what of it somebody says, where it holds others as well. */
import type { Sound } from './degradations.js';

export interface Stretch {
  readonly fromS: number;
  readonly toS: number;
}

/** All of a file. */
export const WHOLE: readonly Stretch[] = [{ fromS: 0, toS: Number.POSITIVE_INFINITY }];

/** In the order of time, those that touch or overlap made one: nothing is heard twice. */
export function mergeStretches(stretches: readonly Stretch[]): readonly Stretch[] {
  const merged: Stretch[] = [];
  for (const { fromS, toS } of [...stretches].sort((a, b) => a.fromS - b.fromS)) {
    const last = merged.at(-1);
    if (last && fromS <= last.toS) merged[merged.length - 1] = { fromS: last.fromS, toS: Math.max(last.toS, toS) };
    else merged.push({ fromS, toS });
  }
  return merged;
}

/** The stretches one after another, at most `atMostS` seconds of them; those behind the end of the sound are empty. */
export function cutStretches(
  { samples, sampleRateHz }: Sound,
  stretches: readonly Stretch[],
  atMostS = Number.POSITIVE_INFINITY,
): Sound {
  const parts: Float32Array[] = [];
  let left = Math.min(samples.length, Math.round(atMostS * sampleRateHz));
  for (const { fromS, toS } of stretches) {
    const from = Math.round(fromS * sampleRateHz);
    const part = samples.subarray(from, Math.min(samples.length, Math.round(toS * sampleRateHz), from + left));
    parts.push(part);
    left -= part.length;
  }
  return { samples: joinSamples(parts), sampleRateHz };
}

/** One after another; a single one as it is, not copied. */
export function joinSamples(parts: readonly Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0]!;
  const joined = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
