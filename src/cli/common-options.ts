/** Options that every verb talking to a server has. */
import type { Command } from 'commander';

export interface ServerOptions {
  readonly server?: string;
  readonly apiKey?: string;
  readonly json?: boolean;
}

/** Adds --server, --api-key and --json. */
export function addServerOptions(command: Command): Command {
  return command
    .option('--server <url>', 'server to talk to (default: VOICE_AUTH_URL, else http://127.0.0.1:8000)')
    .option('--api-key <key>', 'API key (default: VOICE_AUTH_API_KEY, else the development key in ./data)')
    .option('--json', 'print the result as one line of JSON');
}
