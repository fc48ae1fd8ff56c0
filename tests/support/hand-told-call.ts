/** A call that the service is told of and listens to, its audio played by hand: how end-to-end tests of calls open one. */
import { expect } from 'vitest';
import type { SimulatedCallOptions } from '../../src/telephony/simulator/vapi-platform.js';
import { HandPlayedCall } from './hand-played-call.js';
import type { LocalService } from './local-service.js';
import { ToldCall } from './told-calls.js';

export interface HandToldCallOptions extends Omit<SimulatedCallOptions, 'webhookUrl' | 'listenUrl'> {
  /** Gets what ends the audio, also when the call cannot be opened. */
  readonly cleanups: (() => Promise<unknown>)[];
  /** Said at once, and heard in part before the call is given to the test. 16 kHz samples. */
  readonly says?: Float32Array;
}

/** Net speech of `says` that shows that it is being heard. */
const HEARD_SECONDS = 0.3;

/** A call in progress that the service listens to. Rejects when the service does not begin to listen. */
export async function openHandToldCall(
  service: LocalService,
  { cleanups, says, ...options }: HandToldCallOptions,
): Promise<{ readonly audio: HandPlayedCall; readonly call: ToldCall }> {
  const audio = await HandPlayedCall.start();
  cleanups.push(() => audio.close());
  const call = new ToldCall(service, { ...options, listenUrl: audio.url });
  await call.begin();
  await expect.poll(() => audio.listeners).toBe(1);
  if (says) {
    audio.say(says);
    await expect.poll(async () => (await call.status()).net_speech_seconds).toBeGreaterThan(HEARD_SECONDS);
  }
  return { audio, call };
}
