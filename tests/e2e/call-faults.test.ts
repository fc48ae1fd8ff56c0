/**
 * What can go wrong with the audio of a call, black box: each call is told by webhooks and listened to over a real socket.
 * Whatever happens, the tool call gets one answer, the answer is what is recorded, and other calls do not notice.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Json } from '../../src/cli/client.js';
import {
  type CallScript,
  type ListenSimulator,
  startListenSimulator,
} from '../../src/telephony/simulator/listen-server.js';
import type { WireVariant } from '../../src/telephony/simulator/variants.js';
import { type LocalService, startLocalService } from '../support/local-service.js';
import { TOLD_CALLS_ENVIRONMENT, ToldCall } from '../support/told-calls.js';
import { VOICE_RATE_HZ, voicePath, voiceSamples } from '../support/voices.js';

const PHONE = '+14155550171';
const BOB_PHONE = '+14155550172';
/** The first segment of every listen path, so that a leak of any shows. */
const SECRET = 'secret-fault';
const [alice, bob] = [randomUUID(), randomUUID()];
const [caller, agent] = [voiceSamples('alice-call-1'), voiceSamples('agent')];
const impostor = voiceSamples('bob-call-1');
const quiet = new Float32Array(0);
const ACCEPT = { decision: 'accept', reason: 'match' };
const HUNG_UP = { decision: 'inconclusive', reason: 'caller_hung_up' };
const NOBODY_HEARD = { decision: 'inconclusive', reason: 'no_caller_audio' };

const scripts = new Map<string, (connections: number) => CallScript | undefined>();
let service: LocalService;
let simulator: ListenSimulator;

beforeAll(async () => {
  service = await startLocalService(
    { ...TOLD_CALLS_ENVIRONMENT },
    { secrets: [PHONE, PHONE.slice(1), BOB_PHONE.slice(1), SECRET] },
  );
  simulator = await startListenSimulator({
    call: (name) => scripts.get(name)?.(simulator.stats(name).connections),
  });
  const enroll = (file: 'alice-enroll' | 'bob-enroll', user_id: string, phone: string) =>
    service.client.upload('/api/v1/enroll', voicePath(file), { user_id, phone });
  await enroll('alice-enroll', alice, PHONE);
  await enroll('bob-enroll', bob, BOB_PHONE);
});

afterAll(async () => {
  await simulator?.close();
  await service?.close();
});

function play(variant: Partial<WireVariant>, who: { readonly caller?: Float32Array } = {}): CallScript {
  return { caller: who.caller ?? caller, agent, sampleRateHz: VOICE_RATE_HZ, variant: { speed: 4, ...variant } };
}

function seconds(samples: Float32Array, from: number, to = Number.POSITIVE_INFINITY): Float32Array {
  return samples.subarray(from * VOICE_RATE_HZ, Math.min(samples.length, to * VOICE_RATE_HZ));
}

/** A call of this name; its audio is what `script` says for each connection (0 = the first). */
function toldCall(name: string, script: (connections: number) => CallScript | undefined, callerNumber = PHONE) {
  const listenName = `${SECRET}-${name}`;
  scripts.set(listenName, script);
  return {
    listenName,
    call: new ToldCall(service, { callId: name, callerNumber, listenUrl: simulator.url(listenName) }),
  };
}

/** The same script, however often it is connected to. */
function always(script: CallScript): () => CallScript {
  return () => script;
}

interface Fault {
  readonly what: string;
  readonly script: (connections: number) => CallScript | undefined;
  readonly expected: Json;
  /** Connections that were let in, and refused. */
  readonly connections?: number;
  readonly refused?: number;
  readonly withinNetSpeechSeconds?: readonly [number, number];
}

const refusing = play({ refuseFirst: 3 });
const dying = play({ abruptCloseAtMs: 2_000 });
/** Less than the two seconds of speech that any decision needs. */
const rest = play({}, { caller: seconds(caller, 2, 3.9) });

const FAULTS: readonly Fault[] = [
  { what: 'refused three times', script: always(refusing), expected: ACCEPT, connections: 1, refused: 3 },
  {
    what: 'dead at 2 s and there again',
    script: (connections) => (connections === 0 ? dying : rest),
    expected: ACCEPT,
    connections: 2,
    withinNetSpeechSeconds: [2, 3.9],
  },
  {
    what: 'dead at 2 s for good',
    script: (connections) => (connections === 0 ? dying : undefined),
    expected: HUNG_UP,
    connections: 1,
    withinNetSpeechSeconds: [0.5, 2],
  },
  { what: 'a silent channel', script: always(play({ callerSilent: true })), expected: NOBODY_HEARD },
  {
    what: 'the assistant only',
    script: always(play({}, { caller: quiet })),
    expected: NOBODY_HEARD,
  },
  {
    what: 'caller and assistant mixed',
    script: always(play({ layout: 'mono_mixed' })),
    expected: { decision: 'inconclusive', reason: 'mixed_audio' },
  },
  // Without a start frame the format is measured against the clock, so this one goes at the speed of speech.
  {
    what: '24 kHz that nobody announces',
    script: always(play({ sampleRateHz: 24_000, startFrame: 'none', speed: 1 })),
    expected: ACCEPT,
  },
  {
    what: 'a stall of 5 s',
    script: always(play({ stallAtMs: 1_000, stallMs: 5_000, speed: 1 })),
    expected: ACCEPT,
  },
  { what: 'texts that are no JSON', script: always(play({ text: 'garbage' })), expected: ACCEPT },
];

describe.concurrent('a call whose audio is', () => {
  it.each(FAULTS)('$what', async ({ what, script, expected, connections, refused, withinNetSpeechSeconds }) => {
    const { call, listenName } = toldCall(what.replaceAll(' ', '-'), script);
    await call.begin();
    const result = await call.verify();
    expect(result).toMatchObject({ ...expected, additional_factor_required: true });
    await call.end();
    const stats = simulator.stats(listenName);
    if (connections !== undefined) expect(stats.connections).toBe(connections);
    if (refused !== undefined) expect(stats.refused).toBeGreaterThanOrEqual(refused);
    const [least, most] = withinNetSpeechSeconds ?? [0, 30];
    expect(result.net_speech_seconds).toBeGreaterThanOrEqual(least);
    expect(result.net_speech_seconds).toBeLessThan(most);
    const attempts = await call.attempts(alice);
    expect(attempts).toHaveLength(1);
    expect(attempts[0]).toMatchObject({ ...expected, id: result.attempt_id, source: 'vapi' });
    // All that comes after its end finds the call over.
    expect(await call.status()).toMatchObject({ state: 'ended' });
  });

  // Tests that run at once have each their own `expect` to wait with.
  it('cut short by the caller after 1 s', async ({ expect }) => {
    const second = play({ afterEnd: 'stay_open' }, { caller: seconds(caller, 0, 1) });
    const { call, listenName } = toldCall('hung-up-early', always({ ...second, agent: quiet }));
    await call.begin();
    const asking = call.verify();
    await expect.poll(() => simulator.stats(listenName).framesSent).toBe(50);
    await call.end();
    const result = await asking;
    expect(result).toMatchObject(HUNG_UP);
    expect(await call.attempts(alice)).toMatchObject([{ ...HUNG_UP, id: result.attempt_id }]);
    // A question that comes late is another one about the same call.
    await expect.poll(() => simulator.stats(listenName).open).toBe(0);
    expect(await call.verify({ id: 'after-the-end' })).toMatchObject(HUNG_UP);
    expect(await call.status()).toMatchObject({ state: 'ended' });
  });
});

const noise = Float32Array.from({ length: VOICE_RATE_HZ * 2 }, (_, at) => Math.sin(at * at * 12.9898) * 0.5);
const endless = { speed: Number.POSITIVE_INFINITY, afterEnd: 'silence' } as const;

/** Calls that nobody would want beside their own: as fast as the service reads, without an end, or without a beginning. */
const NEIGHBOURS: readonly (readonly [string, CallScript])[] = [
  ['floods', play(endless, { caller: noise })],
  ['sends garbage', play({ ...endless, text: 'garbage', oddBytes: true, frameMs: 5 }, { caller: noise })],
  ['sends nothing', { ...play({ afterEnd: 'stay_open', startFrame: 'none' }, { caller: quiet }), agent: quiet }],
];

describe('ten good calls', () => {
  const good = { alice: always(play({})), impostor: always(play({}, { caller: impostor })) };

  /** What came of ten calls at once, every third of an impostor; call by call. */
  async function goodCalls(round: string): Promise<Json[]> {
    return Promise.all(
      Array.from({ length: 10 }, async (_, index) => {
        const { call } = toldCall(`good-${round}-${index}`, index % 3 === 2 ? good.impostor : good.alice);
        await call.begin();
        const { decision, reason } = await call.verify();
        await call.end();
        return { decision, reason };
      }),
    );
  }

  let alone: readonly Json[];
  beforeAll(async () => {
    alone = await goodCalls('alone');
  });

  it('are accepted and rejected as they should be', () => {
    expect(alone).toEqual(
      Array.from({ length: 10 }, (_, index) =>
        index % 3 === 2 ? { decision: 'reject', reason: 'no_match' } : { decision: 'accept', reason: 'match' },
      ),
    );
  });

  it.each(NEIGHBOURS)('are decided the same beside one that %s', async (what, script) => {
    const round = what.replace(' ', '-');
    const { call: bad, listenName } = toldCall(`bad-${round}`, always(script), BOB_PHONE);
    await bad.begin();
    const asking = bad.verify();
    await expect.poll(() => simulator.stats(listenName).open).toBe(1);
    expect(await goodCalls(round)).toEqual(alone);
    expect(simulator.stats(listenName).open).toBe(1);
    await bad.end();
    const { decision, reason } = await asking;
    expect(decision).toBe('inconclusive');
    expect(await bad.attempts(bob)).toMatchObject([{ decision, reason }]);
    expect((await fetch(`${service.server.url}/readyz`)).status).toBe(200);
  });
});
