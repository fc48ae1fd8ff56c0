/** `voice-auth enroll`: adds a voice sample of a person, from a file, an audio URL or a live call. */
import type { Command } from 'commander';
import { ApiClient } from './client.js';
import { CommandError } from './command-error.js';
import { addServerOptions, channelOption, numberFromZero, type ServerOptions } from './common-options.js';
import { printResult, remark } from './output.js';

interface EnrollOptions extends ServerOptions {
  readonly user: string;
  readonly phone?: string;
  readonly file?: string;
  readonly url?: string;
  readonly listen?: string;
  readonly channel?: string;
  readonly maxSeconds?: number;
  readonly consent?: string;
  readonly replaceModel?: boolean;
}

export function registerEnroll(program: Command): void {
  const command = program
    .command('enroll')
    .description('add a voice sample of a person (up to 5 make the voiceprint)')
    .requiredOption('-u, --user <uuid>', 'user id')
    .option('-p, --phone <number>', 'phone number, E.164 (needed with --url and --listen)')
    .option('-f, --file <path>', 'recording to upload (WAV, MP3, FLAC, Ogg, WebM, ...)')
    .option('--url <https-url>', 'recording for the server to download')
    .option('--listen <wss-url>', 'listen URL of a live call')
    .addOption(channelOption())
    .option('--max-seconds <n>', 'listen at most so long (with --listen)', numberFromZero)
    .option('--consent <reference>', "where the person's consent is on file")
    .option('--replace-model', 'replace a voiceprint that another model has made (needs a key of scope admin)')
    .addHelpText(
      'after',
      `
Example:
  voice-auth enroll -u 6f1d7c5e-8a51-4c0e-9d0e-2f7d5f6a0001 -p +15550100001 -f tests/fixtures/voices/alice-enroll.wav`,
    );
  addServerOptions(command).action(async (options: EnrollOptions) => {
    const client = new ApiClient(options);
    remark(options.json === true, 'Enrolling ...');
    const result = await enroll(client, options);
    printResult(
      options.json === true,
      result,
      `${result.status}: ${result.samples} sample(s), ${Number(result.net_speech_seconds).toFixed(1)} s of speech in this one, ` +
        `agreement ${Number(result.score).toFixed(3)}, model ${result.model}`,
    );
  });
}

async function enroll(client: ApiClient, options: EnrollOptions): Promise<Readonly<Record<string, unknown>>> {
  const given = [options.file, options.url, options.listen].filter((value) => value !== undefined);
  if (given.length !== 1) throw new CommandError('Give exactly one of --file, --url and --listen');
  if (options.file !== undefined) {
    return client.upload('/api/v1/enroll', options.file, {
      user_id: options.user,
      phone: options.phone,
      channel: options.channel,
      consent_reference: options.consent,
      replace_model: options.replaceModel ? 'true' : undefined,
    });
  }
  // What is undefined is left out of JSON.
  return client.post('/api/v1/enroll-user', {
    userId: options.user,
    phone: options.phone,
    audioUrl: options.url,
    listenUrl: options.listen,
    channel: options.channel === undefined ? undefined : Number(options.channel),
    maxSeconds: options.maxSeconds,
    consentReference: options.consent,
    replaceModel: options.replaceModel,
  });
}
