/**
 * Calls that come and go for a long time, and what the server keeps of them: `npm run soak -- --minutes 30 --calls 50`. Every
 * half minute it prints memory, descriptors and threads of the server and of its inference processes, and what became of the
 * calls. The verdict compares within the second half, when caches are full and the allocator has seen its worst: a line is
 * fitted through the memory, and the medians of its two quarters are compared for descriptors and threads. Exit code 1 when
 * something grew.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { metricSum, startLocalService } from '../tests/support/local-service.js';
import { benchEnvironment, CallLoad, percentile } from './call-load.js';
import { type Usage, usageOf } from './process-usage.js';

const USAGE = `npm run soak -- [options]
  --minutes <n>         how long (30)
  --calls <n>           calls at once (50)
  --every <seconds>     between two lines (30)
  --max-growth-mib <n>  memory that the fitted line may rise over the second half, server and inference each (32)
  --model <id>          model package, as MODEL_ID (the default one)
  --workers <n>         server processes (1)
  --children <n>        inference processes per server process (default: cores / workers)`;

/** Sockets come and go with the calls: so many more at the end are chance. Threads do not. */
const SPARE_DESCRIPTORS = 10;
const MIB = 1024 * 1024;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    calls: { type: 'string', default: '50' },
    every: { type: 'string', default: '30' },
    'max-growth-mib': { type: 'string', default: '32' },
    model: { type: 'string' },
    workers: { type: 'string', default: '1' },
    children: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}

interface Reading extends Usage {
  /** Since the calls began. */
  readonly atMs: number;
}

const [calls, durationMs, everyMs] = [
  Number(values.calls),
  Number(values.minutes) * 60_000,
  Number(values.every) * 1000,
];
if (!(calls >= 1 && everyMs > 0 && durationMs >= 8 * everyMs)) {
  console.log(`${USAGE}\nat least one call, and time for eight lines`);
  process.exit(1);
}

const service = await startLocalService(
  {
    ...benchEnvironment(calls),
    WORKERS: values.workers,
    ...(values.model ? { MODEL_ID: values.model } : {}),
    ...(values.children ? { INFERENCE_CHILDREN: values.children } : {}),
  },
  { watched: false },
);
const load = await CallLoad.open({ service, variant: 'documented', impostors: 0.3, speech: undefined });
const readings: Reading[] = [];
let done = 0;
let undecided = 0;
const running = load.run(calls, ({ decision }) => {
  done++;
  if (decision !== 'accept' && decision !== 'reject') undecided++;
});

const startedMs = performance.now();
console.log(
  `${'time'.padStart(7)}  server MiB  inference MiB  descriptors  threads  sessions  calls done  undecided  dropped`,
);
for (let at = everyMs; at <= durationMs; at += everyMs) {
  await sleep(Math.max(0, startedMs + at - performance.now()));
  await read();
}
load.stop();
await running;
await load.close();
await service.close();
process.exitCode = verdict() ? 0 : 1;

async function read(): Promise<void> {
  const page = await (await fetch(`${service.server.url}/metrics`)).text();
  const reading = { ...usageOf(service.server.pid), atMs: performance.now() - startedMs };
  readings.push(reading);
  const columns: readonly (readonly [string | number, number])[] = [
    [`${(reading.atMs / 60_000).toFixed(1)} min`, 8],
    [mib(reading.serverRssBytes), 10],
    [mib(reading.inferenceRssBytes), 13],
    [reading.descriptors, 11],
    [reading.threads, 7],
    [metricSum(page, 'voice_auth_call_sessions'), 8],
    [done, 10],
    [undecided, 9],
    [metricSum(page, 'voice_auth_audio_frames_dropped_total'), 7],
  ];
  console.log(columns.map(([value, width]) => String(value).padStart(width)).join('  '));
}

/** Prints what grew over the second half; true when nothing did. */
function verdict(): boolean {
  const half = readings.slice(Math.floor(readings.length / 2));
  const [third, fourth] = [half.slice(0, Math.floor(half.length / 2)), half.slice(Math.floor(half.length / 2))];
  const bound = Number(values['max-growth-mib']);
  const memory = (what: string, bytesOf: (usage: Usage) => number) => {
    const { perHour, error, rise } = fitted(half.map((reading) => [reading.atMs / 3_600_000, bytesOf(reading) / MIB]));
    console.log(
      `${what} memory: ${perHour.toFixed(1)} ± ${error.toFixed(1)} MiB per hour, ` +
        `${rise.toFixed(1)} MiB over the second half (bound ${bound})`,
    );
    return rise <= bound;
  };
  const count = (what: string, countOf: (usage: Usage) => number, spare: number) => {
    const [before, after] = [third, fourth].map((quarter) => percentile(quarter.map(countOf), 0.5));
    console.log(`${what}: ${before} in the third quarter, ${after} in the fourth (${spare} more is chance)`);
    return after! <= before! + spare;
  };
  const kept = [
    memory('server', ({ serverRssBytes }) => serverRssBytes),
    memory('inference', ({ inferenceRssBytes }) => inferenceRssBytes),
    count('descriptors', ({ descriptors }) => descriptors, SPARE_DESCRIPTORS),
    count('threads', ({ threads }) => threads, 0),
  ].every(Boolean);
  console.log(`${done} calls, ${undecided} undecided: ${kept ? 'nothing grew' : 'SOMETHING GREW'}`);
  return kept;
}

/** The least-squares line through (hours, MiB): slope, its standard error, and how far it rises from first to last. */
function fitted(points: readonly (readonly [number, number])[]): {
  readonly perHour: number;
  readonly error: number;
  readonly rise: number;
} {
  const mean = (of: (point: readonly [number, number]) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [x, y] = [mean(([at]) => at), mean(([, value]) => value)];
  const spread = mean(([at]) => (at - x) ** 2);
  const perHour = mean(([at, value]) => (at - x) * (value - y)) / spread;
  const residual = mean(([at, value]) => (value - y - perHour * (at - x)) ** 2);
  const error = Math.sqrt(residual / spread / Math.max(1, points.length - 2));
  return { perHour, error, rise: perHour * (points.at(-1)![0] - points[0]![0]) };
}

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(1);
}
