/** A use case of calls that a test scripts: it notes what it is asked and answers what it is told to. */
import type {
  CallEnrollmentAnswer,
  CallEnrollmentQuestion,
  CallFacts,
  CallPlatform,
  CallStatus,
  CallsUseCase,
  CallVerificationAnswer,
  CallVerificationQuestion,
} from '../../src/domain/calls/calls.js';
import type { VerificationResult } from '../../src/domain/verification/verification.js';

export const CALLED_USER = '3f1c7a52-8c1e-4a57-9d0e-2b7a4c6d8e90';

export const MATCH: VerificationResult = {
  attemptId: 'a2b7c1d0-0000-4000-8000-000000000001',
  decision: 'accept',
  reason: 'match',
  score: 0.93123456789,
  threshold: 0.82,
  netSpeechMs: 3210,
  looks: 2,
  audioMs: 4200,
};

export const TOO_LITTLE: VerificationResult = {
  ...MATCH,
  decision: 'inconclusive',
  reason: 'insufficient_speech',
  score: undefined,
  netSpeechMs: 400,
  looks: 0,
};

export function decided(result: VerificationResult): CallVerificationAnswer {
  return { kind: 'decided', userId: CALLED_USER, result };
}

export class ScriptedCalls implements CallsUseCase {
  readonly begun: CallFacts[] = [];
  readonly verifications: CallVerificationQuestion[] = [];
  readonly enrollments: CallEnrollmentQuestion[] = [];
  readonly ended: string[] = [];

  onBegin: (call: CallFacts) => Promise<void> = async () => undefined;
  onVerify: (question: CallVerificationQuestion) => Promise<CallVerificationAnswer> = async () => decided(MATCH);
  onEnroll: (question: CallEnrollmentQuestion) => Promise<CallEnrollmentAnswer> = async () => ({
    kind: 'enrolled',
    userId: CALLED_USER,
    result: { score: 1, samples: 1, netSpeechMs: 9300, modelId: 'toy-2' },
  });
  onStatus: () => Promise<CallStatus | undefined> = async () => undefined;
  onEnd: () => Promise<void> = async () => undefined;

  begin(call: CallFacts): Promise<void> {
    this.begun.push(call);
    return this.onBegin(call);
  }

  verify(question: CallVerificationQuestion): Promise<CallVerificationAnswer> {
    this.verifications.push(question);
    return this.onVerify(question);
  }

  enroll(question: CallEnrollmentQuestion): Promise<CallEnrollmentAnswer> {
    this.enrollments.push(question);
    return this.onEnroll(question);
  }

  status(_platform: CallPlatform, _callId: string): Promise<CallStatus | undefined> {
    return this.onStatus();
  }

  end(platform: CallPlatform, callId: string): Promise<void> {
    this.ended.push(`${platform} ${callId}`);
    return this.onEnd();
  }
}
