/**
 * One call that is listened to from its start: hears the caller, takes looks for whoever is claimed, and so mostly knows the
 * answer before it is asked. Audio exists in memory only, and no more of it than a verification may use.
 *
 * A claim is looked at from the moment it is known. Once every claim is decided the session rests: audio is thrown away
 * unheard until somebody asks for more.
 */
import type { VerificationConfig } from '../../config/config.js';
import type { Logger } from '../../observability/logger.js';
import type { Metrics } from '../../observability/metrics.js';
import { CallerSpeech } from '../caller-speech/caller-speech.js';
import { isMixed, type ListeningEnd, MIXED_ENOUGH_MS } from '../caller-speech/listen-to-call.js';
import { SpeechEmbedding } from '../caller-speech/speech-embedding.js';
import { VoiceAuthError } from '../errors.js';
import type { EnrolledUser, Voiceprint } from '../ports/auth-store.js';
import type { CallEnd, CallSource } from '../ports/call-source.js';
import type { CallKey, CallProgress } from '../ports/call-store.js';
import type { InferenceOptions, SpeakerEmbedder, SpeechDetector } from '../ports/speaker-model.js';
import type { SpeakerScorer } from '../scoring/scorer.js';
import { StateWatch } from '../timing/state-watch.js';
import type { TimerWheel } from '../timing/timer-wheel.js';
import type { Finding } from '../verification/attempt-recorder.js';
import { CallLooks, givenUp, summariseLooks } from '../verification/call-looks.js';
import { lookRule } from '../verification/claim.js';
import type { DriftMonitor } from '../verification/drift-monitor.js';

export interface CallSessionDeps {
  readonly config: VerificationConfig;
  readonly embedder: SpeakerEmbedder;
  readonly detector: SpeechDetector;
  readonly scorer: SpeakerScorer;
  readonly drift?: DriftMonitor;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly timers: TimerWheel;
  /** Told when the audio has ended for good, once per listening. */
  readonly onEnd: (end: CallSessionEnd) => void;
}

export type CallSessionEnd = 'closed' | 'failed' | 'mixed' | 'enough' | 'stopped';

/** Limits of one question. */
export interface QuestionLimits {
  readonly deadlineMs: number;
  /** The asker has left, or the server gives up. */
  readonly signal: AbortSignal;
}

/** After a connection broke off: a call that goes on can be connected to again at once, one that is over cannot. */
const REDIAL_MS = 3_000;
const MAX_REDIALS = 5;
/** People claimed on one call; more is a guesser. */
const MAX_CLAIMS = 4;

export class CallSession {
  readonly key: CallKey;
  /** Whom the call is taken to be of: by announcement or by number. */
  claimedUserId: string | undefined;
  private readonly deps: CallSessionDeps;
  private readonly speech: CallerSpeech;
  private readonly embedding: SpeechEmbedding;
  private readonly inference: InferenceOptions;
  private readonly disposal = new AbortController();
  private readonly claims = new Map<string, CallLooks>();
  /** Decided claims that somebody was told about: asked again, it is a new question with looks of its own. */
  private readonly answered = new WeakSet<CallLooks>();
  private readonly watch: StateWatch;
  private state: 'idle' | 'connecting' | 'listening' | 'ended' = 'idle';
  private stopListening = new AbortController();
  private ending: CallSessionEnd = 'stopped';
  private error: VoiceAuthError | undefined;
  private speechError: VoiceAuthError | undefined;
  private hearers = 0;

  constructor(key: CallKey, deps: CallSessionDeps) {
    this.key = key;
    this.deps = deps;
    this.inference = { priority: 'live', signal: this.disposal.signal };
    this.embedding = new SpeechEmbedding(deps.embedder);
    this.watch = new StateWatch(deps.timers);
    this.speech = new CallerSpeech({
      detector: deps.detector,
      maxSpeechMs: deps.config.maxSpeechMs,
      inference: this.inference,
      onSpeech: () => this.look(),
      onFault: (error) => {
        this.speechError = error;
        this.watch.changed();
      },
      onDropped: (frames) => deps.metrics.framesDropped.inc({ cause: 'backlog' }, frames),
    });
  }

  /** No audio comes any more, and all that came has been judged. */
  get ended(): boolean {
    return this.state === 'ended';
  }

  /** Listening could be begun (again): it was not yet, or the audio ended without the call being known to be over. */
  get needsSource(): boolean {
    return this.state === 'idle' || (this.state === 'ended' && this.ending !== 'stopped' && !this.heardEnough);
  }

  progress(): CallProgress {
    const looks = [...this.claims.values()].reduce((most, claim) => Math.max(most, claim.looks), 0);
    const state = this.state === 'idle' ? 'connecting' : this.state;
    return { ...this.key, state, netSpeechMs: this.speech.netSpeechMs, looks, claimed: this.claims.size > 0 };
  }

  /** Listens to `source` until its audio ends; what was heard before stays. Does nothing while it listens already. */
  listen(source: CallSource): void {
    if (!this.needsSource) return;
    this.state = 'connecting';
    this.error = undefined;
    this.stopListening = new AbortController();
    void this.listenOn(source, this.stopListening.signal).then(
      (end) => this.finish(end),
      (error: unknown) => {
        this.error = asFault(error);
        return this.finish('failed');
      },
    );
  }

  /** The call is over: what was heard is judged, nothing more is. */
  hangUp(): void {
    this.stopListening.abort();
    if (this.state === 'idle') void this.finish('stopped');
    else if (this.ended && this.ending !== 'mixed') this.ending = 'stopped';
  }

  /** Forgets everything; questions in progress end as if the asker had left. */
  dispose(): void {
    this.stopListening.abort();
    this.speech.stop();
    this.disposal.abort();
    this.watch.changed();
  }

  /** Takes looks for this person from now on. Throws `Busy` when too many people were claimed on this call. */
  claim(user: EnrolledUser, voiceprint: Voiceprint, threshold: number): CallLooks {
    const name = `${user.userId} ${voiceprint.version} ${threshold}`;
    const known = this.claims.get(name);
    if (known && !known.failed && !this.answered.has(known)) return known;
    if (!known && this.claims.size >= MAX_CLAIMS) {
      throw new VoiceAuthError('Busy', 'Too many people were claimed on this call', { retryAfterSeconds: 30 });
    }
    const { config, embedder, scorer } = this.deps;
    const looks = new CallLooks({
      embedder,
      scorer,
      user,
      voiceprint,
      rule: lookRule(threshold, config.minSpeechMs, scorer),
      inference: this.inference,
      embedding: this.embedding,
      drift: this.deps.drift,
    });
    this.claims.set(name, looks);
    this.look();
    return looks;
  }

  /**
   * What the call says about a claim: at once when it is decided, else as soon as it is, at the latest at the deadline. Throws
   * `ListenConnectionError` when the call could not be listened to, and what inference throws.
   */
  async verify(
    claim: { readonly user: EnrolledUser; readonly voiceprint: Voiceprint; readonly threshold: number },
    limits: QuestionLimits,
  ): Promise<Finding> {
    const { user, voiceprint, threshold } = claim;
    const looks = this.claim(user, voiceprint, threshold);
    try {
      await this.until(() => looks.decided || looks.failed, limits);
      if (!looks.decided && !this.givenUp(limits)) {
        this.requireHeard();
        await looks.finalLook(this.speech);
      }
      // Somebody who has left is told nothing, so nothing may have been accepted.
      if (this.givenUp(limits)) return givenUp(this.speech, looks);
      return summariseLooks(this.listeningEnd(), this.speech, looks);
    } finally {
      if (looks.decided) this.answered.add(looks);
    }
  }

  /** The caller's speech once there is `wantedMs` of it, or all there is at the deadline or the end. Throws like `verify`. */
  async hear(
    wantedMs: number,
    limits: QuestionLimits,
  ): Promise<{ readonly speech: CallerSpeech; readonly mixed: boolean }> {
    this.hearers++;
    try {
      await this.until(() => this.speech.netSpeechMs >= wantedMs, limits);
      if (this.givenUp(limits)) {
        throw new VoiceAuthError('Timeout', 'The enrollment was given up before it was complete');
      }
      this.requireHeard();
      return { speech: this.speech, mixed: this.ending === 'mixed' || isMixed(this.speech) };
    } finally {
      this.hearers--;
    }
  }

  private get heardEnough(): boolean {
    return this.speech.full || this.ending === 'mixed';
  }

  /** Nobody wants to hear more at present. */
  private get rests(): boolean {
    if (this.speech.full) return true;
    if (this.hearers > 0 || this.claims.size === 0) return false;
    for (const claim of this.claims.values()) if (!claim.decided) return false;
    return true;
  }

  private async listenOn(source: CallSource, signal: AbortSignal): Promise<CallSessionEnd> {
    for (let redials = 0; ; redials++) {
      // Audio that was there before comes back soon or not at all.
      const connectTimeoutMs = this.speech.heardMs > 0 ? REDIAL_MS : this.deps.config.connectTimeoutMs;
      const end = await this.openOnce(source, signal, connectTimeoutMs).catch((error: unknown): CallEnd => {
        if (redials === 0) throw error;
        return { kind: 'closed' };
      });
      if (isMixed(this.speech)) return 'mixed';
      if (signal.aborted || end.kind === 'stopped') return this.speech.full ? 'enough' : 'stopped';
      if (end.kind === 'failed') throw end.error;
      if (end.kind === 'closed' || redials === MAX_REDIALS) return 'closed';
      this.state = 'connecting';
      this.deps.logger.debug({ redials }, 'call audio broke off, connecting again');
    }
  }

  /** Connects and resolves with how the audio ended. */
  private openOnce(source: CallSource, signal: AbortSignal, connectTimeoutMs: number): Promise<CallEnd> {
    return new Promise((resolve, reject) => {
      const stop = new AbortController();
      const both = AbortSignal.any([signal, stop.signal]);
      source
        .open(
          {
            onFrame: (frame) => {
              if (signal.aborted || this.rests) return;
              this.speech.push(frame);
              if (this.speech.heardMixedMs >= MIXED_ENOUGH_MS && isMixed(this.speech)) stop.abort();
            },
            onEnd: resolve,
          },
          { signal: both, connectTimeoutMs },
        )
        .then(() => {
          if (this.state === 'connecting') this.state = 'listening';
          this.watch.changed();
        }, reject);
    });
  }

  private async finish(end: CallSessionEnd): Promise<void> {
    this.ending = isMixed(this.speech) ? 'mixed' : end;
    await this.speech.finish().catch((error: unknown) => {
      this.speechError ??= asFault(error);
    });
    this.state = 'ended';
    this.look();
    this.deps.onEnd(this.ending);
  }

  private look(): void {
    const onLook = () => this.watch.changed();
    for (const claim of this.claims.values()) claim.lookIfDue(this.speech, onLook);
    // A platform that dialled us may end its call with the connection; one that we dialled does not mind.
    if (this.speech.full && this.key.platform === 'vapi') this.stopListening.abort();
    this.watch.changed();
  }

  private givenUp({ signal }: QuestionLimits): boolean {
    return signal.aborted || this.disposal.signal.aborted;
  }

  /** Until `done`, or nothing can change any more, or time is up, or the asker has left. */
  private async until(done: () => boolean, limits: QuestionLimits): Promise<void> {
    const { deadlineMs, signal } = limits;
    const wake = () => this.watch.changed();
    signal.addEventListener('abort', wake);
    try {
      await this.watch.until(
        () => done() || this.givenUp(limits) || this.ended || this.speech.full || this.speechError !== undefined,
        performance.now() + deadlineMs,
      );
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  /** Throws when nothing was heard because nothing could be. */
  private requireHeard(): void {
    if (this.speechError) throw this.speechError;
    if (this.error && this.speech.heardMs === 0 && this.speech.heardMixedMs === 0) throw this.error;
    if (this.state === 'idle' || (this.state === 'connecting' && this.speech.heardMs === 0)) {
      throw new VoiceAuthError('ListenConnectionError', 'The call could not be connected to in time');
    }
  }

  private listeningEnd(): ListeningEnd {
    if (this.ending === 'mixed' || isMixed(this.speech)) return 'mixed';
    return this.ended ? 'closed' : 'deadline';
  }
}

function asFault(error: unknown): VoiceAuthError {
  if (error instanceof VoiceAuthError) return error;
  return new VoiceAuthError('ListenConnectionError', 'The call could not be listened to', { cause: error });
}
