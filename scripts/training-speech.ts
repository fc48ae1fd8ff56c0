/**
 * Reads the corpora that the default model was trained on, as telephone speech: one window per speaker, net speech, through
 * 8 kHz and G.711 and back. Speakers held out from training and real telephone calls are never among them.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { downmix } from '../src/audio/pcm.js';
import { resample } from '../src/audio/resampler.js';
import { loadConfig } from '../src/config/config.js';
import { degrade, parseDegradation } from '../src/eval-run/degradations.js';
import { HELD_OUT, readSpeakers, type Speaker, speakerSound } from '../src/eval-run/read-speakers.js';
import { WorkerRecordingDecoder } from '../src/recordings/worker-recording-decoder.js';
import { builtModule } from '../tests/support/built.js';

const CORPORA = ['speechocean762', 'librispeech', 'speech-commands-test', 'dspspeech20'] as const;
const CONDITIONS = ['mulaw', 'alaw', 'band-8k'].map(parseDegradation);
const WINDOW_S = 10;

export interface TrainingWindow {
  readonly speaker: Speaker;
  readonly samples: Float32Array;
}

/** Every training speaker, corpus after corpus in sorted order, or undefined when a corpus is missing. */
export async function listTrainingSpeakers(folder: string): Promise<readonly Speaker[] | undefined> {
  const folders = CORPORA.map((name) => join(folder, name));
  if (!folders.every((path) => existsSync(join(path, 'index.tsv')))) return undefined;
  return (await readSpeakers(folders, { skipLast: HELD_OUT, exclude: new Set() })).speakers;
}

/**
 * The first 10 s of speech of each speaker (all of it, if less; none below `minS`), one after another, through mu-law, A-law and
 * plain 8 kHz in turn, at the model's rate.
 */
export async function* telephoneWindows(
  speakers: readonly Speaker[],
  { rateHz, minS }: { readonly rateHz: number; readonly minS: number },
): AsyncGenerator<TrainingWindow> {
  const decoder = new WorkerRecordingDecoder(loadConfig().recordings, {
    workerModule: builtModule('recordings/decode-worker.js'),
  });
  const decode = async (bytes: Uint8Array) => {
    const { channels, sampleRateHz } = await decoder.decode(bytes, { signal: new AbortController().signal });
    return { samples: downmix(channels), sampleRateHz };
  };
  try {
    for (const [index, speaker] of speakers.entries()) {
      const sound = await speakerSound(speaker, { decode, atMostS: WINDOW_S });
      if (sound.samples.length < minS * sound.sampleRateHz) continue;
      const condition = CONDITIONS[index % CONDITIONS.length]!;
      const narrow = await degrade(sound, condition, { codec: undefined, noise: undefined, seed: index });
      yield { speaker, samples: resample(narrow.samples, narrow.sampleRateHz, rateHz) };
    }
  } finally {
    await decoder.close();
  }
}
