/**
 * `voice-auth demo`: the whole story in one terminal, on real parts: a server process of its own, the listen simulator,
 * real HTTP and WebSockets. Enrolls a (synthetic) speaker, verifies the same one and another, and shows the history.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { DEVELOPMENT_KEY_FILE } from '../config/client-environment.js';
import { loadConfig, PACKAGE_ROOT } from '../config/config.js';
import { WorkerRecordingDecoder } from '../recordings/worker-recording-decoder.js';
import { type ListenSimulator, startListenSimulator } from '../telephony/simulator/listen-server.js';
import { CALL_RATE_HZ, readCallAudio } from './call-audio.js';
import { ApiClient, type Json } from './client.js';
import { CommandError } from './command-error.js';
import { fetchHistory, historyTable } from './history.js';
import { stoppable } from './long-work.js';
import { startServerProcess } from './server-process.js';
import { describeResult, verifyWithProgress } from './verify.js';

const VOICES = join(PACKAGE_ROOT, 'tests/fixtures/voices');
const CALLS = { 'call-alice': 'alice-call-1.wav', 'call-bob': 'bob-call-1.wav' } as const;

export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('enroll a speaker, verify the same one and another on simulated calls, show the history (about 20 s)')
    .option('--json', 'print the outcome as one line of JSON')
    .action((options: { json?: boolean }) =>
      stoppable('The demo was stopped', (signal) => runDemo(options.json === true, signal)),
    );
}

interface Stage {
  readonly json: boolean;
  readonly dataDir: string;
  /** Of what the story has opened, in the order of opening. */
  readonly closers: (() => Promise<unknown>)[];
  readonly signal: AbortSignal;
}

/** Also when it is stopped nothing stays behind: the data folder has a voiceprint, and its key. */
async function runDemo(json: boolean, signal: AbortSignal): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'voice-auth-demo-'));
  const closers: Stage['closers'] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  let stopping: Promise<void> | undefined;
  // Without server and calls the story ends by itself.
  signal.addEventListener('abort', () => {
    stopping = close().catch(() => undefined);
  });
  try {
    await tellStory({ json, dataDir, closers, signal });
  } finally {
    await stopping;
    await close().finally(() => rm(dataDir, { recursive: true, force: true }));
    signal.throwIfAborted();
  }
}

async function tellStory({ json, dataDir, closers, signal }: Stage): Promise<void> {
  const say = (text: string) => (json ? undefined : process.stdout.write(`${text}\n`));
  say('1. Starting the server (embedded database, shipped model) and the call simulator');
  const server = await startServerProcess({
    environment: { DATA_DIR: dataDir, ALLOW_PRIVATE_NETWORK: 'true' },
  });
  closers.push(() => server.stop());
  signal.throwIfAborted();
  const simulator = await startCalls();
  closers.push(() => simulator.close());
  signal.throwIfAborted();
  const apiKey = (await readFile(join(dataDir, DEVELOPMENT_KEY_FILE), 'utf8')).trim();
  const client = new ApiClient({ server: server.url, apiKey });
  say(`   server ${server.url}, calls on port ${simulator.port}`);

  const user = randomUUID();
  say('\n2. Enrolling Alice from a recording');
  const enrolled = await client.upload('/api/v1/enroll', join(VOICES, 'alice-enroll.wav'), {
    user_id: user,
    phone: '+15550100001',
  });
  say(`   ${enrolled.status}: ${Number(enrolled.net_speech_seconds).toFixed(1)} s of speech, model ${enrolled.model}`);

  say('\n3. Alice calls (another recording of hers) and is verified while she speaks');
  const alice = await verifyWithProgress(client, { user, listen: simulator.url('call-alice') }, json);
  say(`   ${describeResult(alice)}`);
  say('\n4. Bob calls and claims to be Alice');
  const bob = await verifyWithProgress(client, { user, listen: simulator.url('call-bob') }, json);
  say(`   ${describeResult(bob)}`);

  say('\n5. What was recorded');
  const history = await fetchHistory(client, { user, limit: '10' });
  say(historyTable(history));
  requireOutcome(alice, 'accept');
  requireOutcome(bob, 'reject');
  if (json) process.stdout.write(`${JSON.stringify({ enrolled, alice, bob, history })}\n`);
  say('\nAs expected: Alice accepted, Bob rejected. Voice is one signal: combine it with another factor.');
}

async function startCalls(): Promise<ListenSimulator> {
  const decoder = new WorkerRecordingDecoder(loadConfig().recordings);
  try {
    const agent = await readCallAudio(decoder, [join(VOICES, 'agent.wav')]);
    const scripts = new Map<string, { caller: Float32Array; agent: Float32Array; sampleRateHz: number }>();
    for (const [callId, file] of Object.entries(CALLS)) {
      scripts.set(callId, {
        caller: await readCallAudio(decoder, [join(VOICES, file)]),
        agent,
        sampleRateHz: CALL_RATE_HZ,
      });
    }
    return await startListenSimulator({ call: (callId) => scripts.get(callId) });
  } finally {
    await decoder.close();
  }
}

function requireOutcome(result: Json, decision: string): void {
  if (result.decision !== decision) throw new CommandError(`Expected ${decision}, got ${String(result.decision)}`);
}
