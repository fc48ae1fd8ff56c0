/**
 * Reads the corpora that the default model was trained on, as telephone speech: one window per speaker, net speech, through
 * 8 kHz and G.711 and back. Speakers held out from training and real telephone calls are never among them.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeAlaw, decodeMulaw, encodeAlaw, encodeMulaw } from '../src/audio/g711.js';
import { resample } from '../src/audio/resampler.js';
import { loadConfig } from '../src/config/config.js';
import { WorkerRecordingDecoder } from '../src/recordings/worker-recording-decoder.js';
import { builtModule } from '../tests/support/built.js';

/** Folder of a corpus, and how many speakers at the end of the sorted list were held out from training. */
const CORPORA = [
  { name: 'speechocean762', heldOut: 25 },
  { name: 'librispeech', heldOut: 0 },
  { name: 'speech-commands-test', heldOut: 0 },
  { name: 'dspspeech20', heldOut: 4 },
] as const;

const TELEPHONE_RATE_HZ = 8000;
const WINDOW_S = 10;
/** Enough of a file for a window, at the 24 kbit/s of the corpora; the rest need not be decoded. */
const FILE_BYTES = 100_000;

interface Utterance {
  readonly startS: number;
  readonly durationS: number;
}

export interface TrainingSpeaker {
  readonly corpus: string;
  readonly speaker: string;
  readonly path: string;
  readonly utterances: readonly Utterance[];
}

export interface TrainingWindow {
  readonly speaker: TrainingSpeaker;
  readonly samples: Float32Array;
}

/** Every training speaker, corpus after corpus in sorted order, or undefined when a corpus is missing. */
export function listTrainingSpeakers(folder: string): readonly TrainingSpeaker[] | undefined {
  const speakers: TrainingSpeaker[] = [];
  for (const { name, heldOut } of CORPORA) {
    const index = join(folder, name, 'index.tsv');
    if (!existsSync(index)) return undefined;
    const own = new Map<string, { path: string; utterances: Utterance[] }>();
    for (const line of readFileSync(index, 'utf8').trim().split('\n').slice(1)) {
      const [speaker = '', , start = '0', duration = '0', file = ''] = line.split('\t');
      const entry = own.get(speaker) ?? { path: join(folder, name, file), utterances: [] };
      entry.utterances.push({ startS: Number(start), durationS: Number(duration) });
      own.set(speaker, entry);
    }
    const sorted = [...own.entries()].sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [speaker, entry] of sorted.slice(0, sorted.length - heldOut)) {
      speakers.push({ corpus: name, speaker, ...entry });
    }
  }
  return speakers;
}

/**
 * The first 10 s of speech of each speaker (all of it, if less; none below `minS`), one after another, through mu-law, A-law and
 * plain 8 kHz in turn, at the model's rate.
 */
export async function* telephoneWindows(
  speakers: readonly TrainingSpeaker[],
  { rateHz, minS }: { readonly rateHz: number; readonly minS: number },
): AsyncGenerator<TrainingWindow> {
  const decoder = new WorkerRecordingDecoder(loadConfig().recordings, {
    workerModule: builtModule('recordings/decode-worker.js'),
  });
  try {
    for (const [index, speaker] of speakers.entries()) {
      const bytes = readFileSync(speaker.path).subarray(0, FILE_BYTES);
      const { channels, sampleRateHz } = await decoder.decode(bytes, { signal: new AbortController().signal });
      const parts = speaker.utterances.map(({ startS, durationS }) =>
        channels[0]!.subarray(Math.round(startS * sampleRateHz), Math.round((startS + durationS) * sampleRateHz)),
      );
      const speech = joinParts(parts, sampleRateHz * WINDOW_S);
      if (speech.length < minS * sampleRateHz) continue;
      const narrow = throughG711(resample(speech, sampleRateHz, TELEPHONE_RATE_HZ), index);
      yield { speaker, samples: resample(narrow, TELEPHONE_RATE_HZ, rateHz) };
    }
  } finally {
    await decoder.close();
  }
}

function joinParts(parts: readonly Float32Array[], atMost: number): Float32Array {
  const total = Math.min(
    atMost,
    parts.reduce((sum, part) => sum + part.length, 0),
  );
  const joined = new Float32Array(total);
  let at = 0;
  for (const part of parts) {
    const fitting = part.subarray(0, total - at);
    joined.set(fitting, at);
    at += fitting.length;
  }
  return joined;
}

function throughG711(samples: Float32Array, turn: number): Float32Array {
  if (turn % 3 === 2) return samples;
  const out = new Float32Array(samples.length);
  if (turn % 3 === 0) decodeMulaw(encodeMulaw(samples), out);
  else decodeAlaw(encodeAlaw(samples), out);
  return out;
}
