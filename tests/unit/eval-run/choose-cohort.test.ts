import { describe, expect, it } from 'vitest';
import { chooseCohort, PROBES } from '../../../src/eval-run/choose-cohort.js';
import { ENROLLED, type HeardCall } from '../../../src/eval-run/hear-calls.js';
import { segmentName } from '../../../src/eval-run/segments.js';
import { randomGenerator } from '../../../src/evaluation/random.js';

const random = randomGenerator(5);
const direction = (angle: number) => Float32Array.of(Math.cos(angle), Math.sin(angle));

/** Two calls of each of eight people, who are directions in the plane. */
const calls = Array.from({ length: 16 }, (_, index): HeardCall => {
  const [person, call] = [index >> 1, index & 1];
  const embedding = direction((Math.PI * (person + 0.3 * random())) / 4);
  const segments = [ENROLLED, ...PROBES].map(
    (segment) => [segmentName(segment), { netSpeechMs: 5000, embedding }] as const,
  );
  return {
    id: `c/p${person}/${call}`,
    speaker: `c/p${person}`,
    session: `c/p${person}/${call}`,
    corpus: 'c',
    path: `p${person}-${call}.wav`,
    stretches: undefined,
    embedded: { netSpeechMs: 5000, segments: new Map(segments) },
  };
});
const count = 12;
const rows = Float32Array.from({ length: count }, () => 2 * Math.PI * random()).reduce(
  (all, angle, index) => {
    all.set(direction(angle), 2 * index);
    return all;
  },
  new Float32Array(2 * count),
);

async function compared(sizes: readonly number[], tops: readonly number[]) {
  const figures = await chooseCohort(
    calls,
    { rows, count },
    {
      sizes,
      tops,
      bootstrap: { resamples: 2, seed: 1 },
      signal: new AbortController().signal,
      onProgress: () => undefined,
    },
  );
  for (const { probes } of figures) expect(probes).toHaveLength(PROBES.length);
  return figures.map(({ cohort }) => cohort);
}

describe('chooseCohort', () => {
  it('compares the bare cosine and the whole cohort, however few speakers there are', async () => {
    expect(await compared([50, 100, 200], [20, 50])).toEqual([undefined, { size: 12, top: 12 }]);
    expect(await compared([], [5])).toEqual([undefined, { size: 12, top: 5 }]);
  });

  it('lets all of a smaller cohort judge where more are asked for, once', async () => {
    expect(await compared([8, 12], [4, 10, 20])).toEqual([
      undefined,
      { size: 8, top: 4 },
      { size: 8, top: 8 },
      { size: 12, top: 4 },
      { size: 12, top: 10 },
      { size: 12, top: 12 },
    ]);
  });
});
