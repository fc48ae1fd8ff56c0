/** `voice-auth history`: the recorded attempts of a user, newest first. */
import type { Command } from 'commander';
import { ApiClient, type Json } from './client.js';
import { addServerOptions, type ServerOptions } from './common-options.js';
import { formatScore, printResult, table } from './output.js';

interface HistoryOptions extends ServerOptions {
  readonly user: string;
  readonly limit: string;
  readonly before?: string;
}

export function registerHistory(program: Command): void {
  const command = program
    .command('history')
    .description('recorded verification attempts of a user, newest first')
    .requiredOption('-u, --user <uuid>', 'user id')
    .option('-n, --limit <n>', 'how many', '20')
    .option('--before <cursor>', 'continue an earlier page (its `next`)');
  addServerOptions(command).action(async (options: HistoryOptions) => {
    const page = await fetchHistory(new ApiClient(options), options);
    printResult(options.json === true, page, historyTable(page));
  });
}

/** One page of attempts from the API. */
export async function fetchHistory(
  client: ApiClient,
  query: { readonly user: string; readonly limit: string; readonly before?: string },
): Promise<Json> {
  const parameters = new URLSearchParams({ limit: query.limit, ...(query.before ? { before: query.before } : {}) });
  return client.get(`/api/v1/users/${encodeURIComponent(query.user)}/auth-history?${parameters}`);
}

/** The page as a table. */
export function historyTable(page: Json): string {
  const attempts = Array.isArray(page.attempts) ? (page.attempts as Json[]) : [];
  if (attempts.length === 0) return 'No attempts recorded.';
  const rows = attempts.map((attempt) => [
    String(attempt.created_at),
    String(attempt.decision),
    String(attempt.reason),
    formatScore(attempt.score),
    Number(attempt.net_speech_seconds).toFixed(1),
    String(attempt.id),
  ]);
  const more = page.next ? `\nMore with --before ${page.next}` : '';
  return table(['time', 'decision', 'reason', 'score', 'speech s', 'attempt'], rows) + more;
}
