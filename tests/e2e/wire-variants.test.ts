/** Every variant of the listen wire against the running service: what must be decided, and that nothing is accepted that should not. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ListenSimulator, startListenSimulator } from '../../src/telephony/simulator/listen-server.js';
import { VARIANTS, type VariantName } from '../../src/telephony/simulator/variants.js';
import { type LocalService, startLocalService } from '../support/local-service.js';
import { VOICE_RATE_HZ, voicePath, voiceSamples } from '../support/voices.js';

/** The owner speaks in all of them; what is not listed is accepted. */
const OTHERWISE: Partial<Record<VariantName, { decision: string; reason: string }>> = {
  'silent-caller': { decision: 'inconclusive', reason: 'no_caller_audio' },
  'mono-mixed': { decision: 'inconclusive', reason: 'mixed_audio' },
  'mono-caller': { decision: 'inconclusive', reason: 'mixed_audio' },
  'mono-8k': { decision: 'inconclusive', reason: 'mixed_audio' },
  'mono-24k': { decision: 'inconclusive', reason: 'mixed_audio' },
  'mono-32k': { decision: 'inconclusive', reason: 'mixed_audio' },
  'abrupt-close': { decision: 'inconclusive', reason: 'caller_hung_up' },
  'early-close': { decision: 'inconclusive', reason: 'caller_hung_up' },
};
/** The default configuration listens to channel 0, where the agent is: whatever is said of that, it is not an accept. */
const AGENT_HEARD: readonly VariantName[] = ['caller-on-channel-1'];

const userId = randomUUID();
let service: LocalService;
let simulator: ListenSimulator;

beforeAll(async () => {
  service = await startLocalService();
  const [caller, agent] = [voiceSamples('alice-call-1'), voiceSamples('agent')];
  const scripts = new Map(
    Object.entries(VARIANTS).map(([name, { options }]) => [
      name,
      { caller, agent, sampleRateHz: VOICE_RATE_HZ, variant: options },
    ]),
  );
  simulator = await startListenSimulator({ call: (callId) => scripts.get(callId) });
  await service.client.upload('/api/v1/enroll', voicePath('alice-enroll'), { user_id: userId });
});

afterAll(async () => {
  await simulator?.close();
  await service?.close();
});

describe('the listen wire', () => {
  it('is understood in every variant, all at once and in real time', async () => {
    const names = Object.keys(VARIANTS) as VariantName[];
    const outcomes = await Promise.all(
      names.map(async (name) => {
        const result = await service.client.post('/api/v1/verify-password', {
          userId,
          listenUrl: simulator.url(name),
          maxSeconds: 25,
        });
        return [name, { decision: String(result.decision), reason: String(result.reason) }] as const;
      }),
    );
    const heardTheAgent = outcomes.filter(([name]) => AGENT_HEARD.includes(name));
    for (const [, { decision }] of heardTheAgent) expect(decision).not.toBe('accept');
    const expected = names.map((name) => [name, OTHERWISE[name] ?? { decision: 'accept', reason: 'match' }]);
    expect(outcomes.filter(([name]) => !AGENT_HEARD.includes(name))).toEqual(
      expected.filter(([name]) => !AGENT_HEARD.includes(name as VariantName)),
    );
  }, 60_000);

  it('is a clear error when nobody answers the call', async () => {
    await expect(
      service.client.post('/api/v1/verify-password', {
        userId,
        listenUrl: simulator.url('no-such-call'),
        maxSeconds: 1,
      }),
    ).rejects.toThrow(/^ListenConnectionError/);
  });
});
