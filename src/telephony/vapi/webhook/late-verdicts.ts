/**
 * Verdicts that come after their tool call had to be answered: listening goes on, and when a decision is there it is put
 * into the running call through its control URL, once. One per call is told, and not many run at once. A call that was promised
 * a verdict is told also when the service gives up: it asks again then, and another process answers.
 */
import type { VapiWebhookConfig } from '../../../config/config.js';
import type { CallsUseCase, CallVerificationQuestion } from '../../../domain/calls/calls.js';
import { linkSignals } from '../../../domain/timing/linked-signal.js';
import type { VerificationResult } from '../../../domain/verification/verification.js';
import type { Logger } from '../../../observability/logger.js';
import type { Metrics } from '../../../observability/metrics.js';
import { outcomeOfError, outcomeOfVerification } from './tool-outcomes.js';
import { describeOutcome, isOpen, type ToolOutcome } from './tool-results.js';
import type { ControlMessage, VapiApi } from './vapi-api.js';

export interface LateVerdictDeps {
  readonly config: Pick<VapiWebhookConfig, 'lateVerdict' | 'resultFormat'>;
  readonly calls: Pick<CallsUseCase, 'verify'>;
  readonly api: Pick<VapiApi, 'control'>;
  readonly metrics: Pick<Metrics, 'toolCalls'>;
  readonly logger: Logger;
  readonly shutdown: AbortSignal;
  /** Calls; default 100. */
  readonly maxRunning?: number;
  /** Questions and calls; default 1,000. */
  readonly maxRemembered?: number;
}

const DEADLINE_MS = 120_000;
const MAX_RUNNING = 100;
/** Questions and calls that are known when they are heard of again. */
const MAX_REMEMBERED = 1_000;

interface Running {
  readonly requestId: string;
  readonly stop: AbortController;
  /** Its verdict is recorded, but there is nobody to tell. */
  silent: boolean;
}

export class LateVerdicts {
  readonly #deps: LateVerdictDeps;
  readonly #byCall = new Map<string, Running>();
  readonly #work = new Set<Promise<void>>();
  /** Delivered again they are no new questions. */
  readonly #asked = new Set<string>();
  /** Those that have had their late verdict: the same one delivered again must not bring it again. */
  readonly #begun = new Set<string>();
  /** The newest question of each call. */
  readonly #newest = new Map<string, string>();

  constructor(deps: LateVerdictDeps) {
    this.#deps = deps;
  }

  /**
   * `requestId` is asked in this call. A new question silences what an earlier one still waits for, and the returned function
   * stops that; an earlier one that is delivered again does neither.
   */
  asked(callId: string, requestId: string): () => void {
    const key = keyOf(callId, requestId);
    if (this.#asked.has(key)) return () => undefined;
    this.#asked.add(key);
    forgetOldest(this.#asked, this.#deps.maxRemembered);
    this.#newest.delete(callId);
    this.#newest.set(callId, requestId);
    forgetOldest(this.#newest, this.#deps.maxRemembered);
    return this.silence(callId);
  }

  /** Goes on asking `question`, which was answered `result`, if that makes sense; returns whether a verdict will follow. */
  follow(question: CallVerificationQuestion, result: VerificationResult, controlUrl: string | undefined): boolean {
    const { config, shutdown, maxRunning } = this.#deps;
    const { callId } = question.call;
    if (config.lateVerdict === 'off' || controlUrl === undefined || !isOpen(result)) return false;
    if (this.#byCall.get(callId)?.requestId === question.requestId) return true;
    // A newer question has been asked meanwhile.
    if ((this.#newest.get(callId) ?? question.requestId) !== question.requestId) return false;
    const key = keyOf(callId, question.requestId);
    if (shutdown.aborted || this.#begun.has(key) || this.#work.size >= (maxRunning ?? MAX_RUNNING)) return false;
    this.silence(callId)();
    this.#begun.add(key);
    forgetOldest(this.#begun, this.#deps.maxRemembered);
    const running: Running = { requestId: question.requestId, stop: new AbortController(), silent: false };
    this.#byCall.set(callId, running);
    const work = this.#run(question, controlUrl, running).then((outcome) => {
      if (this.#byCall.get(callId) === running) this.#byCall.delete(callId);
      this.#deps.metrics.toolCalls.inc({ tool: 'late_verdict', outcome });
      this.#deps.logger.info({ event: 'late_verdict', outcome }, 'late verdict');
    });
    this.#work.add(work);
    void work.finally(() => this.#work.delete(work));
    return true;
  }

  /**
   * There is nobody to tell any more: the call is over, or another question is asked in it. What it is about is judged and
   * recorded all the same; the returned function stops that as well.
   */
  silence(callId: string): () => void {
    const running = this.#byCall.get(callId);
    if (!running) return () => undefined;
    this.#byCall.delete(callId);
    running.silent = true;
    return () => running.stop.abort();
  }

  /** Resolves when nothing runs any more. */
  async settled(): Promise<void> {
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  /** Asks and delivers. Never rejects; resolves to a word for metrics. */
  async #run(question: CallVerificationQuestion, controlUrl: string, running: Running): Promise<string> {
    const { calls, shutdown, api, logger } = this.#deps;
    const stop = running.stop.signal;
    const { signal, unlink } = linkSignals([shutdown, stop]);
    const outcome = await calls
      .verify({ ...question, requestId: `${question.requestId}:late`, deadlineMs: DEADLINE_MS, signal })
      .then((answer) => outcomeOfVerification(answer, false), outcomeOfError)
      .finally(unlink);
    if (running.silent) return 'stopped';
    if (isCallOver(outcome)) return 'call_over';
    // Delivery has a time-out of its own, and the shutdown waits for it.
    const delivery = await api.control(controlUrl, this.#messageOf(outcome), stop);
    if (delivery.kind === 'delivered') return 'delivered';
    logger.warn({ event: 'late_verdict_failed', outcome: delivery.outcome }, 'a late verdict could not be delivered');
    return 'undelivered';
  }

  #messageOf(outcome: ToolOutcome): ControlMessage {
    const { lateVerdict, resultFormat } = this.#deps.config;
    if (lateVerdict === 'say') return { kind: 'say', content: spoken(outcome) };
    return { kind: 'message', content: `Late result of verify_caller: ${describeOutcome(outcome, resultFormat)}` };
  }
}

function keyOf(callId: string, requestId: string): string {
  return `${callId} ${requestId}`;
}

function forgetOldest(known: Set<string> | Map<string, string>, most = MAX_REMEMBERED): void {
  if (known.size <= most) return;
  const oldest = known.keys().next();
  if (!oldest.done) known.delete(oldest.value);
}

function isCallOver(outcome: ToolOutcome): boolean {
  if (outcome.kind === 'fault') return outcome.error.code === 'CallNotFoundError';
  return outcome.kind === 'verification' && outcome.result.reason === 'caller_hung_up';
}

/** For the caller's ear. */
function spoken(outcome: ToolOutcome): string {
  const decision = outcome.kind === 'verification' ? outcome.result.decision : undefined;
  if (decision === 'accept') return 'Thank you. I have recognised your voice.';
  if (decision === 'reject' || outcome.kind === 'locked_out') return 'I could not confirm your identity by voice.';
  return 'I still could not recognise your voice.';
}
