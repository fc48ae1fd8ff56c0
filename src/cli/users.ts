/** `voice-auth users outdated`: who is still enrolled with another model than the server uses, to be enrolled anew. */
import type { Command } from 'commander';
import { ApiClient, type Json } from './client.js';
import { addServerOptions, type ServerOptions } from './common-options.js';
import { printResult, table } from './output.js';

interface OutdatedOptions extends ServerOptions {
  readonly limit: string;
  readonly before?: string;
}

/** Registers `users outdated`, which exits 1 when the server refuses or does not answer. */
export function registerUsers(program: Command): void {
  const users = program.command('users').description('questions about all users');
  const command = users
    .command('outdated')
    .description(
      'users enrolled with another model than the one in use, last enrolled first: who is to be enrolled anew',
    )
    .option('-n, --limit <n>', 'how many', '50')
    .option('--before <cursor>', 'continue an earlier page (its `next`)')
    .addHelpText(
      'after',
      '\nThe API key needs the scope admin. Enroll each of them with: voice-auth enroll -u <uuid> -f sample.wav --replace-model',
    );
  addServerOptions(command).action(async (options: OutdatedOptions) => {
    const page = await fetchOutdated(new ApiClient(options), options);
    printResult(options.json === true, page, outdatedTable(page));
  });
}

/** One page of users from the API. */
async function fetchOutdated(
  client: ApiClient,
  { limit, before }: { readonly limit: string; readonly before?: string },
): Promise<Json> {
  const parameters = new URLSearchParams({ limit, ...(before ? { before } : {}) });
  return client.get(`/api/v1/users/outdated?${parameters}`);
}

/** The page as a table below the count. */
function outdatedTable(page: Json): string {
  const users = Array.isArray(page.users) ? (page.users as Json[]) : [];
  const total = Number(page.total);
  if (total === 0) return `Nobody is enrolled with another model than ${page.model}.`;
  const heading = `${total} ${total === 1 ? 'user is' : 'users are'} enrolled with another model than ${page.model}`;
  const rows = users.map((user) => [
    String(user.user_id),
    String(user.model),
    String(user.enrolled_at),
    String(user.samples),
  ]);
  const more = page.next ? `\nMore with --before ${page.next}` : '';
  return `${heading}:\n${table(['user', 'model', 'enrolled', 'samples'], rows)}${more}`;
}
