/** Calibrations of made-up calls whose voices are known: what is fitted on one half of the people is measured on the other. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { calibrateOnCalls } from '../../../src/eval-run/calibrate-on-calls.js';
import { readCorpus } from '../../../src/eval-run/read-corpus.js';
import type { SpeechPath } from '../../../src/eval-run/service-path.js';
import { randomGenerator } from '../../../src/evaluation/random.js';

const SIZE = 16;
const RATE_HZ = 100;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'calls-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** A unit vector near `towards`, the nearer the smaller `spread`. */
function near(towards: Float32Array, spread: number, seed: number): Float32Array {
  const random = randomGenerator(seed);
  const vector = towards.map((value) => value + spread * (2 * random() - 1));
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}

/** The voice of a call: people of even number sound much alike, the others do not; two calls of one person are nearly the same. */
function voice(person: number, call: number): Float32Array {
  const common = Float32Array.from({ length: SIZE }, (_, i) => (i === 0 ? 1 : 0));
  const own = near(common, person % 2 === 0 ? 0.3 : 1.2, 100 + person);
  return near(own, 0.05, 1000 + 10 * person + call);
}

/** Two calls each of `people` people, whose files hold their numbers. */
async function writeCalls(people: number): Promise<void> {
  const rows = ['speaker\tutterance\tstart_s\tduration_s\tfile'];
  for (let person = 0; person < people; person++) {
    for (const call of [0, 1]) {
      const file = `p${String(person).padStart(2, '0')}-${call}.wav`;
      await writeFile(join(folder, file), Uint8Array.of(person, call));
      rows.push(`p${String(person).padStart(2, '0')}/c${call}\t1\t0\t30\t${file}`);
    }
  }
  await writeFile(join(folder, 'index.tsv'), rows.join('\n'));
}

const path: SpeechPath = {
  modelId: 'toy',
  modelSha256: '0'.repeat(64),
  frontEnd: '{"kind":"waveform"}',
  speechDetectorId: 'toy',
  sampleRateHz: RATE_HZ,
  minWindowMs: 500,
  embeddingSize: SIZE,
  decode: () => expect.unreachable(),
  // Three seconds of speech that say whose they are.
  hear: (recording) =>
    Promise.resolve(Float32Array.from({ length: 3 * RATE_HZ }, (_, i) => (recording as Uint8Array)[i % 2]!)),
  embedding: () => (speech) => Promise.resolve(voice(speech[0]!, speech[1]!)),
  close: () => Promise.resolve(),
};

async function calibrate(people: number) {
  await writeCalls(people);
  const random = randomGenerator(7);
  const rows = Float32Array.from({ length: 40 * SIZE }, () => 2 * random() - 1);
  for (let row = 0; row < 40; row++) {
    const embedding = rows.subarray(row * SIZE, (row + 1) * SIZE);
    const length = Math.hypot(...embedding);
    for (let i = 0; i < SIZE; i++) embedding[i]! /= length;
  }
  return calibrateOnCalls(await readCorpus(folder), {
    path,
    cohort: { rows, sha256: 'a'.repeat(64) },
    cohortTop: 40,
    check: true,
    jobs: 2,
    signal: new AbortController().signal,
    onProgress: () => undefined,
  });
}

it('judges each half of the people by what was fitted on the other', async () => {
  const { checks, people } = await calibrate(50);
  expect(people).toBe(50);
  expect(checks.map(({ fittedOn, measuredOn }) => [fittedOn, measuredOn])).toEqual([
    ['all', 'all'],
    ['even half', 'odd half'],
    ['odd half', 'even half'],
  ]);
  const [all, odd, even] = checks;
  // Of 25 people both directions of their two calls, and each call against both of everybody else.
  expect([all!.targets, odd!.targets, even!.targets]).toEqual([100, 50, 50]);
  expect([all!.nontargets, odd!.nontargets, even!.nontargets]).toEqual([9800, 2400, 2400]);
  // Strangers who are alike make a careful calibration, by which those who are not get nowhere, and the other way round.
  expect(odd!.rates[0]).toMatchObject({ threshold: 0.536, observedFmr: 0 });
  expect(even!.rates[0]!.observedFmr).toBeGreaterThan(0.5);
});

it('has no halves where they would be too small to fit on', async () => {
  const { checks } = await calibrate(49);
  expect(checks.map(({ fittedOn }) => fittedOn)).toEqual(['all']);
});
