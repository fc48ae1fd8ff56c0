/** The tools that an agent can call: `verify_caller`, `enroll_caller` and `call_status`. */
import { createHash } from 'node:crypto';
import type { CallFacts, CallsUseCase } from '../../../domain/calls/calls.js';
import { VoiceAuthError, validationError } from '../../../domain/errors.js';
import type { LateVerdicts } from './late-verdicts.js';
import { consentReferenceIn, hasConsent, thresholdIn, userIdIn } from './tool-arguments.js';
import type { ToolArguments, ToolCall } from './tool-call-list.js';
import { outcomeOfEnrollment, outcomeOfError, outcomeOfVerification } from './tool-outcomes.js';
import type { ToolOutcome } from './tool-results.js';

const TOOLS = ['verify_caller', 'enroll_caller', 'call_status'] as const;
export type ToolName = (typeof TOOLS)[number];

export interface CallerToolDeps {
  readonly calls: CallsUseCase;
  readonly late: LateVerdicts;
}

/** What a tool call is asked about. */
export interface ToolContext {
  readonly callId: string;
  /** All that can be learned of the call, which may take a request to VAPI. */
  readonly findCall: () => Promise<{ readonly facts: CallFacts; readonly controlUrl: string | undefined }>;
  /** Time left until the answer has to be there. */
  readonly remainingMs: () => number;
  readonly signal: AbortSignal;
}

/** Who asks, in the audit trail. */
const ACTOR = 'vapi';
/** Ids up to here, of visible characters, are idempotency keys as they are; `:late` may be added. */
const PLAIN_REQUEST_ID = /^[\x21-\x7e]{1,100}$/;

/** The name when it is one of ours. */
export function knownTool(name: string): ToolName | undefined {
  return TOOLS.find((tool) => tool === name);
}

export class CallerTools {
  readonly #deps: CallerToolDeps;

  constructor(deps: CallerToolDeps) {
    this.#deps = deps;
  }

  /** Performs one tool call. Never rejects: faults are outcomes. */
  async perform(toolCall: ToolCall, context: ToolContext): Promise<ToolOutcome> {
    try {
      const tool = knownTool(toolCall.name);
      if (tool === undefined) {
        throw new VoiceAuthError('NotFound', `There is no tool of this name; there are ${TOOLS.join(', ')}`);
      }
      const args = toolCall.arguments;
      if (args === undefined) {
        throw validationError([{ path: 'arguments', message: 'must be a JSON object' }]);
      }
      const requestId = requestIdOf(toolCall.id);
      if (tool === 'verify_caller') return await this.#verify(requestId, args, context);
      if (tool === 'enroll_caller') return await this.#enroll(requestId, args, context);
      return { kind: 'status', status: await this.#deps.calls.status('vapi', context.callId) };
    } catch (error) {
      return outcomeOfError(error);
    }
  }

  async #verify(requestId: string, args: ToolArguments, context: ToolContext): Promise<ToolOutcome> {
    const { calls, late } = this.#deps;
    const [userId, threshold] = [userIdIn(args), thresholdIn(args)];
    // What a new question will be answered is newer than what an earlier one still waits for. That one is told to nobody, but
    // goes on until then: what was compared for it is an attempt, and may be one on another person.
    const stopEarlier = late.asked(context.callId, requestId);
    try {
      const { facts, controlUrl } = await context.findCall();
      const { signal } = context;
      const question = { call: facts, requestId, userId, threshold, deadlineMs: context.remainingMs(), signal };
      const answer = await calls.verify(question);
      const follows = answer.kind === 'decided' && late.follow(question, answer.result, controlUrl);
      return outcomeOfVerification(answer, follows);
    } finally {
      stopEarlier();
    }
  }

  async #enroll(requestId: string, args: ToolArguments, context: ToolContext): Promise<ToolOutcome> {
    if (!hasConsent(args)) return { kind: 'consent_required' };
    const userId = userIdIn(args);
    const consentReference = consentReferenceIn(args) ?? `vapi:${context.callId}`;
    const { facts } = await context.findCall();
    const { signal } = context;
    const deadlineMs = context.remainingMs();
    const answer = await this.#deps.calls.enroll({
      call: facts,
      requestId,
      userId,
      consentReference,
      phone: undefined,
      identityProven: false,
      actor: ACTOR,
      deadlineMs,
      signal,
    });
    return outcomeOfEnrollment(answer);
  }
}

/** An id that can be stored: the tool call's own, or a hash of one that is too long or strange. */
function requestIdOf(toolCallId: string): string {
  if (PLAIN_REQUEST_ID.test(toolCallId)) return toolCallId;
  return `sha256:${createHash('sha256').update(toolCallId, 'utf8').digest('base64url')}`;
}
