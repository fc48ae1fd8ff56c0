/**
 * A stretch of a call that is judged as one: the caller's speech in it, and the looks taken for whoever is claimed. Once
 * somebody has been told that it is not that person, or a voiceprint was made, that speech is spent for them, and what was
 * said too long ago says nothing about who holds the phone now: a question then begins a new chapter.
 */
import type { VerificationConfig } from '../../config/config.js';
import type { Metrics } from '../../observability/metrics.js';
import { CallerSpeech } from '../caller-speech/caller-speech.js';
import { isMixed, MIXED_ENOUGH_MS } from '../caller-speech/listen-to-call.js';
import { SpeechEmbedding } from '../caller-speech/speech-embedding.js';
import type { VoiceAuthError } from '../errors.js';
import type { EnrolledUser, Voiceprint } from '../ports/auth-store.js';
import type { InferenceOptions, SpeakerEmbedder, SpeechDetector } from '../ports/speaker-model.js';
import type { SpeakerScorer } from '../scoring/scorer.js';
import { CallLooks } from '../verification/call-looks.js';
import { lookRule } from '../verification/claim.js';
import type { DriftMonitor } from '../verification/drift-monitor.js';
import { SampleLooks } from '../verification/sample-looks.js';

/** Who is claimed, and how sure one must be. */
export interface ExaminedClaim {
  readonly user: EnrolledUser;
  readonly voiceprint: Voiceprint;
  readonly threshold: number;
}

export interface CallChapterDeps {
  readonly config: VerificationConfig;
  readonly embedder: SpeakerEmbedder;
  readonly detector: SpeechDetector;
  readonly scorer: SpeakerScorer;
  readonly drift?: DriftMonitor;
  readonly metrics: Metrics;
  readonly inference: InferenceOptions;
  /** There is more speech, a look has been taken, or detection has failed. */
  readonly onChange: () => void;
}

interface Claimed {
  readonly claim: ExaminedClaim;
  readonly looks: CallLooks;
}

/** The chapter before, and since when what was kept of its speech belongs to the next one as well (`performance.now()`). */
export interface EarlierChapter {
  readonly chapter: CallChapter;
  readonly keptSince: number;
}

export class CallChapter {
  readonly speech: CallerSpeech;
  /** No more audio comes into it. */
  closed = false;
  /** What detection failed with; the speech before is still there. */
  fault: VoiceAuthError | undefined;
  /** Questions that wait for it to hear more, whoever is claimed. */
  hearers = 0;
  private readonly deps: CallChapterDeps;
  private readonly embedding: SpeechEmbedding;
  private readonly people = new Map<string, Map<number, Claimed>>();
  /** People about whom this speech has told all it has to tell. */
  private readonly spent = new Set<string>();
  private readonly heardBefore: boolean;
  /** Looks taken of some of its speech in the chapter before. */
  private readonly looksBefore: number = 0;

  constructor(deps: CallChapterDeps, earlier?: EarlierChapter) {
    this.deps = deps;
    this.embedding = new SpeechEmbedding(deps.embedder);
    this.speech = new CallerSpeech({
      detector: deps.detector,
      maxSpeechMs: deps.config.maxSpeechMs,
      inference: deps.inference,
      continues: earlier && { speech: earlier.chapter.speech, keptSince: earlier.keptSince },
      onSpeech: () => this.look(),
      onFault: (error) => {
        this.fault = error;
        deps.onChange();
      },
      onDropped: (frames) => deps.metrics.framesDropped.inc({ cause: 'backlog' }, frames),
    });
    this.heardBefore = earlier?.chapter.heardCaller === true;
    if (!earlier || this.speech.netSpeechMs === 0) return;
    // The same words, judged anew, are neither unheard nor a further chance.
    this.spent = new Set(earlier.chapter.spent);
    this.looksBefore = earlier.chapter.looks;
  }

  /** Nobody wants to hear more at present. */
  get rests(): boolean {
    if (this.speech.full) return true;
    return this.hearers === 0 && this.people.size > 0 && this.undecided().length === 0;
  }

  /** Keeps it from resting until the returned function is called: more speech will be wanted. */
  stayAwake(): () => void {
    this.hearers++;
    return () => {
      this.hearers--;
    };
  }

  get looks(): number {
    return this.all().reduce((most, { looks }) => Math.max(most, looks.looks), this.looksBefore);
  }

  get claimed(): boolean {
    return this.people.size > 0;
  }

  /** Of whom it holds templates. */
  get claimedPeople(): readonly string[] {
    return [...this.people.keys()];
  }

  /** Whether any caller audio, in this chapter or one before it, was more than digital silence. */
  get heardCaller(): boolean {
    return this.heardBefore || this.speech.heardCaller;
  }

  /** So much came as a mix of caller and agent that nothing else is to be expected. */
  get mixed(): boolean {
    return this.speech.heardMixedMs >= MIXED_ENOUGH_MS && isMixed(this.speech);
  }

  /** Whether this speech has served to tell somebody about the person, and says nothing about them any more. */
  isSpentOn(userId: string): boolean {
    return this.spent.has(userId);
  }

  /** What was said so far says nothing about the person any more. */
  spendOn(userId: string): void {
    this.spent.add(userId);
  }

  /** Whether any of its speech is from before `time`, as `performance.now()` counts: looks are always at all of it. */
  reachesBackBefore(time: number): boolean {
    return this.speech.firstKeptAt < time;
  }

  /** Whether this claim is decided otherwise than by an accept. */
  hasRefused(claim: ExaminedClaim): boolean {
    const looks = this.looksFor(claim);
    return looks?.latest?.kind === 'decided' && looks.latest.decision !== 'accept';
  }

  /** Claims without a decision yet. */
  undecided(): ExaminedClaim[] {
    return this.all()
      .filter(({ looks }) => !looks.decided)
      .map(({ claim }) => claim);
  }

  /** Takes looks for this claim from now on. */
  claim(claim: ExaminedClaim): CallLooks {
    const { user, threshold } = claim;
    const before = this.looksFor(claim);
    if (before && !before.failed) return before;
    const { embedding, looksBefore } = this;
    const looks = new CallLooks({ ...this.lookOptions(claim), drift: this.deps.drift, embedding, looksBefore });
    const known = this.people.get(user.userId) ?? new Map<number, Claimed>();
    this.people.set(user.userId, known.set(threshold, { claim, looks }));
    this.look();
    return looks;
  }

  /** Looks at this speech as a sample of `wantedMs` for somebody's voiceprint. */
  sampleLooks(claim: ExaminedClaim, wantedMs: number): SampleLooks {
    return new SampleLooks({ ...this.lookOptions(claim), wantedMs });
  }

  /** Takes no more looks for a person who is gone. */
  forget(userId: string): void {
    this.people.delete(userId);
  }

  /** Looks once more at what there is, where that is due. */
  look(): void {
    for (const { looks } of this.all()) looks.lookIfDue(this.speech, this.deps.onChange);
    this.deps.onChange();
  }

  /** Ends the chapter: what was said stays, nothing more comes. */
  close(): void {
    this.closed = true;
    this.speech.stop();
  }

  /** The looks taken for a claim against the voiceprint as it is now. */
  private looksFor({ user, voiceprint, threshold }: ExaminedClaim): CallLooks | undefined {
    const known = this.people.get(user.userId)?.get(threshold);
    return known?.claim.voiceprint.version === voiceprint.version ? known.looks : undefined;
  }

  private lookOptions({ user, voiceprint, threshold }: ExaminedClaim) {
    const { config, embedder, scorer, inference } = this.deps;
    return { embedder, scorer, user, voiceprint, inference, rule: lookRule(threshold, config.minSpeechMs, scorer) };
  }

  private all(): Claimed[] {
    return [...this.people.values()].flatMap((byThreshold) => [...byThreshold.values()]);
  }
}
