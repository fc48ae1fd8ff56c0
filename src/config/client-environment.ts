/** What the command line needs to find a server: two variables, else the development server of this folder. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ClientEnvironment {
  readonly url: string;
  readonly apiKey: string | undefined;
  /** Where the key was found, in words; undefined without one. */
  readonly apiKeyFrom: string | undefined;
}

/** Name of the file in the data folder in which the server keeps its development API key. */
export const DEVELOPMENT_KEY_FILE = 'development-api-key';

/** Where the server keeps its data when DATA_DIR is not set. */
export const DEFAULT_DATA_DIR = './data';

/** VOICE_AUTH_URL and VOICE_AUTH_API_KEY, else http://127.0.0.1:$PORT and the key in the data folder, when there is one. */
export function clientEnvironment(
  source: Readonly<Record<string, string | undefined>> = process.env,
): ClientEnvironment {
  const url = source.VOICE_AUTH_URL || `http://127.0.0.1:${source.PORT || '8000'}`;
  if (source.VOICE_AUTH_API_KEY) return { url, apiKey: source.VOICE_AUTH_API_KEY, apiKeyFrom: 'VOICE_AUTH_API_KEY' };
  return { url, ...developmentKey(source.DATA_DIR || DEFAULT_DATA_DIR) };
}

function developmentKey(dataDir: string): Omit<ClientEnvironment, 'url'> {
  const file = join(dataDir, DEVELOPMENT_KEY_FILE);
  try {
    return { apiKey: readFileSync(file, 'utf8').trim(), apiKeyFrom: file };
  } catch {
    return { apiKey: undefined, apiKeyFrom: undefined };
  }
}

/** The variables that a child process of ours needs whatever it does, and nothing that configures the service. */
export function inheritedEnvironment(
  source: Readonly<Record<string, string | undefined>> = process.env,
): Readonly<Record<string, string>> {
  const entries = ['PATH', 'HOME', 'TMPDIR'].map((name) => [name, source[name]] as const);
  return Object.fromEntries(entries.filter((entry): entry is readonly [string, string] => entry[1] !== undefined));
}
