/**
 * Many simulated calls at once against a real server process: `npm run bench:calls -- --calls 20`. Callers are the
 * fixture voices, paced in real time with staggered starts; a share of them claims to be somebody else. The server is a
 * process of its own; this process plays the calls, so on a small machine both share the cores.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CALL_RATE_HZ, readCallAudio } from '../src/cli/call-audio.js';
import { loadConfig } from '../src/config/config.js';
import { WorkerRecordingDecoder } from '../src/recordings/worker-recording-decoder.js';
import { type CallScript, startListenSimulator } from '../src/telephony/simulator/listen-server.js';
import { VARIANTS, type VariantName } from '../src/telephony/simulator/variants.js';
import { builtModule } from '../tests/support/built.js';
import { metricSum, startLocalService } from '../tests/support/local-service.js';

const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: '20' },
    impostors: { type: 'string', default: '0.3' },
    stagger: { type: 'string', default: '100' },
    variant: { type: 'string', default: 'documented' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help || !(values.variant in VARIANTS)) {
  console.log(
    `npm run bench:calls -- [--calls 20] [--impostors 0.3] [--stagger <ms between starts> 100] [--variant <name>]\nvariants: ${Object.keys(VARIANTS).join(', ')}`,
  );
  process.exit(values.help ? 0 : 1);
}
const callCount = Number(values.calls);
const VOICES = join(import.meta.dirname, '../tests/fixtures/voices');
const speakers = ['alice', 'bob', 'carol', 'dave'];

const service = await startLocalService(
  { MAX_ACTIVE_CALLS: String(callCount + 10), MAX_FAILED_ATTEMPTS: '100' },
  { watched: false },
);
const decoder = new WorkerRecordingDecoder(loadConfig().recordings, {
  workerModule: builtModule('recordings/decode-worker.js'),
});
const agent = await readCallAudio(decoder, [join(VOICES, 'agent.wav')]);
const scripts = new Map<string, CallScript>();
const userIds = new Map<string, string>();
for (const [index, speaker] of speakers.entries()) {
  const caller = await readCallAudio(decoder, [join(VOICES, `${speaker}-call-1.wav`)]);
  const { options } = VARIANTS[values.variant as VariantName];
  scripts.set(speaker, { caller, agent, sampleRateHz: CALL_RATE_HZ, variant: options });
  const userId = `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`;
  userIds.set(speaker, userId);
  await service.client.upload('/api/v1/enroll', join(VOICES, `${speaker}-enroll.wav`), { user_id: userId });
}
await decoder.close();
const simulator = await startListenSimulator({ call: (callId) => scripts.get(callId.split('-')[0] ?? '') });

const scrape = async () => (await fetch(`${service.server.url}/metrics`)).text();
// The lag histogram starts anew with every scrape, so the start-up does not count.
const before = await scrape();
const startedAt = performance.now();
const outcomes = await Promise.all(
  Array.from({ length: callCount }, async (_, index) => {
    await new Promise((resolve) => setTimeout(resolve, index * Number(values.stagger)));
    const speaker = speakers[index % speakers.length]!;
    const impostor = index < Math.round(callCount * Number(values.impostors));
    const claimed = impostor ? speakers[(index + 1) % speakers.length]! : speaker;
    const dialledAt = performance.now();
    const result = await service.client.post('/api/v1/verify-password', {
      userId: userIds.get(claimed)!,
      listenUrl: simulator.url(`${speaker}-${index}`),
    });
    return { impostor, result, seconds: (performance.now() - dialledAt) / 1000 };
  }),
);
const wallSeconds = (performance.now() - startedAt) / 1000;
const after = await scrape();
const peakRss = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${service.server.pid}/status`, 'utf8'))?.[1];

const delta = (name: string, labels?: string) => metricSum(after, name, labels) - metricSum(before, name, labels);
const right = outcomes.filter(({ impostor, result }) => result.decision === (impostor ? 'reject' : 'accept')).length;
const seconds = (impostor: boolean) => {
  const sorted = outcomes
    .filter((outcome) => outcome.impostor === impostor)
    .map((outcome) => outcome.seconds)
    .sort((a, b) => a - b);
  return sorted.length === 0
    ? '-'
    : `${sorted[sorted.length >> 1]!.toFixed(1)} s median, ${sorted.at(-1)!.toFixed(1)} s longest`;
};
const { framesSent } = simulator.totals();
const received = delta('voice_auth_audio_frames_received_total');
const rows: [string, string][] = [
  ['calls', `${callCount}, of them ${outcomes.filter(({ impostor }) => impostor).length} impostors`],
  ['decided', `${outcomes.filter(({ result }) => result.decision !== 'inconclusive').length} of ${callCount}`],
  ['as expected', `${right} of ${callCount}`],
  ['time to accept (from dialling)', seconds(false)],
  ['time to reject (from dialling)', seconds(true)],
  ['frames sent / received', `${framesSent} / ${received} (the rest was on the wire when the decision was made)`],
  ['frames dropped', String(delta('voice_auth_audio_frames_dropped_total'))],
  ['event-loop lag p99', `${(metricSum(after, 'voice_auth_nodejs_eventloop_lag_p99_seconds') * 1000).toFixed(1)} ms`],
  ['event-loop lag max', `${(metricSum(after, 'voice_auth_nodejs_eventloop_lag_max_seconds') * 1000).toFixed(1)} ms`],
  [
    'server CPU, main process',
    `${((100 * delta('voice_auth_process_cpu_seconds_total')) / wallSeconds).toFixed(0)} % of a core`,
  ],
  [
    'inference',
    `${delta('voice_auth_inference_seconds_count', 'model="speaker"')} windows, ${delta('voice_auth_inference_seconds_count', 'model="vad"')} detector batches`,
  ],
  ['peak RSS, main process', `${(Number(peakRss) / 1024).toFixed(0)} MiB`],
];
for (const [name, value] of rows) console.log(`${name.padEnd(32)} ${value}`);
await simulator.close();
await service.close();
