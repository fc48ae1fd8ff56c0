/**
 * One call that is listened to from its start: hears the caller, takes looks for whoever is claimed, and so mostly knows the
 * answer before it is asked. Audio exists in memory only, and no more of it than a verification may use. Once every claim is
 * decided the session rests: audio is thrown away unheard until somebody asks for more.
 */
import type { Logger } from '../../observability/logger.js';
import { isMixed, type ListeningEnd } from '../caller-speech/listen-to-call.js';
import type { HeardCall } from '../enrollment/enrollment.js';
import { isBusy, VoiceAuthError } from '../errors.js';
import type { CallEnd, CallSource } from '../ports/call-source.js';
import type { CallKey, CallProgress } from '../ports/call-store.js';
import { StateWatch } from '../timing/state-watch.js';
import type { TimerWheel } from '../timing/timer-wheel.js';
import { type Finding, nothingHeard } from '../verification/attempt-recorder.js';
import { givenUp, summariseLooks } from '../verification/call-looks.js';
import { CallChapter, type CallChapterDeps, type EarlierChapter, type ExaminedClaim } from './call-chapter.js';
import { ClaimLimit } from './claim-limit.js';
import { CallMoved, inTime, type QuestionLimits } from './question-limits.js';

export interface CallSessionDeps extends Omit<CallChapterDeps, 'inference' | 'onChange'> {
  readonly logger: Logger;
  readonly timers: TimerWheel;
  readonly shutdown: AbortSignal;
  /** How long before a question the caller may have said what is accepted or enrolled. */
  readonly acceptFreshMs: number;
  /** Told when the audio has ended, once per listening. */
  readonly onEnd: (end: CallSessionEnd) => void;
}

export type CallSessionEnd = 'closed' | 'failed' | 'mixed' | 'stopped';

/** After a connection broke off: a call that goes on can be connected to again at once, one that is over cannot. */
const REDIAL_MS = 3_000;
const MAX_REDIALS = 5;

export class CallSession {
  readonly key: CallKey;
  /** Whom the call is taken to be of: by announcement, by name, or by number. */
  claimedUserId: string | undefined;
  private readonly deps: CallSessionDeps;
  private readonly disposal = new AbortController();
  private readonly watch: StateWatch;
  private readonly claims = new ClaimLimit();
  private chapter: CallChapter;
  private state: 'idle' | 'connecting' | 'listening' | 'ended' = 'idle';
  private stopListening = new AbortController();
  private ending: CallSessionEnd = 'stopped';
  private connectionError: VoiceAuthError | undefined;
  /** Where the audio that came so far ends, connection after connection. */
  private audioEndMs = 0;
  /** No audio comes any more, and what came last is being judged. */
  private finishing = false;

  constructor(key: CallKey, deps: CallSessionDeps) {
    this.key = key;
    this.deps = deps;
    this.watch = new StateWatch(deps.timers);
    this.chapter = this.newChapter();
  }

  /** No audio comes any more, and all that came has been judged. */
  get ended(): boolean {
    return this.state === 'ended';
  }

  /** Listening could be begun (again): it was not yet, or the audio ended without the call being known to be over. */
  get needsSource(): boolean {
    return this.state === 'idle' || (this.ended && (this.ending === 'closed' || this.ending === 'failed'));
  }

  progress(): CallProgress & { readonly people: readonly string[] } {
    const { speech, looks, claimed, claimedPeople: people } = this.chapter;
    const state = this.state === 'idle' ? 'connecting' : this.state;
    return { ...this.key, state, netSpeechMs: speech.netSpeechMs, looks, claimed, people };
  }

  /** Listens to `source` until its audio ends; what was heard before stays. Does nothing while it listens already. */
  listen(source: CallSource): void {
    if (!this.needsSource) return;
    this.state = 'connecting';
    this.connectionError = undefined;
    this.stopListening = new AbortController();
    const { signal } = this.stopListening;
    void this.listenOn(source, signal).then(
      (end) => this.finish(end),
      (error: unknown) => {
        if (signal.aborted) return this.finish('stopped');
        this.connectionError = asFault(error);
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

  /** Forgets everything; questions in progress end with `CallMoved`. */
  dispose(): void {
    this.stopListening.abort();
    this.chapter.close();
    this.disposal.abort();
    this.watch.changed();
  }

  /** Takes looks for this person from now on. Throws `CallConflict` when too many people were claimed on this call. */
  claim(claim: ExaminedClaim): void {
    this.claims.count(claim.user.userId, claim.threshold);
    this.chapter.claim(claim);
  }

  /** Takes no more looks for a person who is gone. */
  forget(userId: string): void {
    this.chapter.forget(userId);
    this.claims.forget(userId);
    if (this.claimedUserId === userId) this.claimedUserId = undefined;
  }

  /** What was said so far has served for this person: they are judged by what comes. */
  spendOn(userId: string): void {
    this.chapter.spendOn(userId);
  }

  /**
   * What the call says about a claim: at once when it is decided, else as soon as it is, at the latest at the deadline. Throws
   * `ListenConnectionError` when the call could not be listened to, what inference throws, `CallMoved`, and `CallConflict`
   * when too many people were claimed on this call.
   */
  async verify(claim: ExaminedClaim, limits: QuestionLimits): Promise<Finding> {
    const { chapter, finding } = await this.judge(claim, limits);
    return this.told(finding, chapter, claim);
  }

  /**
   * Like `verify`, for speech to be added to the voiceprint: an accept is one of all that is in `heard`, which is too short
   * when no more was said in time. Undefined `heard` = no accept.
   */
  async verifySample(
    claim: ExaminedClaim,
    wantedMs: number,
    limits: QuestionLimits,
  ): Promise<{ readonly finding: Finding; readonly heard: HeardCall | undefined }> {
    const { chapter, finding } = await this.judge(claim, limits);
    if (finding.decision !== 'accept') return { finding: this.told(finding, chapter, claim), heard: undefined };
    const looks = chapter.sampleLooks(claim, wantedMs);
    const failed = (found: Finding) => {
      const all = { ...found, looks: finding.looks + found.looks };
      return { finding: this.told(all, chapter, claim), heard: undefined };
    };
    const rest = chapter.stayAwake();
    // After a look that found the pool busy: the next speech starts another.
    let retryAfterMs = 0;
    try {
      while (!looks.complete) {
        const due = () => chapter.speech.netSpeechMs >= looks.nextLookMs && chapter.speech.netSpeechMs > retryAfterMs;
        await this.until(chapter, due, limits);
        if (limits.signal.aborted) break;
        const { netSpeechMs } = chapter.speech;
        const final = netSpeechMs < looks.nextLookMs;
        if (final && netSpeechMs < looks.leastMs) break;
        const mayComeAgain = due();
        const verdict = await this.inTime(looks.look(chapter.speech, final), limits).catch((error: unknown) => {
          if (mayComeAgain && isBusy(error)) return undefined;
          throw error;
        });
        if (limits.signal.aborted) break;
        if (!verdict) retryAfterMs = netSpeechMs;
        if (verdict?.kind !== 'decided' || verdict.decision === 'accept') continue;
        const { decision, reason, score } = verdict;
        return failed({ decision, reason, score, netSpeechMs, looks: looks.looks });
      }
      if (limits.signal.aborted) return failed(givenUp(chapter.speech, looks, this.deps.shutdown));
      return { finding, heard: { speech: looks.sampleOf(chapter.speech), mixed: isMixed(chapter.speech) } };
    } finally {
      rest();
    }
  }

  /**
   * The caller's speech, for this person, once there is `wantedMs` of it, or all there is at the deadline or the end; what was
   * said long before the question or is said after that is none of it. Throws like `verify`.
   */
  async hear(userId: string, wantedMs: number, limits: QuestionLimits): Promise<HeardCall> {
    const freshSince = this.freshSince();
    for (;;) {
      const chapter = await this.chapterFor(userId, { freshSince, limits });
      const enough = () => chapter.speech.netSpeechMs >= wantedMs;
      const rest = chapter.stayAwake();
      try {
        await this.until(chapter, enough, limits);
      } finally {
        rest();
      }
      if (limits.signal.aborted) {
        throw new VoiceAuthError('Timeout', 'The enrollment was given up before it was complete');
      }
      // Another question has turned the page meanwhile: what comes is in the new chapter.
      if (chapter.closed && !enough()) continue;
      this.requireHeard(chapter);
      const { heardCaller } = chapter;
      return { speech: { ...chapter.speech.excerpt(), heardCaller }, mixed: isMixed(chapter.speech) };
    }
  }

  /** Listens until the claim is decided, and says from which speech. */
  private async judge(
    claim: ExaminedClaim,
    limits: QuestionLimits,
  ): Promise<{ readonly chapter: CallChapter; readonly finding: Finding }> {
    const { userId } = claim.user;
    const freshSince = this.freshSince();
    for (;;) {
      // A reject opens nothing, however old the speech.
      const mayBeOld = () => this.chapter.hasRefused(claim);
      const chapter = await this.chapterFor(userId, { freshSince, limits, mayBeOld });
      this.claims.count(userId, claim.threshold);
      const looks = chapter.claim(claim);
      await this.until(chapter, () => looks.decided || looks.failed, limits);
      // Another question has turned the page meanwhile: what comes is in the new chapter.
      if (chapter.closed && !looks.decided && !limits.signal.aborted) continue;
      if (!looks.decided && !limits.signal.aborted) {
        this.requireHeard(chapter);
        await this.inTime(looks.finalLook(chapter.speech), limits);
      }
      if (limits.signal.aborted) return { chapter, finding: givenUp(chapter.speech, looks, this.deps.shutdown) };
      const { netSpeechMs } = chapter.speech;
      const heard = { netSpeechMs, heardCaller: chapter.heardCaller };
      return { chapter, finding: summariseLooks(this.listeningEnd(chapter), heard, looks) };
    }
  }

  /** Speech from before it serves no question that comes now, as `performance.now()` counts. */
  private freshSince(): number {
    return performance.now() - this.deps.acceptFreshMs;
  }

  /**
   * The chapter that a question about this person is answered from: nothing in it is spent for them or, unless `mayBeOld`,
   * from before `freshSince`. What is made of old and new speech together could be of the old alone.
   */
  private async chapterFor(
    userId: string,
    about: { readonly freshSince: number; readonly limits: QuestionLimits; readonly mayBeOld?: () => boolean },
  ): Promise<CallChapter> {
    const { freshSince, limits, mayBeOld } = about;
    const useless = () => this.chapter.isSpentOn(userId) || this.chapter.fault !== undefined;
    const stale = () => this.chapter.reachesBackBefore(freshSince) && !mayBeOld?.();
    // What was said last would be lost between the chapters: it is judged first. Others may have turned the page by then.
    if (!useless() && stale())
      await this.until(this.chapter, () => this.chapter.speech.caughtUp && !this.finishing, limits);
    if (useless()) this.turnPage();
    if (stale()) this.turnPage(freshSince);
    return this.chapter;
  }

  /** What is told of a finding. Whoever acts on an accept may ask for themselves; anything else is not told twice. */
  private told(finding: Finding, chapter: CallChapter, { user: { userId } }: ExaminedClaim): Finding {
    if (finding.decision === 'accept' || finding.reason === 'deadline') return finding;
    // Another question has been told meanwhile: what was said once must not count twice against the caller.
    if (chapter.isSpentOn(userId)) return nothingHeard('inconclusive', 'insufficient_speech');
    if (finding.decision === 'reject' || finding.reason === 'low_quality') chapter.spendOn(userId);
    return finding;
  }

  private newChapter(earlier?: EarlierChapter): CallChapter {
    const deps: CallChapterDeps = {
      ...this.deps,
      inference: { priority: 'live', signal: this.disposal.signal },
      onChange: () => this.watch.changed(),
    };
    return new CallChapter(deps, earlier);
  }

  /** Begins a new chapter, with what was kept since `keptSince`; people who are not decided on are looked at in it. */
  private turnPage(keptSince = Number.POSITIVE_INFINITY): void {
    const { chapter } = this;
    chapter.close();
    this.chapter = this.newChapter({ chapter, keptSince });
    for (const claim of chapter.undecided()) this.chapter.claim(claim);
    this.watch.changed();
  }

  private async listenOn(source: CallSource, signal: AbortSignal): Promise<CallSessionEnd> {
    for (let redials = 0; ; redials++) {
      // Audio that was there before comes back soon or not at all.
      const connectTimeoutMs = this.chapter.speech.heardMs > 0 ? REDIAL_MS : this.deps.config.connectTimeoutMs;
      const end = await this.openOnce(source, signal, connectTimeoutMs).catch((error: unknown): CallEnd => {
        if (redials === 0) throw error;
        return { kind: 'closed' };
      });
      if (this.chapter.mixed) return 'mixed';
      if (signal.aborted || end.kind === 'stopped') return 'stopped';
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
      // Every connection counts time from its own beginning.
      const connectedAtMs = this.audioEndMs;
      const onFrame: Parameters<CallSource['open']>[0]['onFrame'] = (received) => {
        if (signal.aborted || stop.signal.aborted) return;
        const frame = { ...received, startMs: connectedAtMs + received.startMs };
        this.audioEndMs = frame.startMs + (frame.samples.length / frame.sampleRateHz) * 1000;
        // What detection failed on is over; the voice that goes on is heard afresh.
        if (this.chapter.fault && this.chapter.hearers === 0) this.turnPage();
        if (this.chapter.rests || this.chapter.mixed) return;
        this.chapter.speech.push(frame);
        if (!this.chapter.mixed) return;
        this.watch.changed();
        // A platform that dialled us may end its call with the connection; one that we dialled does not mind.
        if (this.key.platform === 'vapi') stop.abort();
      };
      source
        .open({ onFrame, onEnd: resolve }, { signal: AbortSignal.any([signal, stop.signal]), connectTimeoutMs })
        .then(() => {
          if (this.state === 'connecting') this.state = 'listening';
          this.watch.changed();
        }, reject);
    });
  }

  private async finish(end: CallSessionEnd): Promise<void> {
    const { chapter } = this;
    this.finishing = true;
    // What could not be judged any more is lost; what was judged before still counts.
    await chapter.speech.finish().catch((error: unknown) => {
      this.deps.logger.debug({ err: error }, 'the last audio of a call could not be judged');
    });
    this.finishing = false;
    this.ending = isMixed(chapter.speech) ? 'mixed' : end;
    this.state = 'ended';
    this.chapter.look();
    this.deps.onEnd(this.ending);
  }

  /** Until `done`, or nothing can change any more, or time is up, or nobody waits. Throws `CallMoved`. */
  private async until(
    chapter: CallChapter,
    done: () => boolean,
    { deadlineMs, signal }: QuestionLimits,
  ): Promise<void> {
    const wake = () => this.watch.changed();
    signal.addEventListener('abort', wake);
    const over = () =>
      done() ||
      signal.aborted ||
      this.disposal.signal.aborted ||
      this.ended ||
      chapter.closed ||
      chapter.mixed ||
      chapter.speech.full ||
      chapter.fault !== undefined;
    try {
      await this.watch.until(over, deadlineMs);
    } finally {
      signal.removeEventListener('abort', wake);
    }
    if (this.disposal.signal.aborted) throw new CallMoved();
  }

  /** What a look comes to. Throws `Timeout` when that takes until well after the deadline, and `CallMoved`. */
  private inTime<T>(look: Promise<T>, limits: QuestionLimits): Promise<T> {
    return inTime(look, limits, { timers: this.deps.timers, moved: this.disposal.signal });
  }

  /** Throws when nothing was heard because nothing could be. */
  private requireHeard({ speech, fault }: CallChapter): void {
    if (fault && speech.netSpeechMs < this.deps.config.minSpeechMs) throw fault;
    const nothing = speech.heardMs === 0 && speech.heardMixedMs === 0;
    if (this.connectionError && nothing) throw this.connectionError;
    if (this.state === 'idle' || (this.state === 'connecting' && nothing)) {
      throw new VoiceAuthError('ListenConnectionError', 'The call could not be connected to in time');
    }
  }

  private listeningEnd({ speech }: CallChapter): ListeningEnd {
    if (this.ending === 'mixed' || isMixed(speech)) return 'mixed';
    return this.ended ? 'closed' : 'deadline';
  }
}

function asFault(error: unknown): VoiceAuthError {
  if (error instanceof VoiceAuthError) return error;
  return new VoiceAuthError('ListenConnectionError', 'The call could not be listened to', { cause: error });
}
