/**
 * The HTTP app over use cases that a test scripts: everything in front of the domain is real. After every test, each error that
 * was answered must be one that the API document gives for its operation.
 */
import { PassThrough } from 'node:stream';
import type { Express } from 'express';
import { afterAll, afterEach, expect } from 'vitest';
import type { HttpConfig } from '../../src/config/config.js';
import type { CallsUseCase, StreamsUseCase } from '../../src/domain/calls/calls.js';
import type { EnrollmentRequest, EnrollmentResult } from '../../src/domain/enrollment/enrollment.js';
import { VoiceAuthError } from '../../src/domain/errors.js';
import type { AttemptSummary, UserStatus } from '../../src/domain/ports/auth-store.js';
import type { ComponentHealth } from '../../src/domain/ports/health.js';
import { TimerWheel } from '../../src/domain/timing/timer-wheel.js';
import type { UsersUseCase } from '../../src/domain/users/users.js';
import type { VerificationRequest, VerificationResult } from '../../src/domain/verification/verification.js';
import { type ApiKeyRing, createApiKey, parseApiKeyRing, type Scope } from '../../src/http/api-keys.js';
import { createApp } from '../../src/http/app.js';
import { errorCodesOf } from '../../src/http/openapi.js';
import { createOperations, metricsOperation } from '../../src/http/operations.js';
import type { WebhookHandler, WebhookReply, WebhookRequest } from '../../src/http/webhook-handler.js';
import { createLogger } from '../../src/observability/logger.js';
import { Metrics } from '../../src/observability/metrics.js';
import { HandClock } from './hand-clock.js';
import { MemoryRateLimits } from './memory-rate-limits.js';

export const USER = '3f1c7a52-8c1e-4a57-9d0e-2b7a4c6d8e90';
export const AUDIO_URL = 'https://recordings.example/secret-path/voice.wav';
export const LISTEN_URL = 'wss://calls.example/secret-call/listen';
export const PHONE = '+14155550123';

const made = (['enroll', 'verify', 'read', 'admin'] as const).map((scope) => ({
  scope,
  ...createApiKey(scope, [scope]),
}));
export const KEYS = Object.fromEntries(made.map(({ scope, key }) => [scope, key])) as Record<Scope, string>;

export const ENROLLED: EnrollmentResult = { score: 0.91234567, samples: 2, netSpeechMs: 7204, modelId: 'toy-2' };
export const ACCEPTED: VerificationResult = {
  attemptId: 'a2b7c1d0-0000-4000-8000-000000000001',
  decision: 'accept',
  reason: 'match',
  score: 0.93,
  threshold: 0.82,
  netSpeechMs: 3210,
  looks: 2,
};
export const ATTEMPT: AttemptSummary = {
  id: ACCEPTED.attemptId,
  decision: 'reject',
  reason: 'no_match',
  score: 0.2,
  threshold: 0.82,
  modelId: 'toy-2',
  netSpeechMs: 4000,
  looks: 3,
  latencyMs: 5120,
  source: 'vapi_listen',
  callId: undefined,
  correlationId: 'corr-0001',
  createdAt: new Date('2025-01-02T03:04:05.678Z'),
};
export const STATUS: UserStatus = {
  userId: USER,
  enrolled: true,
  samples: 2,
  netSpeechMs: 14_000,
  modelId: 'toy-2',
  lockedUntil: new Date('2025-01-02T04:00:00.000Z'),
  failedAttempts: 1,
  enrolledAt: new Date('2025-01-01T00:00:00.000Z'),
  lastAttempt: ATTEMPT,
};

export interface TestApp {
  readonly app: Express;
  readonly metrics: Metrics;
  readonly rateLimits: MemoryRateLimits;
  /** Turned by hand, as are the app's `timers`. */
  readonly clock: HandClock;
  readonly timers: TimerWheel;
  readonly enrollments: EnrollmentRequest[];
  readonly verifications: VerificationRequest[];
  readonly webhooks: WebhookRequest[];
  /** Replaceable behaviour of the use cases. */
  readonly behave: {
    enroll: (request: EnrollmentRequest) => Promise<EnrollmentResult>;
    verify: (request: VerificationRequest) => Promise<VerificationResult>;
    users: UsersUseCase;
    calls: Pick<CallsUseCase, 'verify' | 'enroll' | 'status'>;
    expectStream: StreamsUseCase['expect'];
    webhook: (request: WebhookRequest) => Promise<WebhookReply>;
    /** By headers alone. */
    webhookScreening: WebhookHandler['screen'];
    components: readonly ComponentHealth[];
    draining: boolean;
    /** Use cases throw what no use case of the operation would. */
    anyError: boolean;
  };
  /** Everything logged so far, one JSON object per line. */
  logText(): string;
}

/** Limits of the app, as operations know them. */
const LIMITS = { configuredThreshold: 0.82, maxListenSeconds: 65 };

/** `operation code` of every answer that its operation does not declare. */
const undeclared: string[] = [];
const expectDeclared = () => expect(undeclared.splice(0)).toEqual([]);
afterEach(expectDeclared);
// The line of a request may be logged a moment after its answer.
afterAll(expectDeclared);

/** Builds the app; `config` overrides single settings. Rate limits are off unless asked for. */
export function testApp(config: Partial<HttpConfig> = {}): TestApp {
  const log = new PassThrough();
  const lines: string[] = [];
  const declared = declaredErrors(config.metricsPublic ?? true);
  log.on('data', (chunk: Buffer) => {
    lines.push(chunk.toString());
    if (!behave.anyError) undeclared.push(...undeclaredErrors(chunk.toString(), declared));
  });
  const metrics = new Metrics();
  const rateLimits = new MemoryRateLimits();
  const clock = new HandClock();
  const timers = new TimerWheel({ clock });
  const enrollments: EnrollmentRequest[] = [];
  const verifications: VerificationRequest[] = [];
  const webhooks: WebhookRequest[] = [];
  const behave: TestApp['behave'] = {
    enroll: async () => ENROLLED,
    verify: async () => ACCEPTED,
    users: {
      status: async () => STATUS,
      history: async () => ({ attempts: [ATTEMPT], next: undefined }),
      outdated: async () => ({
        modelId: 'toy-2',
        users: [{ userId: USER, modelId: 'toy-1', samples: 3, enrolledAt: new Date('2025-01-01T00:00:00.000Z') }],
        total: 1,
        next: undefined,
      }),
      erase: async () => undefined,
    },
    calls: {
      verify: async () => ({ kind: 'decided', userId: USER, result: ACCEPTED }),
      enroll: async () => ({ kind: 'enrolled', userId: USER, result: ENROLLED }),
      status: async () => undefined,
    },
    expectStream: async ({ callId }) => ({
      callId: callId ?? 'made-up-call-id',
      token: 'one-time-token',
      expiresAt: new Date('2025-01-02T03:09:05.000Z'),
    }),
    webhook: async () => ({ status: 200, body: {} }),
    webhookScreening: () => 'granted',
    components: [{ name: 'database', ok: true, detail: { backend: 'memory' } }],
    draining: false,
    anyError: false,
  };
  const app = createApp({
    config: {
      host: '127.0.0.1',
      port: 0,
      apiKeys: undefined,
      metricsPublic: true,
      corsOrigins: [],
      trustProxy: 0,
      rateLimitPerMinute: 0,
      userRateLimitPerMinute: 0,
      maxUploadBytes: 20_000,
      ...config,
    },
    keys: keyRing(),
    metrics,
    logger: createLogger('debug', log),
    rateLimits,
    enrollment: {
      enroll: (request) => {
        enrollments.push(request);
        return behave.enroll(request);
      },
    },
    verification: {
      verify: (request) => {
        verifications.push(request);
        return behave.verify(request);
      },
    },
    users: {
      status: (id) => behave.users.status(id),
      history: (id, page) => behave.users.history(id, page),
      outdated: (page) => behave.users.outdated(page),
      erase: (id, by) => behave.users.erase(id, by),
    },
    calls: {
      begin: async () => undefined,
      verify: (question) => behave.calls.verify(question),
      enroll: (question) => behave.calls.enroll(question),
      status: (platform, callId) => behave.calls.status(platform, callId),
      end: async () => undefined,
    },
    streams: { expect: (request) => behave.expectStream(request), admit: async () => false },
    streamGuide: (platform, token) => ({
      url: `wss://auth.example/api/v1/streams/${platform}`,
      hint: 'Paste it.',
      ...(platform === 'twilio' ? { twiml: `<Response>${token}</Response>` } : {}),
    }),
    webhook: {
      screen: (headers) => behave.webhookScreening(headers),
      handle: (webhook) => {
        webhooks.push(webhook);
        return behave.webhook(webhook);
      },
    },
    health: { components: async () => behave.components },
    isDraining: () => behave.draining,
    ...LIMITS,
    timers,
  });
  const seen = { enrollments, verifications, webhooks };
  return { app, metrics, rateLimits, clock, timers, ...seen, behave, logText: () => lines.join('') };
}

/** Codes by operation. */
function declaredErrors(metricsPublic: boolean): ReadonlyMap<string, readonly string[]> {
  const operations = [...Object.values(createOperations(LIMITS)), metricsOperation(metricsPublic)];
  return new Map(operations.map((operation) => [operation.name, errorCodesOf(operation)]));
}

/** Requests that no operation took are nobody's. */
function undeclaredErrors(text: string, declared: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const requests = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line): { readonly operation?: string; readonly error?: string } => JSON.parse(line));
  return requests.flatMap(({ operation = 'unknown', error }) => {
    if (error === undefined || operation === 'unknown' || declared.get(operation)?.includes(error)) return [];
    return [`${operation} ${error}`];
  });
}

/** `Authorization` header value of the test key with this scope. */
export function bearer(scope: Scope): string {
  return `Bearer ${KEYS[scope]}`;
}

/** A use case that fails with one of our errors. */
export function failing(...args: ConstructorParameters<typeof VoiceAuthError>): () => Promise<never> {
  return async () => {
    throw new VoiceAuthError(...args);
  };
}

function keyRing(): ApiKeyRing {
  const result = parseApiKeyRing(made.map(({ entry }) => entry));
  if (result.kind !== 'ring') throw new Error(result.problems.join());
  return result.ring;
}
