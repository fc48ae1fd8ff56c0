/**
 * Results of tool calls as VAPI wants them (strings without line breaks) and as a language model can use them: a stable
 * word first, then what it means and what to do. Scores are in the JSON form only: an agent may repeat what it reads to the
 * very caller who is trying to match a voice.
 */
import { roundScore, toSeconds } from '../../../domain/answer-numbers.js';
import type { CallStatus, UnclearCaller } from '../../../domain/calls/calls.js';
import type { EnrollmentResult } from '../../../domain/enrollment/enrollment.js';
import type { VoiceAuthError } from '../../../domain/errors.js';
import { REASON_MEANINGS, type Reason } from '../../../domain/verification/decision.js';
import type { VerificationResult } from '../../../domain/verification/verification.js';

export type ResultFormat = 'text' | 'json';

/** What came of a tool call. */
export type ToolOutcome =
  | {
      readonly kind: 'verification';
      readonly userId: string;
      readonly result: VerificationResult;
      /** Listening goes on and the verdict will be delivered into the call. */
      readonly follows: boolean;
    }
  | { readonly kind: 'enrollment'; readonly userId: string; readonly result: EnrollmentResult }
  | UnclearCaller
  | { readonly kind: 'consent_required' }
  | { readonly kind: 'locked_out'; readonly retryAfterSeconds: number | undefined }
  | { readonly kind: 'status'; readonly status: CallStatus | undefined }
  | { readonly kind: 'fault'; readonly error: VoiceAuthError };

/** One entry of the reply; `error` instead of `result` when there is none because of a fault. */
export type ToolResult =
  | { readonly name: string; readonly toolCallId: string; readonly result: string }
  | { readonly name: string; readonly toolCallId: string; readonly error: string };

const ONE_SIGNAL = 'voice is one signal, ask for another factor before anything sensitive is disclosed or changed';
const NOTHING_YET = 'do not disclose or change anything, offer another way to verify';
const ASK_AGAIN = 'let the caller say a few more sentences, then call verify_caller again';
const VERDICT_FOLLOWS = 'listening goes on and the verdict follows by itself when the caller has said more';

/** Reasons that more speech of the caller can change. */
const CHANGEABLE: readonly Reason[] = ['insufficient_speech', 'no_caller_audio', 'deadline'];

/** Longest text of a result; messages of errors are far shorter. */
const MAX_TEXT_LENGTH = 1_000;

/** Whether a verification has to be answered without a verdict that more speech could bring. */
export function isOpen(result: VerificationResult): boolean {
  return result.decision === 'inconclusive' && CHANGEABLE.includes(result.reason);
}

/** The entry of the reply for one tool call. */
export function toolResult(
  toolCall: { readonly id: string; readonly name: string },
  outcome: ToolOutcome,
  format: ResultFormat,
): ToolResult {
  const told = describeOutcome(outcome, format);
  const answered = { name: toolCall.name, toolCallId: toolCall.id };
  return outcome.kind === 'fault' ? { ...answered, error: told } : { ...answered, result: told };
}

/** An outcome on one line. */
export function describeOutcome(outcome: ToolOutcome, format: ResultFormat): string {
  return format === 'json' ? JSON.stringify(factsOf(outcome)) : oneLine(sentenceOf(outcome));
}

/** Word of an outcome for metrics and logs: one of few. */
export function labelOf(outcome: ToolOutcome): string {
  switch (outcome.kind) {
    case 'verification':
      return outcome.result.decision;
    case 'enrollment':
      return 'enrolled';
    case 'status':
      return outcome.status?.state ?? 'unknown_call';
    case 'fault':
      return outcome.error.code;
    default:
      return outcome.kind;
  }
}

/** Text without line breaks or other control characters, of bounded length. */
export function oneLine(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').trim();
  return line.length > MAX_TEXT_LENGTH ? `${line.slice(0, MAX_TEXT_LENGTH - 1)}…` : line;
}

function sentenceOf(outcome: ToolOutcome): string {
  switch (outcome.kind) {
    case 'verification':
      return verdictSentence(outcome);
    case 'enrollment':
      return (
        `enrolled: ${seconds(outcome.result.netSpeechMs)} s of the caller's speech added, ` +
        `the voiceprint has ${outcome.result.samples} sample(s); from now on the caller can be verified by voice as user ` +
        outcome.userId
      );
    case 'unknown_caller':
      return `unknown_caller: nobody is enrolled with the caller's number; ask who is calling and pass userId, or ${NOTHING_YET}`;
    case 'ambiguous_caller':
      return `ambiguous_caller: several people are enrolled with the caller's number; ask who is calling and pass userId`;
    case 'consent_required':
      return 'consent_required: nothing was enrolled; ask the caller for consent to store a voiceprint and, if they agree, call enroll_caller with consent true';
    case 'locked_out':
      return `locked_out: too many failed attempts, voice verification is locked${waiting(outcome.retryAfterSeconds)}; ${NOTHING_YET}`;
    case 'status':
      return statusSentence(outcome.status);
    case 'fault':
      return `error: ${outcome.error.code} ${outcome.error.message}`;
  }
}

/** Names the person: asked about one and then about another, an agent must not take one verdict for the other's. */
function verdictSentence({ result, follows, userId }: Extract<ToolOutcome, { kind: 'verification' }>): string {
  const meaning = `${REASON_MEANINGS[result.reason]} (user ${userId})`;
  if (result.decision === 'accept') return `verified: ${meaning}; ${ONE_SIGNAL}`;
  if (result.reason === 'locked_out') return `locked_out: ${meaning}; ${NOTHING_YET}`;
  if (result.decision === 'reject') return `not_verified: ${meaning}; ${NOTHING_YET}`;
  const next = follows ? VERDICT_FOLLOWS : isOpen(result) ? ASK_AGAIN : NOTHING_YET;
  return `inconclusive: ${meaning}; ${next}`;
}

function statusSentence(status: CallStatus | undefined): string {
  if (!status) return 'unknown_call: this call is not being listened to';
  const looks = `${status.looks} comparison(s) made`;
  const claimed = status.claimed ? 'the claimed person is known' : 'nobody is claimed yet';
  return `${status.state}: ${seconds(status.netSpeechMs)} s of the caller's speech heard, ${looks}, ${claimed}`;
}

function factsOf(outcome: ToolOutcome): Readonly<Record<string, unknown>> {
  switch (outcome.kind) {
    case 'verification':
      return {
        decision: outcome.result.decision,
        reason: outcome.result.reason,
        score: outcome.result.score === undefined ? null : roundScore(outcome.result.score),
        threshold: outcome.result.threshold,
        user_id: oneLine(outcome.userId),
        net_speech_seconds: toSeconds(outcome.result.netSpeechMs),
        audio_seconds: outcome.result.audioMs === undefined ? null : toSeconds(outcome.result.audioMs),
        attempt_id: oneLine(outcome.result.attemptId),
        additional_factor_required: true,
        verdict_follows: outcome.follows,
      };
    case 'enrollment':
      return {
        status: 'enrolled',
        user_id: oneLine(outcome.userId),
        score: roundScore(outcome.result.score),
        samples: outcome.result.samples,
        net_speech_seconds: toSeconds(outcome.result.netSpeechMs),
      };
    case 'unknown_caller':
    case 'ambiguous_caller':
      return { decision: 'inconclusive', reason: outcome.kind, additional_factor_required: true };
    case 'consent_required':
      return { status: 'not_enrolled', reason: outcome.kind };
    case 'locked_out':
      return {
        decision: 'reject',
        reason: outcome.kind,
        retry_after_seconds: outcome.retryAfterSeconds ?? null,
        additional_factor_required: true,
      };
    case 'status':
      return outcome.status
        ? {
            state: outcome.status.state,
            net_speech_seconds: toSeconds(outcome.status.netSpeechMs),
            looks: outcome.status.looks,
            claimed: outcome.status.claimed,
          }
        : { state: 'unknown_call' };
    case 'fault': {
      const { code, message, retryAfterSeconds } = outcome.error;
      return { error: code, message: oneLine(message), retry_after_seconds: retryAfterSeconds ?? null };
    }
  }
}

function waiting(retryAfterSeconds: number | undefined): string {
  return retryAfterSeconds === undefined ? '' : ` for ${Math.max(1, Math.ceil(retryAfterSeconds / 60))} min`;
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}
