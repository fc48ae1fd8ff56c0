/** `voice-auth simulate-call`: plays a whole call of a voice platform against a running server, as the platform would. */
import { type Command, Option } from 'commander';
import { loadConfig } from '../config/config.js';
import { CALL_PLATFORMS, type CallPlatform } from '../domain/calls/calls.js';
import { WorkerRecordingDecoder } from '../recordings/worker-recording-decoder.js';
import { STREAM_VARIANTS } from '../telephony/simulator/stream-variants.js';
import { VARIANTS } from '../telephony/simulator/variants.js';
import {
  HMAC_VARIANTS,
  WEBHOOK_VARIANTS,
  type WebhookCredentials,
  type WebhookVariantName,
} from '../telephony/simulator/webhook-variants.js';
import type { CallAudio } from '../telephony/simulator/wire-audio.js';
import { CALL_RATE_HZ, readCallAudio } from './call-audio.js';
import { ApiClient } from './client.js';
import { CommandError } from './command-error.js';
import { addServerOptions, numberFromZero, type ServerOptions } from './common-options.js';
import { printResult, remark, table } from './output.js';
import { type CallPlan, exitCodeOf, type PlayedCall, TOOLS, type Tool } from './simulated-call.js';
import { playStreamCall } from './simulated-stream.js';
import { playVapiCall } from './simulated-vapi.js';

interface SimulateCallOptions extends ServerOptions {
  readonly platform: CallPlatform;
  readonly caller: string[];
  readonly agent?: string[];
  readonly user?: string;
  readonly from: string;
  readonly tool: Tool[];
  readonly askAfter: number;
  readonly threshold?: number;
  readonly consent?: boolean;
  readonly callId?: string;
  readonly variant: string;
  readonly webhookVariant: WebhookVariantName;
  readonly toolTimeout?: number;
  readonly speed: number;
  readonly listVariants?: boolean;
  readonly secret?: string;
  readonly bearer?: string;
  readonly hmac?: string;
  readonly hmacVariant: keyof typeof HMAC_VARIANTS;
  readonly authToken?: string;
}

const EXAMPLES = `
The server needs ALLOW_PRIVATE_NETWORK=true to dial the listen socket of a VAPI call on this machine.
Exits as verify does, by the last answer: 0 = accept (or enrolled, or a status), 2 = reject, 3 = inconclusive, 1 = error.
Examples:
  voice-auth simulate-call --from +15550100001 -c tests/fixtures/voices/alice-call-1.wav
  voice-auth simulate-call --tool enroll_caller --consent --from +15550100002 -u 6f1d7c5e-8a51-4c0e-9d0e-2f7d5f6a0002 -c tests/fixtures/voices/bob-enroll.wav
  voice-auth simulate-call --platform twilio -u 6f1d7c5e-8a51-4c0e-9d0e-2f7d5f6a0001 --auth-token <token>`;

export function registerSimulateCall(program: Command): void {
  const command = program
    .command('simulate-call')
    .description(
      "play a whole call of a voice platform against a running server: audio, webhooks, the agent's tool calls",
    )
    .addOption(new Option('--platform <name>', 'whose call').choices(CALL_PLATFORMS).default('vapi'))
    .option('-c, --caller <files...>', "the caller's audio", ['tests/fixtures/voices/alice-call-1.wav'])
    .option('-a, --agent <files...>', "the agent's audio")
    .option('-u, --user <uuid>', "claimed user id (default with vapi: whoever is enrolled with the caller's number)")
    .option('--from <number>', "the caller's number, E.164", '+15550100001')
    .addOption(
      new Option('--tool <names...>', 'what the agent calls, one after the other')
        .choices(TOOLS)
        .default(['verify_caller']),
    )
    .option('--ask-after <s>', 'seconds into the call at which it does so', numberFromZero, 5)
    .option('--threshold <score>', 'stricter than the configured threshold', numberFromZero)
    .option('--consent', 'the caller has agreed to be enrolled')
    .option('--call-id <id>', 'id of the call (default: a new one)')
    .option('--variant <name>', 'how the audio behaves on the wire (see --list-variants)', 'documented')
    .addOption(
      new Option('--webhook-variant <name>', 'vapi: how the webhooks are worded')
        .choices(Object.keys(WEBHOOK_VARIANTS))
        .default('captured'),
    )
    .option('--tool-timeout <s>', 'vapi: seconds in which the tool call is to be answered (20)', numberFromZero)
    .option('--speed <n>', 'faster than real time', numberFromZero, 1)
    .option('--list-variants', 'print the variants of the platform')
    .option('--secret <text>', 'vapi: sent as X-Vapi-Secret')
    .option('--bearer <token>', 'vapi: sent as bearer token')
    .option('--hmac <secret>', 'vapi: signs the webhooks')
    .addOption(
      new Option('--hmac-variant <name>', 'vapi: how').choices(Object.keys(HMAC_VARIANTS)).default('documented'),
    )
    .option('--auth-token <token>', 'twilio: signs the upgrade');
  addServerOptions(command)
    .addHelpText('after', EXAMPLES)
    .action(async (options: SimulateCallOptions) => {
      const json = options.json === true;
      if (options.listVariants) return printVariants(json, options.platform);
      const call = await play(options);
      if (json) printResult(true, { platform: options.platform, call_id: call.callId, answers: call.answers }, '');
      const last = call.answers.findLast(({ answer }) => answer !== undefined);
      process.exitCode = last ? exitCodeOf(last) : 1;
    });
}

async function play(options: SimulateCallOptions): Promise<PlayedCall> {
  const json = options.json === true;
  if (!(options.speed > 0)) throw new CommandError('--speed must be more than 0');
  const variant = variantOf(options);
  const credentials = credentialsOf(options);
  const plan: CallPlan = {
    client: new ApiClient(options),
    callId: options.callId,
    audio: await readAudio(options),
    speed: options.speed,
    tools: options.tool,
    askAfterMs: options.askAfter * 1000,
    user: options.user,
    from: options.from,
    threshold: options.threshold,
    consent: options.consent === true,
    tell: (text) => remark(json, text),
    onAnswer: ({ text, seconds }) => {
      remark(json, `Answered in ${seconds.toFixed(2)} s`);
      if (!json) printResult(false, undefined, text);
    },
  };
  const { platform, authToken } = options;
  if (platform !== 'vapi') return playStreamCall({ ...plan, platform, variant, authToken });
  const webhookVariant = {
    ...WEBHOOK_VARIANTS[options.webhookVariant].options,
    ...(options.toolTimeout === undefined ? {} : { toolTimeoutSeconds: options.toolTimeout }),
  };
  return playVapiCall({ ...plan, variant, webhookVariant, credentials });
}

async function readAudio({ caller, agent }: SimulateCallOptions): Promise<CallAudio> {
  const decoder = new WorkerRecordingDecoder(loadConfig().recordings);
  try {
    const audio = { caller: await readCallAudio(decoder, caller), sampleRateHz: CALL_RATE_HZ };
    return agent ? { ...audio, agent: await readCallAudio(decoder, agent) } : audio;
  } finally {
    await decoder.close();
  }
}

/** The variants that a platform has, with what they do. */
function variantsOf(
  platform: CallPlatform,
): ReadonlyMap<string, { readonly description: string; readonly options: object }> {
  if (platform === 'vapi') return new Map(Object.entries(VARIANTS));
  const shown = Object.entries(STREAM_VARIANTS).filter(([, { platforms }]) =>
    (platforms as readonly CallPlatform[]).includes(platform),
  );
  return new Map(shown);
}

function variantOf({ platform, variant }: SimulateCallOptions): object {
  const found = variantsOf(platform).get(variant);
  if (!found) throw new CommandError(`${platform} has no variant of that name; --list-variants prints those it has`);
  return found.options;
}

function credentialsOf({ secret, bearer, hmac, hmacVariant }: SimulateCallOptions): WebhookCredentials {
  if ([secret, bearer, hmac].filter((given) => given !== undefined).length > 1) {
    throw new CommandError('Give one of --secret, --bearer and --hmac');
  }
  if (secret !== undefined) return { kind: 'secret', secret };
  if (bearer !== undefined) return { kind: 'bearer', secret: bearer };
  if (hmac === undefined) return { kind: 'none' };
  const scheme = HMAC_VARIANTS[hmacVariant];
  return { kind: 'hmac', hmac: { ...scheme.hmac, secrets: [hmac] }, timestamp: scheme.timestamp };
}

function printVariants(json: boolean, platform: CallPlatform): void {
  const wire = variantsOf(platform);
  const rows = [...wire].map(([name, { description }]) => [name, description]);
  const webhooks: Readonly<Record<string, { readonly description: string }>> =
    platform === 'vapi' ? WEBHOOK_VARIANTS : {};
  const webhookRows = Object.entries(webhooks).map(([name, { description }]) => [name, description]);
  const ofWebhooks = webhookRows.length > 0 ? `\n\n${table(['--webhook-variant', 'what it does'], webhookRows)}` : '';
  printResult(
    json,
    { variants: Object.fromEntries(wire), webhook_variants: webhooks },
    table(['--variant', 'what it does'], rows) + ofWebhooks,
  );
}
