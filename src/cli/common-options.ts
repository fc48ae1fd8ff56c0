/** Options that verbs talking to a server have in common. */
import { type Command, InvalidArgumentError, Option } from 'commander';

export interface ServerOptions {
  readonly server?: string;
  readonly apiKey?: string;
  readonly json?: boolean;
}

/** Adds --server, --api-key and --json. */
export function addServerOptions(command: Command): Command {
  return command
    .option(
      '--server <url>',
      'server to talk to (default: VOICE_AUTH_URL, else http://127.0.0.1:$PORT, with PORT 8000 unless set)',
    )
    .option(
      '--api-key <key>',
      'API key (default: VOICE_AUTH_API_KEY, else the development key in DATA_DIR, ./data unless set)',
    )
    .option('--json', 'print the result as one line of JSON');
}

/** --channel, which takes 0 or 1 and nothing else. */
export function channelOption(): Option {
  return new Option('--channel <0|1>', "the caller's channel in a stereo recording").choices(['0', '1']);
}

/** For options: a number from 0. An empty text is none, though JavaScript reads it as 0. Throws `InvalidArgumentError`. */
export function numberFromZero(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0) {
    throw new InvalidArgumentError('It must be a number from 0.');
  }
  return value;
}
