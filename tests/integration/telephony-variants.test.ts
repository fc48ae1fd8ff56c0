import { describe, expect, it } from 'vitest';
import { startListenSimulator } from '../../src/telephony/simulator/listen-server.js';
import { VARIANTS, type VariantName, type WireVariant, wireVariant } from '../../src/telephony/simulator/variants.js';
import { wireAudio } from '../../src/telephony/simulator/wire-audio.js';
import { speechLike } from '../unit/telephony/speech-like.js';
import { CALL, cleanups, Listener, open, SECRET_ID, setup, simulate } from './telephony-harness.js';

/** The samples a listener of this variant must hear of the caller (or of the mix). */
function wireSamples(variant: WireVariant): number[] {
  const values = new Int16Array(wireAudio(CALL, variant).bytes.buffer);
  const stereo = variant.layout === 'stereo';
  return Array.from({ length: values.length / (stereo ? 2 : 1) }, (_, i) =>
    stereo ? values[2 * i + variant.callerChannel]! / 32_768 : values[i]! / 32_768,
  );
}

function expectSame(actual: readonly number[], expected: readonly number[]): void {
  expect(actual.length).toBe(expected.length);
  expect(actual.findIndex((sample, i) => sample !== expected[i])).toBe(-1);
}

describe('every variant of the listen socket', () => {
  for (const name of Object.keys(VARIANTS) as VariantName[]) {
    it(`hears all of "${name}": ${VARIANTS[name].description}`, async () => {
      // Faster than real time nothing can be measured, so what no start frame announces is pinned.
      const variant = wireVariant({ speed: 20, ...VARIANTS[name].options });
      const channels = variant.layout === 'stereo' ? 2 : 1;
      const pinned = variant.startFrame === 'none' ? ({ sampleRateHz: variant.sampleRateHz, channels } as const) : {};
      const { sources, metrics, outcomes } = setup({ callerChannel: variant.callerChannel, ...pinned });
      const simulator = await simulate({ ...CALL, variant });
      const listener = new Listener();
      const wanted = wireSamples(variant);
      const { stop, opened } = open(listener, sources.vapiListen(simulator.url(SECRET_ID)));
      if (variant.afterEnd !== 'close') {
        listener.onEachFrame = () => {
          if (listener.samples.length >= wanted.length) stop.abort();
        };
      }
      await opened;
      const end = await listener.ended;

      const closed = variant.abruptCloseAtMs === undefined ? 'closed' : 'lost';
      expect(end).toEqual({ kind: variant.afterEnd === 'close' ? closed : 'stopped' });
      expect([...listener.tracks]).toEqual([variant.layout === 'stereo' ? 'caller' : 'mixed']);
      expect([...listener.rates]).toEqual([variant.sampleRateHz]);
      const cutMs = variant.abruptCloseAtMs ?? variant.closeAtMs;
      const heard = cutMs === undefined ? wanted : wanted.slice(0, (variant.sampleRateHz * cutMs) / 1_000);
      expectSame(listener.samples.slice(0, wanted.length), variant.callerSilent ? heard.map(() => 0) : heard);
      if (variant.afterEnd === 'close') {
        const received = (await metrics.framesReceived.get()).values[0]?.value;
        expect(received).toBe(simulator.stats(SECRET_ID).framesSent);
      }
      expect(await outcomes()).toEqual({
        open: 1,
        ...(variant.refuseFirst > 0 ? { retried: variant.refuseFirst } : {}),
      });
      expect(listener.ends).toHaveLength(1);
      expect(listener.afterEnd).toBe(0);
    });
  }

  it('measures an unannounced stream in real time', async () => {
    const { sources } = setup();
    const simulator = await simulate({ ...CALL, variant: { startFrame: 'none', closeAtMs: 2_000, backlogMs: 200 } });
    const listener = new Listener();
    await open(listener, sources.vapiListen(simulator.url(SECRET_ID))).opened;
    await listener.ended;
    expect([...listener.tracks]).toEqual(['caller']);
    expectSame(listener.samples, wireSamples(wireVariant({})).slice(0, 32_000));
  });

  it('hears all of a stream that comes as fast as it is read', async () => {
    const caller = Float32Array.from({ length: 16_000 * 60 }, (_, i) => CALL.caller[i % CALL.caller.length]!);
    const { sources } = setup();
    const simulator = await simulate({ caller, sampleRateHz: 16_000, variant: { speed: Number.POSITIVE_INFINITY } });
    const listener = new Listener();
    await open(listener, sources.vapiListen(simulator.url(SECRET_ID))).opened;
    await listener.ended;
    expect(listener.frames).toBe(3_000);
    expect(listener.samples).toHaveLength(caller.length);
  });

  it('keeps 60 calls apart and loses no frame of any', async () => {
    const scripts = Array.from({ length: 4 }, (_, i) => ({
      caller: speechLike(2, 16_000, 20 + i),
      sampleRateHz: 16_000,
      variant: { speed: 4 },
    }));
    const simulator = await startListenSimulator({ call: (id) => scripts[Number(id.split('-')[1]) % 4] });
    cleanups.push(() => simulator.close());
    const { sources } = setup();
    const calls = await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        const listener = new Listener();
        await open(listener, sources.vapiListen(simulator.url(`call-${i}`))).opened;
        await listener.ended;
        return listener;
      }),
    );
    calls.forEach((listener, i) => {
      expect(listener.frames).toBe(simulator.stats(`call-${i}`).framesSent);
      expectSame(
        listener.samples,
        Array.from(scripts[i % 4]!.caller, (sample) => Math.round(sample * 32_768) / 32_768),
      );
    });
    expect(simulator.totals()).toMatchObject({ connections: 60, framesSent: 6_000 });
  });
});
