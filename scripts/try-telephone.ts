/**
 * Plays real telephone calls against the running service: `npm run try:telephone -- <folder>`. Enrolls people from one
 * call each, then verifies each with another call of the same person and with calls of others, all over HTTP and
 * simulated listen sockets, and counts what was decided.
 */
import { parseArgs } from 'node:util';
import { CALL_RATE_HZ, readCallAudio } from '../src/cli/call-audio.js';
import { loadConfig } from '../src/config/config.js';
import { WorkerRecordingDecoder } from '../src/recordings/worker-recording-decoder.js';
import { type CallScript, startListenSimulator } from '../src/telephony/simulator/listen-server.js';
import { builtModule } from '../tests/support/built.js';
import { eachLimited, startLocalService } from '../tests/support/local-service.js';
import { readTelephoneCalls, type TelephoneCall } from './telephone-calls.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    speakers: { type: 'string', default: '20' },
    impostors: { type: 'string', default: '5' },
    speed: { type: 'string', default: '4' },
    parallel: { type: 'string', default: '8' },
  },
});
const [folder] = positionals;
if (folder === undefined) {
  console.error('usage: npm run try:telephone -- <folder of labelled telephone calls>');
  process.exit(2);
}
const calls = readTelephoneCalls(folder);
if (!calls) {
  console.log(`skipped: no index.tsv in ${folder}`);
  process.exit(0);
}

/** The longest calls of a person first: enrollment needs speech. */
const byPerson = new Map<string, TelephoneCall[]>();
for (const call of [...calls].sort((a, b) => b.seconds - a.seconds)) {
  byPerson.set(call.person, [...(byPerson.get(call.person) ?? []), call]);
}
const people = [...byPerson.entries()]
  .filter(([, own]) => own.length > 1)
  .sort(([a], [b]) => a.localeCompare(b))
  .slice(0, Number(values.speakers))
  .map(([person, own], index) => ({
    person,
    userId: `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`,
    enrolled: own[0]!,
    other: own[1]!,
  }));

interface Trial {
  readonly userId: string;
  readonly call: TelephoneCall;
  readonly target: boolean;
}
const trials: Trial[] = people.flatMap(({ userId, other }, index) => [
  { userId, call: other, target: true },
  ...Array.from({ length: Number(values.impostors) }, (_, k) => ({
    userId,
    call: people[(index + 1 + k) % people.length]!.other,
    target: false,
  })),
]);

const service = await startLocalService({ MAX_FAILED_ATTEMPTS: '100' }, { watched: false });
const decoder = new WorkerRecordingDecoder(loadConfig().recordings, {
  workerModule: builtModule('recordings/decode-worker.js'),
});
const scripts = new Map<string, CallScript>();
for (const { other } of people) {
  const caller = await readCallAudio(decoder, [other.path]);
  scripts.set(idOf(other), { caller, sampleRateHz: CALL_RATE_HZ, variant: { speed: Number(values.speed) } });
}
await decoder.close();
const simulator = await startListenSimulator({ call: (callId) => scripts.get(callId) });

const refused = new Set<string>();
for (const { person, userId, enrolled } of people) {
  try {
    const result = await service.client.upload('/api/v1/enroll', enrolled.path, { user_id: userId });
    console.log(`enrolled ${person}: ${result.net_speech_seconds} s of speech`);
  } catch (error) {
    refused.add(userId);
    console.log(`not enrolled ${person}: ${error instanceof Error ? error.message : 'error'}`);
  }
}

const counts = { target: new Map<string, number>(), impostor: new Map<string, number>() };
const acceptedAfter: number[] = [];
let done = 0;
await eachLimited(
  trials.filter(({ userId }) => !refused.has(userId)),
  Number(values.parallel),
  async ({ userId, call, target }) => {
    const result = await service.client.post('/api/v1/verify-password', {
      userId,
      listenUrl: simulator.url(idOf(call)),
    });
    const side = counts[target ? 'target' : 'impostor'];
    const outcome = `${result.decision} (${result.reason})`;
    side.set(outcome, (side.get(outcome) ?? 0) + 1);
    if (target && result.decision === 'accept') acceptedAfter.push(Number(result.net_speech_seconds));
    process.stderr.write(`\r${++done} calls verified`);
  },
);
process.stderr.write('\n');
for (const [side, outcomes] of Object.entries(counts)) {
  const total = [...outcomes.values()].reduce((sum, count) => sum + count, 0);
  for (const [outcome, count] of [...outcomes].sort()) {
    console.log(`${side.padEnd(9)} ${outcome.padEnd(36)} ${String(count).padStart(4)} of ${total}`);
  }
}
acceptedAfter.sort((a, b) => a - b);
console.log(`people accepted after a median of ${acceptedAfter[acceptedAfter.length >> 1] ?? '-'} s of net speech`);
await simulator.close();
await service.close();

function idOf(call: TelephoneCall): string {
  return `${call.person}-${call.call}`;
}
