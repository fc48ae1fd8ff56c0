/**
 * Finds the recordings of labelled speech in a folder. Two layouts: `index.tsv` (speaker, utterance, start_s, duration_s,
 * file; a speaker written `person/call` says which call it was), and a folder per speaker with audio files in it, or with
 * a folder per session that holds them.
 */
import type { Dirent } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import type { TrialSide } from '../evaluation/trials.js';
import { EvaluationError } from './eval-error.js';
import { mergeStretches, type Stretch } from './stretches.js';

export interface Recording extends TrialSide {
  readonly path: string;
  /** What of the file is meant, in the order of time; undefined = all of it. */
  readonly stretches: readonly Stretch[] | undefined;
}

export interface Corpus {
  readonly name: string;
  readonly recordings: readonly Recording[];
  /** Whether the data say what was one call: without that, two recordings may share room and microphone. */
  readonly sessionsKnown: boolean;
}

/** What counts as audio by its name; whether it is, the decoder finds out. */
export const AUDIO_FILES: ReadonlySet<string> = new Set([
  '.wav',
  '.flac',
  '.mp3',
  '.ogg',
  '.oga',
  '.opus',
  '.webm',
  '.m4a',
  '.aac',
  '.amr',
  '.au',
]);
/** What stands in the speaker column of audio nobody has labelled. */
const UNLABELLED = new Set(['', '-', 'unknown']);

/** Reads the layout that is there. Throws `EvaluationError` when the folder has no labelled speech. */
export async function readCorpus(folder: string): Promise<Corpus> {
  const word = wordsApart();
  const name = word(basename(resolve(folder)));
  const index = await readFile(join(folder, 'index.tsv'), 'utf8').catch(() => undefined);
  const corpus =
    index === undefined ? await readSpeakerFolders(folder, name, word) : readIndex(folder, name, { index, word });
  if (corpus.recordings.length === 0) {
    throw new EvaluationError(
      `No labelled speech in ${folder}: expected index.tsv (speaker, utterance, start_s, duration_s, file), ` +
        'or folders named after speakers with audio files in them',
    );
  }
  const ids = corpus.recordings.map(({ id }) => id);
  for (const id of repeated(ids)) throw new EvaluationError(`${folder}: two recordings would be called ${id}`);
  return corpus;
}

/** Several folders; their last names must differ, because ids of recordings begin with them. */
export async function readCorpora(folders: readonly string[]): Promise<readonly Corpus[]> {
  const corpora = await Promise.all(folders.map(readCorpus));
  const names = corpora.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new EvaluationError(`Two data folders are called ${twice}: rename one`);
  return corpora;
}

function readIndex(
  folder: string,
  name: string,
  { index: text, word }: { readonly index: string; readonly word: Word },
): Corpus {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  const header = lines.shift()?.split('\t') ?? [];
  const column = (title: string): number => {
    const at = header.indexOf(title);
    if (at < 0) throw new EvaluationError(`${join(folder, 'index.tsv')} has no column "${title}"`);
    return at;
  };
  const [speakerAt, startAt, durationAt, fileAt] = ['speaker', 'start_s', 'duration_s', 'file'].map(column);
  const groups = new Map<string, { speaker: string; file: string; utterances: Stretch[] }>();
  let sessionsKnown: boolean | undefined;
  for (const [index, line] of lines.entries()) {
    const cells = line.split('\t');
    const [speaker = '', file = ''] = [cells[speakerAt!], cells[fileAt!]];
    const [fromS, durationS] = [Number(cells[startAt!]), Number(cells[durationAt!])];
    if (file === '' || !(fromS >= 0) || !(durationS > 0)) {
      throw new EvaluationError(`${join(folder, 'index.tsv')}, line ${index + 2}: cannot be read`);
    }
    if (UNLABELLED.has(speaker)) continue;
    const namesCall = /^[^/]+\/.+$/.test(speaker);
    sessionsKnown ??= namesCall;
    // One name that does not say which call would make every call of everybody a person of its own, and owners strangers.
    if (namesCall !== sessionsKnown) {
      const [now, before] = namesCall ? ['person/call', 'a person'] : ['a person', 'person/call'];
      const at = `${join(folder, 'index.tsv')}, line ${index + 2}`;
      throw new EvaluationError(`${at}: the speaker is written ${now}, in the lines before ${before}`);
    }
    const key = `${speaker}\t${file}`;
    const group = groups.get(key) ?? { speaker, file, utterances: [] };
    group.utterances.push({ fromS, toS: fromS + durationS });
    groups.set(key, group);
  }
  const all = [...groups.values()];
  const filesWithSeveral = repeated(all.map(({ file }) => file));
  const callsInSeveral = repeated(all.map(({ speaker }) => speaker));
  const recordings = all.flatMap(({ speaker, file, utterances }) => {
    const [person, call] = sessionsKnown ? speaker.split('/', 2) : [speaker, file];
    const isShared = filesWithSeveral.has(file);
    const path = join(folder, file);
    const sharedFile = isShared ? path : undefined;
    const side = { speaker: word(`${name}/${person}`), corpus: name, path, sharedFile };
    if (sessionsKnown) {
      const stretches = isShared ? mergeStretches(utterances) : undefined;
      const id = callsInSeveral.has(speaker) ? `${name}/${speaker}/${stem(file)}` : `${name}/${speaker}`;
      return [{ ...side, id: word(id), session: word(`${name}/${speaker}/${call}`), stretches }];
    }
    // One sitting per speaker: the only two recordings to compare are its first and its second half.
    return halves(utterances).map((half, index) => {
      const id = word(`${name}/${speaker}/${stem(file)}-${index + 1}`);
      return { ...side, id, session: id, stretches: isShared ? mergeStretches(half) : [spanOf(half)] };
    });
  });
  return { name, recordings, sessionsKnown: sessionsKnown === true };
}

async function readSpeakerFolders(folder: string, name: string, word: Word): Promise<Corpus> {
  const recordings: Recording[] = [];
  let nested = 0;
  for (const speaker of await subfolders(folder)) {
    const own = join(folder, speaker);
    const add = (path: string, session: string, id: string) =>
      recordings.push({
        id: word(id),
        speaker: word(`${name}/${speaker}`),
        session: word(session),
        corpus: name,
        path,
        stretches: undefined,
      });
    for (const file of await audioFiles(own))
      add(join(own, file), `${name}/${speaker}/${file}`, `${name}/${speaker}/${file}`);
    for (const session of await subfolders(own)) {
      for (const file of await audioFiles(join(own, session))) {
        nested++;
        add(join(own, session, file), `${name}/${speaker}/${session}`, `${name}/${speaker}/${session}/${file}`);
      }
    }
  }
  return { name, recordings, sessionsKnown: recordings.length > 0 && nested === recordings.length };
}

async function subfolders(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => {
    throw new EvaluationError(`The data folder ${folder} cannot be read`);
  });
  return namesOf(folder, entries, (entry) => entry.isDirectory());
}

async function audioFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const named = entries.filter(({ name }) => AUDIO_FILES.has(extname(name).toLowerCase()));
  return namesOf(folder, named, (entry) => entry.isFile());
}

/** The names of entries of a kind, sorted; a link counts as what it leads to. */
async function namesOf(
  folder: string,
  entries: readonly Dirent[],
  isWanted: (entry: Pick<Dirent, 'isFile' | 'isDirectory'>) => boolean,
): Promise<string[]> {
  const wanted = await Promise.all(
    entries.map(async (entry) => isWanted(entry.isSymbolicLink() ? await followed(join(folder, entry.name)) : entry)),
  );
  return entries
    .filter((_, index) => wanted[index])
    .map(({ name }) => name)
    .sort();
}

async function followed(link: string): Promise<Pick<Dirent, 'isFile' | 'isDirectory'>> {
  return stat(link).catch(() => {
    throw new EvaluationError(`${link} is a link that leads nowhere`);
  });
}

/** Two parts of about the same length of speech, cut between utterances; one when there is only one utterance. */
function halves(utterances: readonly Stretch[]): (readonly Stretch[])[] {
  if (utterances.length < 2) return [utterances];
  const sorted = [...utterances].sort((a, b) => a.fromS - b.fromS);
  const total = sorted.reduce((sum, { fromS, toS }) => sum + toS - fromS, 0);
  let [heard, cut] = [0, 0];
  while (cut < sorted.length - 1 && (cut === 0 || heard < total / 2)) {
    heard += sorted[cut]!.toS - sorted[cut]!.fromS;
    cut++;
  }
  return [sorted.slice(0, cut), sorted.slice(cut)];
}

function spanOf(utterances: readonly Stretch[]): { fromS: number; toS: number } {
  return {
    fromS: Math.min(...utterances.map(({ fromS }) => fromS)),
    toS: Math.max(...utterances.map(({ toS }) => toS)),
  };
}

function repeated(values: readonly string[]): ReadonlySet<string> {
  const seen = new Set<string>();
  return new Set(values.filter((value) => seen.size === seen.add(value).size));
}

/** A path within the corpus, without the ending. */
function stem(file: string): string {
  return file.slice(0, file.length - extname(file).length);
}

type Word = (text: string) => string;

/** Names as trial lists can hold them, which are separated by spaces. Throws `EvaluationError` for two that become the same. */
function wordsApart(): Word {
  const originals = new Map<string, string>();
  return (text) => {
    const word = text.replace(/\s+/g, '_');
    const before = originals.get(word) ?? text;
    if (before !== text) throw new EvaluationError(`"${before}" and "${text}" are both called ${word}: rename one`);
    originals.set(word, text);
    return word;
  };
}
