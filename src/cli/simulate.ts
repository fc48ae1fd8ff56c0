/** `voice-auth simulate`: a VAPI-like listen server that plays audio files as a live call, in every known wire variant. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { loadConfig } from '../config/config.js';
import { WorkerRecordingDecoder } from '../recordings/worker-recording-decoder.js';
import { type ListenSimulator, startListenSimulator } from '../telephony/simulator/listen-server.js';
import { VARIANTS, type VariantName, type WireVariant, wireVariant } from '../telephony/simulator/variants.js';
import { CALL_RATE_HZ, readCallAudio } from './call-audio.js';
import { printResult, remark, table } from './output.js';

interface SimulateOptions {
  readonly caller: string[];
  readonly agent?: string[];
  readonly variant: VariantName;
  readonly port: number;
  readonly host: string;
  readonly json?: boolean;
  readonly listVariants?: boolean;
  readonly set: Partial<WireVariant>;
}

const CALL_ID = 'demo-call';

export function registerSimulate(program: Command): void {
  program
    .command('simulate')
    .description(
      'play audio files as a live call on a VAPI-like listen socket (the server needs ALLOW_PRIVATE_NETWORK=true)',
    )
    .option('-c, --caller <files...>', "the caller's audio (any format the service reads)", [
      'tests/fixtures/voices/alice-call-1.wav',
    ])
    .option('-a, --agent <files...>', "the agent's audio")
    .addOption(
      new Option('--variant <name>', 'how the wire behaves').choices(Object.keys(VARIANTS)).default('documented'),
    )
    .option('--set <option=value>', 'change one option of the variant; repeatable (see --list-variants)', collect, {})
    .option('--list-variants', 'print variants and options')
    .option('--port <n>', 'port (0 = any free one)', Number, 8100)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--json', 'print the listen URL as one line of JSON')
    .addHelpText(
      'after',
      '\nThe call starts anew for every listener. Ctrl-C ends it.\nExample: voice-auth simulate -c tests/fixtures/voices/bob-call-1.wav --variant odd-bytes --set speed=2',
    )
    .action(async (options: SimulateOptions) => {
      if (options.listVariants) return printVariants(options.json === true);
      const simulator = await start(options);
      const listenUrl = simulator.url(CALL_ID);
      printResult(options.json === true, { listenUrl }, `Listen URL: ${listenUrl}`);
      remark(options.json === true, `Verify with: npx voice-auth verify -u <uuid> --listen ${listenUrl}`);
      const stop = () => void simulator.close();
      process.once('SIGINT', stop);
      process.once('SIGTERM', stop);
    });
}

async function start(options: SimulateOptions): Promise<ListenSimulator> {
  const variant = wireVariant({ ...VARIANTS[options.variant].options, ...options.set });
  const decoder = new WorkerRecordingDecoder(loadConfig().recordings);
  try {
    const caller = await readCallAudio(decoder, options.caller);
    const agent = options.agent ? await readCallAudio(decoder, options.agent) : undefined;
    const script = { caller, ...(agent ? { agent } : {}), sampleRateHz: CALL_RATE_HZ, variant };
    return await startListenSimulator({
      call: (callId) => (callId === CALL_ID ? script : undefined),
      host: options.host,
      port: options.port,
    });
  } finally {
    await decoder.close();
  }
}

function printVariants(json: boolean): void {
  const rows = Object.entries(VARIANTS).map(([name, { description }]) => [name, description]);
  const defaults = Object.entries(wireVariant({})).map(([name, value]) => [name, String(value)]);
  printResult(
    json,
    { variants: VARIANTS, options: wireVariant({}) },
    `${table(['variant', 'what it does'], rows)}\n\n${table(['option for --set', 'default'], defaults)}`,
  );
}

/** `--set name=value`, with the value in the type of the option's default. */
function collect(text: string, former: Partial<WireVariant>): Partial<WireVariant> {
  const at = text.indexOf('=');
  const name = text.slice(0, at);
  if (at < 1 || !(name in wireVariant({}))) {
    throw new InvalidArgumentError('Options look like name=value; --list-variants prints the names.');
  }
  const value = text.slice(at + 1);
  const typed =
    value === 'true'
      ? true
      : value === 'false'
        ? false
        : value !== '' && !Number.isNaN(Number(value))
          ? Number(value)
          : value;
  return { ...former, [name]: typed };
}
