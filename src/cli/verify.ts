/** `voice-auth verify`: checks that a recording or a live call is the claimed person. The exit code tells the decision. */
import type { Command } from 'commander';
import { ApiClient, type Json } from './client.js';
import { CommandError } from './command-error.js';
import { addServerOptions, channelOption, numberFromZero, type ServerOptions } from './common-options.js';
import { formatScore, printResult, speechProgress } from './output.js';

interface VerifyOptions extends ServerOptions {
  readonly user: string;
  readonly file?: string;
  readonly url?: string;
  readonly listen?: string;
  readonly channel?: string;
  readonly threshold?: number;
  readonly maxSeconds?: number;
}

const EXIT_CODES: Readonly<Record<string, number>> = { accept: 0, reject: 2, inconclusive: 3 };

export function registerVerify(program: Command): void {
  const command = program
    .command('verify')
    .description('verify a claimed identity; exits 0 = accept, 2 = reject, 3 = inconclusive, 1 = error')
    .requiredOption('-u, --user <uuid>', 'claimed user id')
    .option('-f, --file <path>', 'recording to upload')
    .option('--url <https-url>', 'recording for the server to download')
    .option('--listen <wss-url>', 'listen URL of a live call')
    .addOption(channelOption())
    .option('--threshold <score>', 'stricter than the configured threshold', numberFromZero)
    .option('--max-seconds <n>', 'listen at most so long (with --listen)', numberFromZero)
    .addHelpText(
      'after',
      `
Example:
  voice-auth verify -u 6f1d7c5e-8a51-4c0e-9d0e-2f7d5f6a0001 -f tests/fixtures/voices/alice-call-1.wav`,
    );
  addServerOptions(command).action(async (options: VerifyOptions) => {
    const result = await verifyWithProgress(new ApiClient(options), options, options.json === true);
    printResult(options.json === true, result, describeResult(result));
    process.exitCode = EXIT_CODES[String(result.decision)] ?? 1;
  });
}

/** Runs one verification over HTTP, showing speech heard and score so far while it goes on. */
export async function verifyWithProgress(
  client: ApiClient,
  options: Omit<VerifyOptions, keyof ServerOptions>,
  quiet: boolean,
): Promise<Json> {
  const given = [options.file, options.url, options.listen].filter((value) => value !== undefined);
  if (given.length !== 1) throw new CommandError('Give exactly one of --file, --url and --listen');
  const progress = speechProgress(quiet || options.listen === undefined, 30);
  const onProgress = (state: Json) =>
    progress.update(Number(state.net_speech_seconds), typeof state.score === 'number' ? state.score : undefined);
  try {
    if (options.file !== undefined) {
      const threshold = options.threshold?.toString();
      const fields = { user_id: options.user, channel: options.channel, threshold };
      return await client.follow('/api/v1/verify', { file: options.file, fields }, onProgress);
    }
    // What is undefined is left out of JSON.
    const body = {
      userId: options.user,
      audioUrl: options.url,
      listenUrl: options.listen,
      channel: options.channel === undefined ? undefined : Number(options.channel),
      threshold: options.threshold,
      maxSeconds: options.maxSeconds,
    };
    return await client.follow('/api/v1/verify-password', { body }, onProgress);
  } finally {
    progress.stop();
  }
}

/** One line for people. */
export function describeResult(result: Json): string {
  return (
    `${result.decision} (${result.reason}): score ${formatScore(result.score)}, threshold ${formatScore(result.threshold)}, ` +
    `${Number(result.net_speech_seconds).toFixed(1)} s of speech, attempt ${result.attempt_id}`
  );
}
