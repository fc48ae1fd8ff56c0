/** The enrollment use case: listen, check, embed, compare with what is there, write. */
import { randomUUID } from 'node:crypto';
import type { EnrollmentConfig } from '../../config/config.js';
import { withSpan } from '../../observability/tracing.js';
import { CallerSpeech, type HeardSpeech } from '../caller-speech/caller-speech.js';
import { listen } from '../caller-speech/listen.js';
import type { ListeningDeps } from '../caller-speech/listening-deps.js';
import { SpeechEmbedding } from '../caller-speech/speech-embedding.js';
import { accountLocked, asVoiceAuthError, type ErrorCode, VoiceAuthError } from '../errors.js';
import type { EnrolledUser, EnrollmentRecord, VoiceSample } from '../ports/auth-store.js';
import type { InferenceOptions } from '../ports/speaker-model.js';
import { scoreFromFmr } from '../scoring/calibration.js';
import { cosine, poolEmbeddings } from '../scoring/embedding.js';
import { linkSignals } from '../timing/linked-signal.js';
import { type AttemptRecorder, attemptSourceOf } from '../verification/attempt-recorder.js';
import { lockOf, modelMismatch } from '../verification/claim.js';
import type { EnrollmentRequest, EnrollmentResult, EnrollmentUseCase } from './enrollment.js';
import { requireEnrollmentQuality } from './enrollment-quality.js';

export interface EnrollmentDeps extends ListeningDeps {
  readonly config: EnrollmentConfig;
  /** For further samples that do not match. */
  readonly recorder: AttemptRecorder;
}

/** Samples kept per voiceprint. The first one stays as its anchor (see `centroidOf`); of the others the oldest makes room. */
const MAX_SAMPLES = 5;

/** Refusals that a sample meets which is there already. */
const MAY_BE_SAVED: ReadonlySet<ErrorCode> = new Set(['EnrollmentConflict', 'AccountLockedError']);

export class Enrollment implements EnrollmentUseCase {
  private readonly deps: EnrollmentDeps;

  constructor(deps: EnrollmentDeps) {
    this.deps = deps;
  }

  async enroll(request: EnrollmentRequest): Promise<EnrollmentResult> {
    const { metrics } = this.deps;
    try {
      const result = await this.deps.work.run(() =>
        withSpan('enrollment', { 'voice_auth.source': request.source.kind }, () => this.run(request)),
      );
      metrics.enrollments.inc({ outcome: 'enrolled' });
      metrics.netSpeech.observe({ operation: 'enrollment' }, result.netSpeechMs / 1000);
      return result;
    } catch (error) {
      metrics.enrollments.inc({ outcome: asVoiceAuthError(error).code });
      throw error;
    }
  }

  private async run(request: EnrollmentRequest): Promise<EnrollmentResult> {
    const startedAt = performance.now();
    const { store, embedder } = this.deps;
    const { persist = (work) => work() } = request;
    const before = await persist(() => store.findUser(request.userId));
    const replaced = foreignModel(before, embedder.modelId);
    if (replaced !== undefined && !request.replaceModel) throw modelMismatch(replaced, embedder.modelId);
    refuseOtherPhone(before, request.phone);
    const taken = before?.samples.find(({ id }) => id === request.sampleId);
    if (before && taken) {
      const { length } = before.samples;
      return { score: 1, samples: length, netSpeechMs: taken.netSpeechMs, modelId: embedder.modelId };
    }
    refuseLocked(before);
    const sample = await this.takeSample(request, before);
    // With embeddings of another model nothing can be compared: the sample begins a voiceprint of its own.
    const comparable = replaced === undefined ? before : undefined;
    const score = comparable ? await this.agreement(request, sample, { before: comparable, startedAt }) : 1;
    // Samples are compared and pooled with what was read above; the version makes sure that nothing came in between.
    const kept = keptSamples(comparable?.samples ?? []);
    const all = [...kept, sample];
    const record: EnrollmentRecord = {
      userId: request.userId,
      phone: request.phone,
      phoneMustBeFree: request.phoneMustBeFree,
      consentReference: request.consentReference,
      modelId: embedder.modelId,
      expectedVersion: before?.voiceprint?.version ?? 0,
      centroid: centroidOf(all),
      newSample: sample,
      keptSampleIds: kept.map(({ id }) => id),
      replacesModelId: replaced,
      netSpeechMs: all.reduce((total, { netSpeechMs }) => total + netSpeechMs, 0),
      correlationId: request.correlationId,
      actor: request.actor,
    };
    request.beforeSave?.();
    const samples = await persist(() => this.save(record));
    return { score, samples, netSpeechMs: sample.netSpeechMs, modelId: embedder.modelId };
  }

  /**
   * Saves, and returns how many samples there are. What was saved before, by a time that had no answer, is not a conflict, nor
   * is a lock that came after it.
   */
  private async save(record: EnrollmentRecord): Promise<number> {
    const { store } = this.deps;
    try {
      return (await store.saveEnrollment(record)).samples;
    } catch (error) {
      if (!(error instanceof VoiceAuthError) || !MAY_BE_SAVED.has(error.code)) throw error;
      const user = await store.findUser(record.userId);
      const samples = user?.samples ?? [];
      if (samples.some(({ id }) => id === record.newSample.id)) return samples.length;
      refuseLocked(user);
      throw error;
    }
  }

  private async takeSample(request: EnrollmentRequest, user: EnrolledUser | undefined): Promise<VoiceSample> {
    const { signal, unlink } = linkSignals([request.signal, this.deps.shutdown]);
    try {
      const sample = await this.listenAndEmbed(request, user, signal);
      if (!signal.aborted) return sample;
    } catch (error) {
      // Work that was cut short fails in all kinds of ways.
      if (!signal.aborted) throw error;
    } finally {
      unlink();
    }
    throw new VoiceAuthError('Timeout', 'The enrollment was given up before it was complete');
  }

  private async listenAndEmbed(
    request: EnrollmentRequest,
    user: EnrolledUser | undefined,
    signal: AbortSignal,
  ): Promise<VoiceSample> {
    const live = request.source.kind === 'listen_url' || request.source.kind === 'call';
    const inference = { priority: live ? 'live' : 'upload', signal } as const;
    const speech = await this.listen(request, user, inference);
    requireEnrollmentQuality(
      { netSpeechMs: speech.netSpeechMs, heardCaller: speech.heardCaller, quality: speech.qualityReport() },
      { minSpeechMs: this.deps.config.minSpeechMs },
    );
    const embedding = await new SpeechEmbedding(this.deps.embedder).embed(speech.samples(), inference);
    return { id: request.sampleId ?? randomUUID(), embedding, netSpeechMs: Math.round(speech.netSpeechMs) };
  }

  private async listen(
    request: EnrollmentRequest,
    user: EnrolledUser | undefined,
    inference: InferenceOptions & { readonly signal: AbortSignal },
  ): Promise<HeardSpeech> {
    const { config, detector, metrics } = this.deps;
    const { source } = request;
    const { signal } = inference;
    if (source.kind === 'call') {
      const { speech, mixed } = await source.hear({ netSpeechMs: config.minSpeechMs, user, signal });
      if (mixed) throw mixedAudio();
      return speech;
    }
    const fault = new AbortController();
    const speech = new CallerSpeech({
      detector,
      maxSpeechMs: config.maxSpeechMs,
      inference,
      onFault: () => fault.abort(),
      onDropped: (frames) => metrics.framesDropped.inc({ cause: 'backlog' }, frames),
    });
    const end = await listen(source, speech, this.deps, { signal, enough: fault.signal });
    signal.throwIfAborted();
    await speech.finish();
    if (end === 'mixed') throw mixedAudio();
    return speech;
  }

  /**
   * Agreement of a further sample with the voiceprint so far; 1 for a first sample. One that does not match counts as a failed
   * attempt, and how well it matched is not told: enrolling is no way to try voices out.
   */
  private async agreement(
    request: EnrollmentRequest,
    sample: VoiceSample,
    { before, startedAt }: { readonly before: EnrolledUser; readonly startedAt: number },
  ): Promise<number> {
    if (!before.voiceprint) return 1;
    const { scorer, config } = this.deps;
    refuseCopy(sample, before.samples, scorer.calibration.replayCosine);
    const { fmr } = scorer.against(before.voiceprint.centroid).compare(sample.embedding, sample.netSpeechMs);
    const score = scoreFromFmr(fmr);
    // A NaN matches nobody.
    if (score >= config.matchThreshold) return score;
    await this.recordMismatch(request, sample, { before, score, startedAt });
    throw new VoiceAuthError('EnrollmentConflict', 'The sample does not match the voiceprint', {
      details: { check: 'sample_agreement', needed: config.matchThreshold },
    });
  }

  /** Throws what recording throws, unless the attempt was recorded while the call was heard. */
  private async recordMismatch(
    { source, correlationId, callId, persist }: EnrollmentRequest,
    { id, netSpeechMs }: VoiceSample,
    { before, score, startedAt }: { readonly before: EnrolledUser; readonly score: number; readonly startedAt: number },
  ): Promise<void> {
    if (source.kind === 'call' && source.recordsAttempts) return;
    const finding = { decision: 'reject', reason: 'no_match', score, netSpeechMs, looks: 1 } as const;
    const facts = {
      attemptId: id,
      source: source.kind === 'call' ? source.platform : attemptSourceOf(source),
      sourceLabel: source.kind === 'call' ? source.platform : source.kind,
      correlationId,
      callId,
      threshold: this.deps.config.matchThreshold,
      latencyMs: performance.now() - startedAt,
    };
    await this.deps.recorder.record(before, finding, facts, persist);
  }
}

function mixedAudio(): VoiceAuthError {
  return new VoiceAuthError(
    'AudioProcessingError',
    'The stream mixes caller and agent in one channel; a voiceprint cannot be made from it',
    { details: { check: 'mixed_audio' } },
  );
}

/** The model of a voiceprint that is not of the service's model. */
function foreignModel(user: EnrolledUser | undefined, modelId: string): string | undefined {
  return user?.voiceprint && user.voiceprint.modelId !== modelId ? user.voiceprint.modelId : undefined;
}

function refuseLocked(user: EnrolledUser | undefined): void {
  const lockedUntil = lockOf(user);
  if (lockedUntil) throw accountLocked(lockedUntil);
}

function refuseOtherPhone(user: EnrolledUser | undefined, phone: string | undefined): void {
  if (!user || phone === undefined || user.phone === undefined || user.phone === phone) return;
  throw new VoiceAuthError('EnrollmentConflict', 'The user is registered with another phone number');
}

/** The same recording again says nothing new about the voice, and would only weigh more. */
function refuseCopy(sample: VoiceSample, kept: readonly VoiceSample[], replayCosine: number): void {
  if (kept.every(({ embedding }) => cosine(embedding, sample.embedding) < replayCosine)) return;
  throw new VoiceAuthError('EnrollmentConflict', 'The sample is a copy of one that is enrolled already', {
    details: { check: 'sample_copy' },
  });
}

/**
 * Samples count by their length, but the first no less than all others together: what is added later cannot outvote it, so
 * the voiceprint stays at least as near to it as to what was added, and a stranger who is added cannot shut the owner out.
 * That keeps no stranger out: one whose sample was taken for the owner's will be accepted beside the owner.
 */
function centroidOf(samples: readonly VoiceSample[]): Float32Array {
  const added = samples.slice(1).reduce((total, { netSpeechMs }) => total + netSpeechMs, 0);
  return poolEmbeddings(
    samples.map(({ embedding, netSpeechMs }, index) => ({
      embedding,
      weight: index === 0 ? Math.max(netSpeechMs, added) : netSpeechMs,
    })),
  );
}

function keptSamples(samples: readonly VoiceSample[]): readonly VoiceSample[] {
  const [anchor, ...others] = samples;
  return anchor ? [anchor, ...others.slice(-(MAX_SAMPLES - 2))] : [];
}
