/**
 * The calls that this process listens to: begun, kept by leases, ended, forgotten. It answers no questions; see
 * `call-questions.ts`.
 */
import type { CallsConfig } from '../../config/config.js';
import { withCorrelation } from '../../observability/correlation.js';
import { VoiceAuthError } from '../errors.js';
import type { AuthStore } from '../ports/auth-store.js';
import type { CallSource, CallSourceFactory } from '../ports/call-source.js';
import type { CallHold, CallKey, CallStore } from '../ports/call-store.js';
import type { ScheduledTimer } from '../timing/timer-wheel.js';
import { examineClaim } from '../verification/claim.js';
import { callName } from './call-ids.js';
import { CallSession, type CallSessionDeps, type CallSessionEnd } from './call-session.js';
import type { CallFacts } from './calls.js';

export interface CallDeskDeps extends Omit<CallSessionDeps, 'onEnd' | 'acceptFreshMs'> {
  readonly callsConfig: CallsConfig;
  readonly store: AuthStore;
  readonly callStore: CallStore;
  readonly sources: CallSourceFactory;
  /** Name of this process among all that share the store. */
  readonly owner: string;
  /** Told when there is one more call. */
  readonly onCall: () => void;
}

/** An ended call is kept for questions that come late. */
const LINGER_MS = 60_000;
/**
 * After its audio has ended a call that is not known to be over is kept for so long: its end may never be told, or it goes on
 * and an event says where to listen again. Then it is let go of, not ended: that would be final, for all processes.
 */
const QUIET_MS = 120_000;
/** A call that another process listens to is not asked for in the store with every event. */
const FOREIGN_MS = 5_000;
const MAX_FOREIGN = 10_000;

interface Entry {
  readonly session: CallSession;
  /** Of the longest call, or of what is left of this one. */
  timer: ScheduledTimer;
  /** Known to be over, from an event or because the platform that dialled us closed the connection. */
  over: boolean;
}

export class CallDesk {
  private readonly deps: CallDeskDeps;
  private readonly entries = new Map<string, Entry>();
  /** Calls of other processes, until when that need not be looked up again. */
  private readonly foreign = new Map<string, number>();
  private closed = false;

  constructor(deps: CallDeskDeps) {
    this.deps = deps;
  }

  get size(): number {
    return this.entries.size;
  }

  /** Whether one more call would be refused. */
  get isFull(): boolean {
    const replaceable = ({ over, session }: Entry) => over || session.ended;
    return this.entries.size >= this.deps.callsConfig.maxSessions && ![...this.entries.values()].some(replaceable);
  }

  sessions(): CallSession[] {
    return [...this.entries.values()].map(({ session }) => session);
  }

  find(key: CallKey): CallSession | undefined {
    return this.entries.get(callName(key))?.session;
  }

  /** Whether an event of this call could make this process listen to it. */
  canListen(facts: CallFacts): boolean {
    return facts.listenUrl !== undefined || this.find(facts) !== undefined;
  }

  /**
   * Listens to the call unless another process does or it has ended. Throws `Busy`, `ValidationError` or
   * `DatabaseUnavailable`.
   */
  async begin(facts: CallFacts): Promise<void> {
    if (facts.listenUrl === undefined || this.find(facts)?.needsSource === false) return;
    const name = callName(facts);
    if ((this.foreign.get(name) ?? 0) > performance.now()) return;
    // The URL is checked before anything is written.
    const source = this.sourceOf(facts);
    this.requireRoom(name);
    const { callsConfig, callStore, owner } = this.deps;
    const hold = await callStore.beginCall(keyOf(facts), { owner, leaseMs: callsConfig.leaseMs });
    this.hold(facts, hold, source);
  }

  /** After the store has said how the call stands: a session for it, if this process has it. */
  hold(facts: CallFacts, hold: CallHold, source: CallSource | undefined): CallSession | undefined {
    if (hold.tookOver) this.deps.metrics.callTakeovers.inc();
    if (!hold.owned || hold.state === 'ended') {
      if (!hold.owned) this.noteForeign(callName(facts));
      return this.find(facts);
    }
    return this.attach(facts, hold.userId, source);
  }

  /** Makes or finds the session of a call that this process holds, and lets it listen. Throws `Busy`. */
  attach(facts: CallFacts, userId: string | undefined, source: CallSource | undefined): CallSession {
    const name = callName(facts);
    let entry = this.entries.get(name);
    if (!entry) {
      this.requireRoom(name);
      const { logger, callsConfig, timers, onCall } = this.deps;
      const key = keyOf(facts);
      const session = new CallSession(key, {
        ...this.deps,
        acceptFreshMs: callsConfig.acceptFreshMs,
        onEnd: (end) => this.audioEnded(key, end),
      });
      entry = {
        session,
        over: false,
        timer: timers.schedule(callsConfig.maxCallMs, () => this.endSoon(key)),
      };
      this.entries.set(name, entry);
      this.countSessions();
      logger.info({ event: 'call_session', platform: key.platform }, 'call session begun');
      onCall();
    }
    const { session } = entry;
    if (userId !== undefined) session.claimedUserId = userId;
    if (source && !entry.over && session.needsSource) {
      this.keepFor(entry, this.deps.callsConfig.maxCallMs, () => this.endSoon(session.key));
      withCorrelation({ correlationId: facts.correlationId, callId: facts.callId }, () => session.listen(source));
      void this.claimExpected(session, facts.callerNumber);
    }
    return session;
  }

  /** The source that a call's facts name. Throws `ValidationError` for a URL that may not be dialled. */
  sourceOf(facts: CallFacts): CallSource | undefined {
    return facts.listenUrl === undefined ? undefined : this.deps.sources.vapiListen(facts.listenUrl);
  }

  /** The call is over, wherever it is listened to. Throws `DatabaseUnavailable`, after this process has let go of it. */
  async end(key: CallKey): Promise<void> {
    const name = callName(key);
    const entry = this.entries.get(name);
    if (entry && !entry.over) {
      entry.over = true;
      entry.session.hangUp();
      this.deps.timers.cancel(entry.timer);
      entry.timer = this.deps.timers.schedule(LINGER_MS, () => this.forget(name));
    }
    await this.deps.callStore.endCall(key);
  }

  /** Calls that were ended elsewhere, as far as this process does not know it yet. */
  async endAll(keys: readonly CallKey[]): Promise<void> {
    for (const key of keys) if (this.entries.get(callName(key))?.over === false) await this.end(key);
  }

  /** Drops a call that this process holds no more. */
  lose(key: CallKey): void {
    const name = callName(key);
    if (!this.entries.has(name)) return;
    this.deps.logger.warn({ event: 'call_lost', platform: key.platform }, 'another process has the call now');
    this.drop(name);
  }

  /** Drops all calls: questions in progress end, and other processes may have the calls at once. */
  async close(): Promise<void> {
    this.closed = true;
    for (const name of [...this.entries.keys()]) this.drop(name);
    await this.deps.callStore.releaseCalls(this.deps.owner);
  }

  /** The enrolled user of a number: nobody, one, or more than one. Throws `DatabaseUnavailable`. */
  async userOfNumber(number: string | undefined): Promise<string | 'unknown_caller' | 'ambiguous_caller'> {
    const users = number === undefined ? [] : await this.deps.callStore.usersByPhone(number);
    if (users.length > 1) return 'ambiguous_caller';
    return users[0] ?? 'unknown_caller';
  }

  /** Takes looks for whoever is expected to be asked for; when that fails, the question itself will say why. */
  private async claimExpected(session: CallSession, number: string | undefined): Promise<void> {
    const { store, embedder, config, logger } = this.deps;
    try {
      let userId = session.claimedUserId;
      if (userId === undefined) {
        const found = await this.userOfNumber(number);
        if (found === 'unknown_caller' || found === 'ambiguous_caller') return;
        userId = session.claimedUserId ??= found;
      }
      const user = await store.findUser(userId);
      // Somebody else may have been named meanwhile.
      if (!user || session.claimedUserId !== userId) return;
      const claim = examineClaim(user, embedder.modelId);
      if (claim.kind === 'listen') session.claim({ user, voiceprint: claim.voiceprint, threshold: config.threshold });
    } catch (error) {
      logger.warn({ err: error, event: 'claim_failed' }, 'no looks before the question');
    }
  }

  private audioEnded(key: CallKey, end: CallSessionEnd): void {
    const { metrics, logger } = this.deps;
    metrics.callSessionsEnded.inc({ platform: key.platform, end });
    logger.info({ event: 'call_audio_ended', platform: key.platform, end }, 'call audio ended');
    const entry = this.entries.get(callName(key));
    if (!entry || entry.over) return;
    // Platforms that dial us end the audio with the call; VAPI tells of the end by webhook, if it is asked to.
    if (key.platform === 'vapi') this.keepFor(entry, QUIET_MS, () => this.forget(callName(key)));
    else this.endSoon(key);
  }

  /** Ends a call for everybody, if the database is there; if not, its lease will end. */
  private endSoon(key: CallKey): void {
    void this.end(key).catch(() => undefined);
  }

  /** Gives the call up after this time, as told, unless something happens before. */
  private keepFor(entry: Entry, ms: number, giveUp: () => void): void {
    const { timers } = this.deps;
    timers.cancel(entry.timer);
    entry.timer = timers.schedule(ms, giveUp);
  }

  private requireRoom(name: string): void {
    if (this.closed) throw new VoiceAuthError('Busy', 'The service is shutting down', { retryAfterSeconds: 1 });
    if (this.entries.has(name) || this.entries.size < this.deps.callsConfig.maxSessions) return;
    const ended =
      [...this.entries].find(([, { over }]) => over) ?? [...this.entries].find(([, { session }]) => session.ended);
    if (!ended) throw new VoiceAuthError('Busy', 'Too many calls at once', { retryAfterSeconds: 5 });
    this.forget(ended[0]);
  }

  private noteForeign(name: string): void {
    this.foreign.delete(name);
    if (this.foreign.size >= MAX_FOREIGN) {
      const oldest = this.foreign.keys().next();
      if (!oldest.done) this.foreign.delete(oldest.value);
    }
    this.foreign.set(name, performance.now() + Math.min(FOREIGN_MS, this.deps.callsConfig.leaseMs));
  }

  /** The end of a call's time here: what is said of it later is said without what was heard. */
  private forget(name: string): void {
    const entry = this.entries.get(name);
    if (!entry) return;
    this.drop(name);
    this.deps.callStore.releaseCalls(this.deps.owner, entry.session.key).catch((error: unknown) => {
      this.deps.logger.warn({ err: error }, 'a call could not be let go of; its lease will end');
    });
  }

  private drop(name: string): void {
    const entry = this.entries.get(name);
    this.deps.timers.cancel(entry?.timer);
    entry?.session.dispose();
    this.entries.delete(name);
    this.countSessions();
  }

  private countSessions(): void {
    this.deps.metrics.callSessions.set(this.entries.size);
  }
}

function keyOf({ platform, callId }: CallKey): CallKey {
  return { platform, callId };
}
