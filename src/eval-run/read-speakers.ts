/** The speakers of labelled speech for a cohort: who may be in it, in a random but repeatable order, and what they say. */
import { readFile } from 'node:fs/promises';
import { randomGenerator } from '../evaluation/random.js';
import type { Sound } from './degradations.js';
import { EvaluationError, faultOfRecording } from './eval-error.js';
import { type Corpus, type Recording, readCorpora } from './read-corpus.js';
import { cutStretches, joinSamples, WHOLE } from './stretches.js';

export interface Speaker {
  /** `corpus/speaker`. */
  readonly name: string;
  readonly corpus: string;
  readonly recordings: readonly Recording[];
}

export interface SpeakerChoice {
  /** By name of the corpus: so many at the end of its sorted list stay out. */
  readonly skipLast: ReadonlyMap<string, number>;
  /** `corpus/speaker`, who stay out. */
  readonly exclude: ReadonlySet<string>;
}

export interface ChosenSpeakers {
  /** Corpus after corpus, sorted by name. */
  readonly speakers: readonly Speaker[];
  /** By name of the corpus; those with nobody held out are missing. */
  readonly heldOut: ReadonlyMap<string, number>;
}

/**
 * Speakers that the shipped models were never trained on, kept for development: the last of the sorted lists of these
 * corpora. A cohort that has them would make figures measured on them too good.
 */
export const HELD_OUT: ReadonlyMap<string, number> = new Map([
  ['speechocean762', 25],
  ['dspspeech20', 4],
  ['librispeech', 25],
  ['speech-commands-test', 24],
]);

/** Throws `EvaluationError` for a folder without labelled speech, and for names that no speaker or corpus has. */
export async function readSpeakers(folders: readonly string[], choice: SpeakerChoice): Promise<ChosenSpeakers> {
  const corpora = await readCorpora(folders);
  for (const name of choice.skipLast.keys()) {
    if (!HELD_OUT.has(name) && !corpora.some((corpus) => corpus.name === name)) {
      throw new EvaluationError(`There is no corpus ${name} to skip speakers of`);
    }
  }
  const all = corpora.flatMap(speakersOf);
  for (const name of choice.exclude) {
    if (!all.some((speaker) => speaker.name === name)) throw new EvaluationError(`There is no speaker ${name}`);
  }
  const heldOut = new Map<string, number>();
  const speakers = corpora.flatMap((corpus) => {
    const own = speakersOf(corpus);
    const kept = own
      .slice(0, Math.max(0, own.length - (choice.skipLast.get(corpus.name) ?? 0)))
      .filter(({ name }) => !choice.exclude.has(name));
    if (kept.length < own.length) heldOut.set(corpus.name, own.length - kept.length);
    return kept;
  });
  return { speakers, heldOut };
}

/** Fisher and Yates: the first n of the result are a random n of the speakers, of all corpora alike. */
export function shuffleSpeakers(speakers: readonly Speaker[], seed: number): readonly Speaker[] {
  const random = randomGenerator(seed);
  const shuffled = [...speakers];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const at = Math.floor(random() * (last + 1));
    [shuffled[last], shuffled[at]] = [shuffled[at]!, shuffled[last]!];
  }
  return shuffled;
}

/** A speaker's recordings one after another, `atMostS` seconds of them. Throws `EvaluationError` that names a bad file. */
export async function speakerSound(
  { recordings }: Speaker,
  options: { readonly decode: (bytes: Uint8Array) => Promise<Sound>; readonly atMostS: number },
): Promise<Sound> {
  const parts: Float32Array[] = [];
  let [rateHz, seconds] = [0, 0];
  const decoded = new Map<string, Sound>();
  for (const { path, stretches } of recordings) {
    if (seconds >= options.atMostS) break;
    const sound = decoded.get(path) ?? (await decodeFile(path, options.decode));
    decoded.set(path, sound);
    // Files of one speaker that differ in rate cannot be put together as they are.
    if (rateHz !== 0 && sound.sampleRateHz !== rateHz) continue;
    rateHz = sound.sampleRateHz;
    const { samples } = cutStretches(sound, stretches ?? WHOLE, options.atMostS - seconds);
    parts.push(samples);
    seconds += samples.length / rateHz;
  }
  return { samples: joinSamples(parts), sampleRateHz: rateHz };
}

function speakersOf({ name: corpus, recordings }: Corpus): readonly Speaker[] {
  const own = new Map<string, Recording[]>();
  for (const recording of recordings) {
    const known = own.get(recording.speaker);
    if (known) known.push(recording);
    else own.set(recording.speaker, [recording]);
  }
  // By code unit, which is how the lists of held-out speakers were made; the language of the terminal must not matter.
  const sorted = [...own].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([name, found]) => ({ name, corpus, recordings: found }));
}

async function decodeFile(path: string, decode: (bytes: Uint8Array) => Promise<Sound>): Promise<Sound> {
  const bytes = await readFile(path).catch(() => {
    throw new EvaluationError(`${path} cannot be read`);
  });
  return decode(bytes).catch((error: unknown) => {
    throw faultOfRecording(path, error);
  });
}
