/** Enrollment and verification over a store of the test's choice, with toy models, calls and recordings around them. */
import { randomUUID } from 'node:crypto';
import type { EnrollmentConfig, VerificationConfig } from '../../src/config/config.js';
import { WorkLimit } from '../../src/domain/admission.js';
import { Enrollment, type EnrollmentDeps } from '../../src/domain/enrollment/enroll.js';
import type { EnrollmentRequest, EnrollmentResult } from '../../src/domain/enrollment/enrollment.js';
import { VoiceAuthError } from '../../src/domain/errors.js';
import type { AuthStore } from '../../src/domain/ports/auth-store.js';
import type { DecodedRecording } from '../../src/domain/ports/recordings.js';
import { AttemptRecorder } from '../../src/domain/verification/attempt-recorder.js';
import type { VerificationRequest, VerificationResult } from '../../src/domain/verification/verification.js';
import { Verification } from '../../src/domain/verification/verify.js';
import { createLogger, type Logger } from '../../src/observability/logger.js';
import { Metrics } from '../../src/observability/metrics.js';
import { ToyCall } from './toy-calls.js';
import {
  settled,
  TOY_FRAME_SAMPLES,
  TOY_RATE_HZ,
  ToyDetector,
  ToyEmbedder,
  toyScorer,
  toySpeech,
} from './toy-models.js';

export const LISTEN_URL = 'wss://calls.example/secret-call/listen';
export const AUDIO_URL = 'https://recordings.example/secret.wav';

const VERIFICATION: VerificationConfig = {
  threshold: 0.82,
  minSpeechMs: 2000,
  maxSpeechMs: 12_000,
  listenTimeoutMs: 20_000,
  connectTimeoutMs: 5000,
  maxFailedAttempts: 3,
  lockoutMs: 600_000,
  maxActiveCalls: 2,
};
const ENROLLMENT: EnrollmentConfig = {
  minSpeechMs: 3000,
  maxSpeechMs: 12_000,
  matchThreshold: 0.82,
  listenTimeoutMs: 20_000,
  connectTimeoutMs: 5000,
};

export interface ToyServiceOptions {
  readonly verification?: Partial<VerificationConfig>;
  readonly enrollment?: Partial<EnrollmentConfig>;
  readonly embedder?: ToyEmbedder;
  /** Replaces parts by the test's own. */
  readonly parts?: Partial<EnrollmentDeps>;
}

/** One verification of a live call, under way. */
export interface ToyVerification {
  readonly call: ToyCall;
  readonly asker: AbortController;
  readonly result: Promise<VerificationResult>;
}

export class ToyService {
  readonly detector = new ToyDetector();
  readonly embedder: ToyEmbedder;
  readonly metrics = new Metrics();
  readonly shutdown = new AbortController();
  readonly work: WorkLimit;
  readonly recordings = new WorkLimit({ max: 4, what: 'recordings', retryAfterSeconds: 2 });
  readonly enrollment: Enrollment;
  readonly verification: Verification;
  readonly verificationConfig: VerificationConfig;
  readonly scorer = toyScorer();
  readonly logger: Logger;
  /** Everything logged, as text. */
  logs = '';
  /** The next call that is asked for; each is dialled once. */
  nextCall = new ToyCall();
  dialled = 0;

  constructor(store: AuthStore, options: ToyServiceOptions = {}) {
    this.embedder = options.embedder ?? new ToyEmbedder();
    const config = { ...VERIFICATION, ...options.verification };
    this.verificationConfig = config;
    this.logger = createLogger('trace', {
      write: (line) => {
        this.logs += line;
      },
    });
    this.work = new WorkLimit({
      max: config.maxActiveCalls,
      what: 'enrollments and verifications',
      retryAfterSeconds: 5,
      onChange: (active) => this.metrics.activeCalls.set(active),
    });
    const parts = {
      store,
      embedder: this.embedder,
      detector: this.detector,
      scorer: this.scorer,
      sources: {
        vapiListen: () => {
          this.dialled++;
          return this.nextCall;
        },
      },
      fetcher: { fetch: () => Promise.reject(new VoiceAuthError('AudioDownloadError', 'The download failed')) },
      decoder: { decode: (bytes: Uint8Array) => Promise.resolve(decode(bytes)) },
      work: this.work,
      recordings: this.recordings,
      metrics: this.metrics,
      logger: this.logger,
      shutdown: this.shutdown.signal,
      ...options.parts,
    };
    const recorder = new AttemptRecorder({ ...parts, config, modelId: this.embedder.modelId });
    this.enrollment = new Enrollment({ ...parts, config: { ...ENROLLMENT, ...options.enrollment }, recorder });
    this.verification = new Verification({ ...parts, config });
  }

  /** Enrolls `userId` with an upload of `samples` (or so many seconds of the voice at an angle). */
  enroll(userId: string, voice: Voice, changes: Partial<EnrollmentRequest> = {}): Promise<EnrollmentResult> {
    return this.enrollment.enroll({
      userId,
      phone: undefined,
      consentReference: undefined,
      source: { kind: 'upload', bytes: encode(samplesOf(voice)), channel: undefined },
      correlationId: `enroll-${randomUUID()}`,
      callId: undefined,
      actor: 'test-key',
      signal: new AbortController().signal,
      ...changes,
    });
  }

  /** Verifies `userId` against an uploaded recording. */
  verifyUpload(userId: string, voice: Voice, changes: Partial<VerificationRequest> = {}): Promise<VerificationResult> {
    return this.verification.verify({
      userId,
      source: { kind: 'upload', bytes: encode(samplesOf(voice)), channel: undefined },
      threshold: undefined,
      correlationId: `verify-${randomUUID()}`,
      callId: undefined,
      signal: new AbortController().signal,
      ...changes,
    });
  }

  /** Starts verifying `userId` on a call that the test then plays; resolves once the call is being listened to. */
  async verifyCall(userId: string, changes: Partial<VerificationRequest> = {}): Promise<ToyVerification> {
    const call = new ToyCall();
    this.nextCall = call;
    const asker = new AbortController();
    const result = this.verification.verify({
      userId,
      source: { kind: 'listen_url', listenUrl: LISTEN_URL, maxSeconds: undefined },
      threshold: undefined,
      correlationId: `verify-${randomUUID()}`,
      callId: 'call-0001',
      signal: asker.signal,
      ...changes,
    });
    // Awaited by the test; until then a failure is nobody's fault.
    result.catch(() => undefined);
    await Promise.race([call.opened, result.catch(() => undefined)]);
    return { call, asker, result };
  }

  /** The sum of a counter or gauge over all labels that match. */
  async count(name: string, labels: Record<string, string> = {}): Promise<number> {
    const metric = await this.metrics.registry.getSingleMetric(`voice_auth_${name}`)?.get();
    return (metric?.values ?? [])
      .filter((value) => Object.entries(labels).every(([label, wanted]) => value.labels[label] === wanted))
      .reduce((sum, { value }) => sum + value, 0);
  }
}

/** Samples, or so many seconds of the voice at an angle. */
export type Voice = Float32Array | { readonly degrees: number; readonly seconds: number };

export function samplesOf(voice: Voice): Float32Array {
  if (voice instanceof Float32Array) return voice;
  return toySpeech(voice.degrees, Math.ceil((voice.seconds * TOY_RATE_HZ) / TOY_FRAME_SAMPLES));
}

/** Plays `voice` into a call, a few frames at a time, with time for what follows from each. */
export async function play(call: ToyCall, voice: Voice, track: 'caller' | 'mixed' = 'caller'): Promise<void> {
  const samples = samplesOf(voice);
  for (let at = 0; at < samples.length && !call.stopped; at += 2048) {
    call.say(samples.subarray(at, at + 2048), track);
    await settled();
  }
}

/** `target` with some methods replaced; the others are its own. */
export function replacing<T extends object>(target: T, changes: Partial<T>): T {
  return new Proxy(target, {
    get: (_, name) => {
      const value: unknown = Reflect.get(changes, name) ?? Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function encode(samples: Float32Array): Uint8Array {
  return new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength).slice();
}

function decode(bytes: Uint8Array): DecodedRecording {
  return { channels: [new Float32Array(bytes.slice().buffer)], sampleRateHz: TOY_RATE_HZ, format: 'wav/float' };
}
