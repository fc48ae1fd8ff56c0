/** Every form of VAPI's webhooks, and every way of signing them, against the running service: one verified call each. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type CallScript,
  type ListenSimulator,
  startListenSimulator,
} from '../../src/telephony/simulator/listen-server.js';
import { SimulatedVapiCall } from '../../src/telephony/simulator/vapi-platform.js';
import {
  HMAC_VARIANTS,
  WEBHOOK_VARIANTS,
  type WebhookCredentials,
  type WebhookVariantName,
} from '../../src/telephony/simulator/webhook-variants.js';
import { type LocalService, startLocalService } from '../support/local-service.js';
import { TOLD_CALLS_ENVIRONMENT, ToldCall } from '../support/told-calls.js';
import { VOICE_RATE_HZ, voicePath, voiceSamples } from '../support/voices.js';

const PHONE = '+14155550191';
const LISTEN_SECRET = 'secret-listener';
const HMAC_SECRET = 'the-signing-5ecret';
const PRIVATE_KEY = 'the-private-5ecret';
const ECHOED = 'echoed-5ecret';
const SECRETS = [PHONE, PHONE.slice(1), LISTEN_SECRET, HMAC_SECRET, PRIVATE_KEY, ECHOED];
const ACCEPT = { decision: 'accept', reason: 'match' };
/** Their events do not say who calls, so the agent has to. */
const NO_NUMBER: readonly WebhookVariantName[] = ['sip-caller', 'withheld-number'];
/** Stricter than configured: proof that arguments arrive in every form. */
const THRESHOLD = 0.83;

const userId = randomUUID();
let dataDir: string;
let simulator: ListenSimulator;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'voice-auth-webhooks-'));
  const script: CallScript = {
    caller: voiceSamples('alice-call-1'),
    agent: voiceSamples('agent'),
    sampleRateHz: VOICE_RATE_HZ,
    variant: { speed: 4 },
  };
  simulator = await startListenSimulator({ call: () => script });
  const service = await startLocalService({}, { dataDir, secrets: SECRETS });
  await service.client.upload('/api/v1/enroll', voicePath('alice-enroll'), { user_id: userId, phone: PHONE });
  await service.close();
});
afterAll(async () => {
  await simulator?.close();
  await rm(dataDir, { recursive: true, force: true });
});

function start(environment: Readonly<Record<string, string>>): Promise<LocalService> {
  return startLocalService({ ...TOLD_CALLS_ENVIRONMENT, ...environment }, { dataDir, secrets: SECRETS });
}

function listenUrl(name: string): string {
  return simulator.url(`${LISTEN_SECRET}-${name}`);
}

describe.concurrent('a webhook', () => {
  let service: LocalService;
  let vapi: Server;

  beforeAll(async () => {
    // VAPI's API, for events that do not say where to listen.
    vapi = createServer((request, response) => {
      const name = /^\/call\/([a-z-]+)$/.exec(request.url ?? '')?.[1] ?? '';
      const known = request.headers.authorization === `Bearer ${PRIVATE_KEY}`;
      const call = { id: name, customer: { number: PHONE }, monitor: { listenUrl: listenUrl(name) } };
      response.writeHead(known ? 200 : 401).end(JSON.stringify(known ? call : {}));
    }).listen(0, '127.0.0.1');
    await once(vapi, 'listening');
    service = await start({
      VAPI_PRIVATE_KEY: PRIVATE_KEY,
      VAPI_API_URL: `http://127.0.0.1:${(vapi.address() as AddressInfo).port}`,
    });
  });
  afterAll(async () => {
    vapi?.closeAllConnections();
    vapi?.close();
    await service?.close();
  });

  it.each(Object.keys(WEBHOOK_VARIANTS) as WebhookVariantName[])('%s', async (name) => {
    const callId = `variant-${name}`;
    const variant = WEBHOOK_VARIANTS[name].options;
    const call = new ToldCall(service, { callId, callerNumber: PHONE, listenUrl: listenUrl(callId), variant });
    await call.begin();
    if (NO_NUMBER.includes(name)) expect(await call.verify()).toMatchObject({ reason: 'unknown_caller' });
    const named = NO_NUMBER.includes(name) ? { user_id: userId } : {};
    const answers = await call.deliveries('verify_caller', { arguments: { ...named, threshold: THRESHOLD } });
    expect(answers[0]).toMatchObject({ ...ACCEPT, user_id: userId, threshold: THRESHOLD });
    expect(answers).toHaveLength(name === 'delivered-twice' ? 2 : 1);
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    expect(simulator.stats(`${LISTEN_SECRET}-${callId}`).connections).toBe(1);
    expect(await call.attempts(userId)).toMatchObject([{ ...ACCEPT, id: answers[0]?.attempt_id }]);
    await call.end();
    expect(await call.status()).toMatchObject({ state: 'ended' });
  });
});

interface SigningRow {
  readonly environment: Readonly<Record<string, string>>;
  readonly credentials: Readonly<Record<string, (secret: string) => WebhookCredentials>>;
}

const plain =
  (kind: 'secret' | 'bearer') =>
  (secret: string): WebhookCredentials => ({ kind, secret });
const PLAIN = { secret: plain('secret'), bearer: plain('bearer') };

/** The variants by the configuration they need: how a time is written needs none, and plain secrets go beside any. */
function signingRows(): SigningRow[] {
  const rows = new Map<string, SigningRow>();
  for (const [name, { hmac, timestamp }] of Object.entries(HMAC_VARIANTS)) {
    const key = JSON.stringify(hmac);
    const credentials = (secret: string): WebhookCredentials => ({
      kind: 'hmac',
      hmac: { ...hmac, secrets: [secret] },
      timestamp,
    });
    const others = rows.get(key)?.credentials ?? (rows.size === 0 ? PLAIN : {});
    rows.set(key, { environment: hmacEnvironment(hmac), credentials: { ...others, [name]: credentials } });
  }
  return [...rows.values()];
}

function hmacEnvironment(hmac: (typeof HMAC_VARIANTS)[keyof typeof HMAC_VARIANTS]['hmac']): Record<string, string> {
  return {
    VAPI_WEBHOOK_SECRET: HMAC_SECRET,
    VAPI_WEBHOOK_TOKEN: HMAC_SECRET,
    VAPI_WEBHOOK_HMAC_SECRET: HMAC_SECRET,
    VAPI_WEBHOOK_HMAC_ALGORITHM: hmac.algorithm,
    VAPI_WEBHOOK_HMAC_HEADER: hmac.signatureHeader,
    VAPI_WEBHOOK_HMAC_TIMESTAMP_HEADER: hmac.timestampHeader,
    VAPI_WEBHOOK_HMAC_PAYLOAD: hmac.payload,
    VAPI_WEBHOOK_HMAC_ENCODING: hmac.encoding,
    VAPI_WEBHOOK_HMAC_PREFIX: hmac.prefix,
  };
}

describe('a service that wants proof of who sends webhooks', () => {
  const rows = signingRows().map((row) => [Object.keys(row.credentials).join(', '), row] as const);

  it.each(rows)('believes %s with the right secret only', async (_names, { environment, credentials }) => {
    const service = await start({ ...environment, INFERENCE_CHILDREN: '1' });
    try {
      await Promise.all(
        Object.entries(credentials).map(async ([name, credentialsOf]) => {
          const callId = `signed-${name}`;
          const about = { callId, callerNumber: PHONE, listenUrl: listenUrl(callId) };
          const webhookUrl = `${service.server.url}/vapi/webhook`;
          for (const forged of [credentialsOf('not-the-secret'), { kind: 'none' } as const]) {
            const call = new SimulatedVapiCall({ ...about, webhookUrl, credentials: forged });
            expect(await call.status('in-progress')).toMatchObject([{ status: 401 }]);
          }
          const call = new ToldCall(service, { ...about, credentials: credentialsOf(HMAC_SECRET) });
          await call.begin();
          const result = await call.verify();
          expect(result).toMatchObject(ACCEPT);
          expect(simulator.stats(`${LISTEN_SECRET}-${callId}`).connections).toBe(1);
          expect(await call.attempts(userId)).toMatchObject([{ ...ACCEPT, id: result.attempt_id }]);
          await call.end();
        }),
      );
    } finally {
      await service.close();
    }
  });
});
