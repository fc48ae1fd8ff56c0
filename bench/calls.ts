/**
 * Hundreds of simulated calls at once against a real server process: `npm run bench:calls -- --calls 150`. The calls are
 * begun, asked about and ended by webhooks, and paced in real time by this process; the server shares the machine with it.
 * `--find-max` searches the largest number of calls that are all decided, with nothing lost and p99 latency below 500 ms.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { VARIANTS, type VariantName } from '../src/telephony/simulator/variants.js';
import { metricSum, startLocalService } from '../tests/support/local-service.js';
import { benchEnvironment, CALL_MS, CallLoad, type CallOutcome, percentile, watchOwnLag } from './call-load.js';
import { type ProfileSummary, summariseProfiles } from './cpu-profile.js';
import { usageOf } from './process-usage.js';

const USAGE = `npm run bench:calls -- [options]
  --calls <n>         calls at once (50)
  --seconds <n>       how long to measure, after all calls have started (60)
  --impostors <share> calls whose caller claims to be somebody else (0.3)
  --speech <folder>   real telephone calls instead of the fixture voices
  --variant <name>    how the listen sockets behave (documented)
  --workers <n>       server processes (1)
  --detector <name>   auto or silero, as SPEECH_DETECTOR (auto)
  --model <id>        model package, as MODEL_ID (the default one)
  --children <n>      inference processes per server process (default: cores / workers)
  --profile           say where the server's time went (a run of its own: profiling costs time, too)
  --find-max          search the largest number of calls, from --calls on
  --json              one line of JSON per run`;

const LATENCY_LIMIT_MS = 500;

const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '60' },
    impostors: { type: 'string', default: '0.3' },
    speech: { type: 'string' },
    variant: { type: 'string', default: 'documented' },
    workers: { type: 'string', default: '1' },
    detector: { type: 'string', default: 'auto' },
    model: { type: 'string' },
    children: { type: 'string' },
    profile: { type: 'boolean', default: false },
    'find-max': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help || !(values.variant in VARIANTS)) {
  console.log(`${USAGE}\nvariants: ${Object.keys(VARIANTS).join(', ')}`);
  process.exit(values.help ? 0 : 1);
}

interface Run {
  readonly calls: number;
  readonly rows: readonly (readonly [string, string])[];
  /** Why this many calls are too many; empty when they are not. */
  readonly failures: readonly string[];
}

async function run(calls: number, seconds: number): Promise<Run> {
  const profiles = values.profile ? await mkdtemp(join(tmpdir(), 'voice-auth-profile-')) : undefined;
  const service = await startLocalService(
    {
      ...benchEnvironment(calls),
      WORKERS: values.workers,
      SPEECH_DETECTOR: values.detector,
      ...(values.model ? { MODEL_ID: values.model } : {}),
      ...(values.children ? { INFERENCE_CHILDREN: values.children } : {}),
    },
    { watched: false, nodeOptions: profiles ? ['--cpu-prof', `--cpu-prof-dir=${profiles}`] : [] },
  );
  const load = await CallLoad.open({
    service,
    variant: values.variant as VariantName,
    impostors: Number(values.impostors),
    speech: values.speech,
  });
  const { pid, url } = service.server;
  const scrape = async () => (await fetch(`${url}/metrics`)).text();
  const idle = usageOf(pid);
  const before = await scrape();
  const all: CallOutcome[] = [];
  const measured: CallOutcome[] = [];
  let measuring = false;
  const running = load.run(calls, (outcome) => {
    all.push(outcome);
    if (measuring) measured.push(outcome);
  });
  await sleep(CALL_MS);
  // The lag histogram starts anew with every scrape.
  const [pageAtStart, usageAtStart, ownLag] = [await scrape(), usageOf(pid), watchOwnLag()];
  measuring = true;
  await sleep(seconds * 1000);
  measuring = false;
  const [pageAtEnd, usageAtEnd, ownLagMs] = [await scrape(), usageOf(pid), ownLag()];
  load.stop();
  await running;
  const after = await scrape();
  await load.close();
  await service.close();
  if (profiles) {
    printProfile(summariseProfiles(profiles, 25));
    await rm(profiles, { recursive: true });
  }

  const delta = (name: string, labels?: string) =>
    metricSum(pageAtEnd, name, labels) - metricSum(pageAtStart, name, labels);
  const total = (name: string, labels?: string) => metricSum(after, name, labels) - metricSum(before, name, labels);
  const decided = measured.filter(({ decision }) => decision === 'accept' || decision === 'reject');
  const right = decided.filter(({ decision, impostor }) => decision === (impostor ? 'reject' : 'accept'));
  const early = decided.filter(({ asking }) => asking === 'early').map(({ latencyMs }) => latencyMs);
  // Only what was known when it was asked: the others waited for more speech.
  const known = decided.filter(({ asking, netSpeechSeconds }) => asking === 'late' && netSpeechSeconds <= 4);
  const knownMs = known.map(({ answerMs }) => answerMs);
  const latencies = decided.map(({ latencyMs }) => latencyMs);
  const framesSent = all.reduce((sum, outcome) => sum + outcome.framesSent, 0);
  const framesLost = framesSent - total('voice_auth_audio_frames_received_total');
  const framesDropped = total('voice_auth_audio_frames_dropped_total');
  const lagMs = metricSum(pageAtEnd, 'voice_auth_nodejs_eventloop_lag_p99_seconds') * 1000;
  const cpu = (start: number, end: number) => (100 * (end - start)) / seconds;
  const serverCpu = cpu(usageAtStart.serverCpuSeconds, usageAtEnd.serverCpuSeconds);
  const inferenceCpu = cpu(usageAtStart.inferenceCpuSeconds, usageAtEnd.inferenceCpuSeconds);
  const windows = delta('voice_auth_inference_seconds_count', 'model="speaker"');
  const detectorRuns = delta('voice_auth_inference_batch_size_count', 'model="vad"');
  const detectorRequests = delta('voice_auth_inference_batch_size_sum', 'model="vad"');
  const ms = (list: readonly number[]) =>
    [0.5, 0.95, 0.99].map((share) => percentile(list, share).toFixed(0)).join(' / ');
  const undecided = measured.filter((outcome) => !decided.includes(outcome));
  const p99 = percentile(latencies, 0.99);
  const failures = [
    ...(p99 < LATENCY_LIMIT_MS ? [] : [`p99 latency ${p99.toFixed(0)} ms`]),
    ...(framesLost + framesDropped === 0 ? [] : [`${framesLost} frames lost, ${framesDropped} dropped`]),
    ...(undecided.length === 0
      ? []
      : [`${undecided.length} not decided (${undecided[0]?.decision}/${undecided[0]?.reason})`]),
  ];
  return {
    calls,
    failures,
    rows: [
      ['calls at once', `${calls} for ${seconds} s, ${measured.length} ended, ${all.length} in all`],
      ['decided', `${decided.length} of ${measured.length}, ${right.length} as expected`],
      ['decision latency p50/p95/p99', `${ms(latencies)} ms after the last audio it was made from (or the question)`],
      ['  asked early', `${ms(early)} ms`],
      ['  known when asked, 6 s into the call', `${ms(knownMs)} ms from question to answer (${known.length} calls)`],
      ['frames lost / dropped', `${framesLost} / ${framesDropped} of ${framesSent}`],
      ['event-loop lag p99, server', `${lagMs.toFixed(1)} ms (its own 10 ms timer included)`],
      ['timer lag p99, this process', `${ownLagMs.toFixed(1)} ms`],
      ['CPU, server', `${serverCpu.toFixed(0)} % of a core, ${((10 * serverCpu) / calls).toFixed(2)} ms/s per call`],
      [
        'CPU, inference',
        `${inferenceCpu.toFixed(0)} % of a core, ${((10 * inferenceCpu) / calls).toFixed(2)} ms/s per call`,
      ],
      ['memory per call', `${((usageAtEnd.rssBytes - idle.rssBytes) / calls / 1024).toFixed(0)} KiB (RSS above idle)`],
      ['windows per second', (windows / seconds).toFixed(1)],
      [
        'detector runs per second',
        `${(detectorRuns / seconds).toFixed(1)}, ${(detectorRequests / Math.max(1, detectorRuns)).toFixed(1)} calls each`,
      ],
    ],
  };
}

function printProfile({ busySeconds, parts, functions }: ProfileSummary): void {
  const line = ({ name, share }: { name: string; share: number }) =>
    `  ${(100 * share).toFixed(1).padStart(5)} %  ${name}`;
  console.log(
    `work of the server processes, ${busySeconds.toFixed(0)} s, start and ramps included, self time by part:`,
  );
  for (const row of parts) console.log(line(row));
  console.log('and by function:');
  for (const row of functions) console.log(line(row));
}

function print({ calls, rows, failures }: Run): void {
  if (values.json) console.log(JSON.stringify({ calls, ...Object.fromEntries(rows), failures }));
  else {
    for (const [name, value] of rows) console.log(`${name.padEnd(40)} ${value}`);
    console.log(failures.length === 0 ? 'kept all limits\n' : `too much: ${failures.join('; ')}\n`);
  }
}

const seconds = Number(values.seconds);
if (values['find-max']) {
  let good = 0;
  let bad = Number.POSITIVE_INFINITY;
  let next = Number(values.calls);
  // To within a tenth, by doubling and halving the gap.
  while (bad - good > Math.max(10, good / 10)) {
    const result = await run(next, seconds);
    print(result);
    if (result.failures.length === 0) good = next;
    else bad = next;
    next = Number.isFinite(bad) ? Math.round((good + bad) / 2) : good * 2;
  }
  const cores = availableParallelism();
  console.log(
    `largest: ${good} calls on ${cores} cores (load generator included), ${(good / cores).toFixed(0)} per core`,
  );
} else {
  const result = await run(Number(values.calls), seconds);
  print(result);
  process.exitCode = result.failures.length === 0 ? 0 : 1;
}
