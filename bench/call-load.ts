/**
 * Calls that come and go: each is begun by webhook, listened to by the server, asked about by a tool call, and ended by
 * webhook, paced in real time by this process. The server is a process (or several) of its own; both share the machine.
 */
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, fetch } from 'undici';
import { readTelephoneCalls } from '../scripts/telephone-calls.js';
import { CALL_RATE_HZ, readCallAudio } from '../src/cli/call-audio.js';
import { loadConfig } from '../src/config/config.js';
import { WorkerRecordingDecoder } from '../src/recordings/worker-recording-decoder.js';
import {
  type CallScript,
  type ListenSimulator,
  startListenSimulator,
} from '../src/telephony/simulator/listen-server.js';
import { VARIANTS, type VariantName } from '../src/telephony/simulator/variants.js';
import { builtModule } from '../tests/support/built.js';
import type { LocalService } from '../tests/support/local-service.js';

/** When a call is asked about: with the caller's first words (the answer waits for speech), or well into the call. */
export type Asking = 'early' | 'late';

export interface CallOutcome {
  readonly asking: Asking;
  readonly impostor: boolean;
  readonly decision: string;
  readonly reason: string;
  /** From asking to the answer. */
  readonly answerMs: number;
  /** From the last audio that the decision was made from (or the question, or the call's end, whichever came last) to the answer. */
  readonly latencyMs: number;
  /** Seconds of net speech at the decision. */
  readonly netSpeechSeconds: number;
  readonly framesSent: number;
}

export interface CallLoadOptions {
  readonly service: LocalService;
  readonly variant: VariantName;
  /** Share of calls whose caller claims to be somebody else. */
  readonly impostors: number;
  /** A folder of labelled telephone calls; undefined = the fixture voices. */
  readonly speech: string | undefined;
  readonly seed?: number;
}

interface Speaker {
  readonly name: string;
  readonly userId: string;
  readonly number: string;
  readonly script: CallScript;
}

const VOICES = join(import.meta.dirname, '../tests/fixtures/voices');
const FIXTURES = {
  alice: ['alice-call-1', 'alice-call-2'],
  bob: ['bob-call-1', 'bob-call-2'],
  carol: ['carol-call-1', 'carol-call-1'],
  dave: ['dave-call-1', 'dave-call-1'],
} as const;
/** Before the caller speaks, and between two turns. */
const GREETING_MS = 1_000;
const PAUSE_MS = 1_500;
/** Of every call's audio; longer recordings are cut, shorter ones followed by silence. */
const AUDIO_MS = 23_000;
/** Until the end of the call is told: the last audio has arrived by then. */
export const CALL_MS = 24_000;
const EARLY_MS = 300;
/** The callers have spoken for four seconds by then. */
const LATE_MS = 6_000;
const TOOL_TIMEOUT_SECONDS = 60;
const MAX_SPEAKERS = 20;

export class CallLoad {
  readonly #options: CallLoadOptions;
  readonly #speakers: readonly Speaker[];
  readonly #simulator: ListenSimulator;
  /** A question holds its connection until it is answered. */
  readonly #agent = new Agent({ connections: null, pipelining: 1 });
  readonly #scripts: Map<string, CallScript>;
  #random: () => number;
  #calls = 0;
  #stopped = false;
  /** Calls in progress at present. */
  active = 0;

  private constructor(
    options: CallLoadOptions,
    parts: { speakers: readonly Speaker[]; simulator: ListenSimulator; scripts: Map<string, CallScript> },
  ) {
    this.#options = options;
    this.#speakers = parts.speakers;
    this.#simulator = parts.simulator;
    this.#scripts = parts.scripts;
    this.#random = randomFrom(options.seed ?? 1);
  }

  /** Enrolls the speakers and makes their calls ready. */
  static async open(options: CallLoadOptions): Promise<CallLoad> {
    const scripts = new Map<string, CallScript>();
    const decoder = new WorkerRecordingDecoder(loadConfig().recordings, {
      workerModule: builtModule('recordings/decode-worker.js'),
    });
    try {
      const people = options.speech === undefined ? fixturePeople() : telephonePeople(options.speech);
      const agent = await readCallAudio(decoder, [join(VOICES, 'agent.wav')]);
      const speakers: Speaker[] = [];
      for (const [index, person] of people.entries()) {
        const turns = await Promise.all(person.calls.map((path) => readCallAudio(decoder, [path])));
        const userId = `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`;
        const number = `+1415555${String(1000 + index)}`;
        await options.service.client.upload('/api/v1/enroll', person.enroll, { user_id: userId, phone: number });
        const variant = VARIANTS[options.variant].options;
        const script = { caller: conversation(turns), agent, sampleRateHz: CALL_RATE_HZ, variant };
        speakers.push({ name: person.name, userId, number, script });
      }
      const simulator = await startListenSimulator({ call: (callId) => scripts.get(callId) });
      return new CallLoad(options, { speakers, simulator, scripts });
    } finally {
      await decoder.close();
    }
  }

  /**
   * Keeps `calls` calls in progress: they start spread over the length of a call, and each is followed by another one. What
   * came of each is told as it ends. Resolves when the last has ended, after `stop`.
   */
  async run(calls: number, onOutcome: (outcome: CallOutcome) => void): Promise<void> {
    this.#stopped = false;
    const slot = async (index: number) => {
      await sleep((index * CALL_MS) / calls);
      while (!this.#stopped) onOutcome(await this.#call());
    };
    await Promise.all(Array.from({ length: calls }, (_, index) => slot(index)));
  }

  /** No new calls. */
  stop(): void {
    this.#stopped = true;
  }

  async close(): Promise<void> {
    await this.#simulator.close();
    await this.#agent.close();
  }

  async #call(): Promise<CallOutcome> {
    const number = ++this.#calls;
    const speaker = this.#speakers[number % this.#speakers.length]!;
    const impostor = this.#random() < this.#options.impostors;
    const claimed = impostor ? this.#speakers[(number + 1) % this.#speakers.length]! : speaker;
    const asking: Asking = number % 2 === 0 ? 'early' : 'late';
    const callId = `bench-call-${number}-${speaker.name}`;
    this.#scripts.set(callId, speaker.script);
    this.active++;
    const startedMs = performance.now();
    const event = (message: object) =>
      this.#post({
        message: {
          call: {
            id: callId,
            customer: { number: claimed.number },
            monitor: { listenUrl: this.#simulator.url(callId) },
          },
          timestamp: Date.now(),
          ...message,
        },
      });
    try {
      await event({ type: 'status-update', status: 'in-progress' });
      await sleep(Math.max(0, startedMs + (asking === 'early' ? EARLY_MS : LATE_MS) - performance.now()));
      const askedMs = performance.now();
      const answering = event({
        type: 'tool-calls',
        toolWithToolCallList: [
          {
            type: 'function',
            server: { timeoutSeconds: TOOL_TIMEOUT_SECONDS },
            toolCall: { id: `tool-${number}`, type: 'function', function: { name: 'verify_caller', arguments: {} } },
          },
        ],
      }).then((reply) => ({ reply, answeredMs: performance.now() }));
      const overMs = startedMs + CALL_MS;
      await sleep(Math.max(0, overMs - performance.now()));
      const ended = event({ type: 'end-of-call-report' }).then(() => undefined);
      const { reply, answeredMs } = await answering;
      await ended;
      const result = resultOf(reply);
      const stats = this.#simulator.stats(callId);
      // Without a position it took the end of the audio to decide.
      const madeFromMs =
        typeof result.audio_seconds === 'number'
          ? stats.openedAtMs + result.audio_seconds * 1000
          : stats.openedAtMs + AUDIO_MS;
      return {
        asking,
        impostor,
        decision: String(result.decision ?? result.error ?? 'none'),
        reason: String(result.reason ?? ''),
        answerMs: answeredMs - askedMs,
        latencyMs: answeredMs - Math.max(askedMs, madeFromMs),
        netSpeechSeconds: Number(result.net_speech_seconds ?? 0),
        framesSent: stats.framesSent,
      };
    } finally {
      this.active--;
      this.#scripts.delete(callId);
      this.#simulator.forget(callId);
    }
  }

  async #post(body: object): Promise<unknown> {
    const response = await fetch(`${this.#options.service.server.url}/vapi/webhook`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      dispatcher: this.#agent,
    });
    return response.json();
  }
}

/** Settings of a server that so many calls are played against. */
export function benchEnvironment(calls: number): Record<string, string> {
  return {
    MAX_CALL_SESSIONS: String(2 * calls + 50),
    MAX_ACTIVE_CALLS: String(2 * calls + 50),
    MAX_FAILED_ATTEMPTS: '100',
    LOCKOUT_MINUTES: '0.01',
    VAPI_RESULT_FORMAT: 'json',
    LOG_LEVEL: 'info',
  };
}

/** How late this process serves its timers: what paces the calls. */
export function watchOwnLag(): () => number {
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  return () => {
    const p99Ms = delay.percentile(99) / 1e6 - 5;
    delay.reset();
    return Math.max(0, p99Ms);
  };
}

export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

function resultOf(reply: unknown): Record<string, unknown> {
  const entry = (reply as { results?: { result?: string; error?: string }[] }).results?.[0];
  if (entry?.result === undefined) return { error: entry?.error ?? 'no result' };
  return JSON.parse(entry.result) as Record<string, unknown>;
}

function conversation(turns: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array((AUDIO_MS / 1000) * CALL_RATE_HZ);
  let at = (GREETING_MS / 1000) * CALL_RATE_HZ;
  for (const turn of turns) {
    whole.set(turn.subarray(0, Math.max(0, whole.length - at)), Math.min(at, whole.length));
    at += turn.length + (PAUSE_MS / 1000) * CALL_RATE_HZ;
  }
  return whole;
}

interface Person {
  readonly name: string;
  readonly enroll: string;
  readonly calls: readonly string[];
}

function fixturePeople(): Person[] {
  return Object.entries(FIXTURES).map(([name, calls]) => ({
    name,
    enroll: join(VOICES, `${name}-enroll.wav`),
    calls: calls.map((call) => join(VOICES, `${call}.wav`)),
  }));
}

function telephonePeople(folder: string): Person[] {
  const calls = readTelephoneCalls(folder);
  if (!calls) throw new Error(`no index.tsv in ${folder}`);
  const byPerson = new Map<string, string[]>();
  for (const { person, path, seconds } of [...calls].sort((a, b) => b.seconds - a.seconds)) {
    if (seconds >= 8) byPerson.set(person, [...(byPerson.get(person) ?? []), path]);
  }
  return [...byPerson]
    .filter(([, paths]) => paths.length > 1)
    .slice(0, MAX_SPEAKERS)
    .map(([name, [enroll = '', ...others]]) => ({
      name: name.replaceAll(/\W/g, ''),
      enroll,
      calls: others.slice(0, 2),
    }));
}

/** The same calls in every run: a linear congruential generator (Numerical Recipes, 2nd ed., 7.1). */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
