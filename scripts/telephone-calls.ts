/** Reads a folder of labelled telephone calls (`index.tsv`: speaker `person/call`, utterance, start, duration, file). */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface TelephoneCall {
  readonly person: string;
  readonly call: string;
  readonly path: string;
  readonly seconds: number;
}

/** All calls of the folder in order of the index, or undefined when the folder is not there. */
export function readTelephoneCalls(folder: string): readonly TelephoneCall[] | undefined {
  const index = join(folder, 'index.tsv');
  if (!existsSync(index)) return undefined;
  const calls = new Map<string, TelephoneCall>();
  for (const line of readFileSync(index, 'utf8').trim().split('\n').slice(1)) {
    const [speaker = '', , , duration = '0', file = ''] = line.split('\t');
    const [person = '', call = ''] = speaker.split('/');
    const seconds = (calls.get(file)?.seconds ?? 0) + Number(duration);
    calls.set(file, { person, call, path: join(folder, file), seconds });
  }
  return [...calls.values()];
}
