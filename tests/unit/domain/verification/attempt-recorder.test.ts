/** An attempt is counted once, as it is in the store, however often it is recorded. */
import { beforeEach, describe, expect, it } from 'vitest';
import { VoiceAuthError } from '../../../../src/domain/errors.js';
import type { AttemptRecord, EnrolledUser, RecordedAttempt } from '../../../../src/domain/ports/auth-store.js';
import { AttemptRecorder, type Finding } from '../../../../src/domain/verification/attempt-recorder.js';
import { createLogger } from '../../../../src/observability/logger.js';
import { Metrics } from '../../../../src/observability/metrics.js';

const user: EnrolledUser = {
  userId: '00000000-0000-4000-8000-000000000001',
  phone: undefined,
  lockedUntil: undefined,
  voiceprint: undefined,
  samples: [],
};
const facts = {
  attemptId: '00000000-0000-4000-8000-000000000002',
  source: 'vapi',
  sourceLabel: 'vapi',
  correlationId: 'call-1',
  callId: 'call-1',
  threshold: 0.82,
  latencyMs: 1500,
} as const;
const rejected: Finding = { decision: 'reject', reason: 'no_match', score: 0.3, netSpeechMs: 4000, looks: 2 };
const accepted: Finding = { decision: 'accept', reason: 'match', score: 0.9, netSpeechMs: 9000, looks: 5 };

let metrics: Metrics;
let logs: string;
let stored: RecordedAttempt | undefined;
/** Whether the answers of the store get lost on their way. */
let mute: boolean;

beforeEach(() => {
  metrics = new Metrics();
  logs = '';
  stored = undefined;
  mute = false;
});

/** Locks at the first failure. */
async function recordAttempt(record: AttemptRecord): Promise<RecordedAttempt> {
  const isNew = stored === undefined;
  const { attemptId, decision, reason, score, threshold, netSpeechMs, looks } = record;
  const lockedUntil = new Date('2100-01-01T00:00:00Z');
  stored ??= {
    isNew,
    attemptId,
    decision,
    reason,
    failedAttempts: 1,
    lockedUntil,
    score,
    threshold,
    netSpeechMs,
    looks,
  };
  if (mute) throw new VoiceAuthError('DatabaseUnavailable', 'The database does not answer');
  return { ...stored, isNew };
}

function recorder(): AttemptRecorder {
  return new AttemptRecorder({
    config: { maxFailedAttempts: 1, lockoutMs: 60_000 },
    store: { recordAttempt },
    modelId: 'toy',
    metrics,
    logger: createLogger('info', {
      write: (line) => {
        logs += line;
      },
    }),
  });
}

async function counted() {
  const sum = async (name: 'verifications' | 'lockouts') =>
    (await metrics[name].get()).values.reduce((total, { value }) => total + value, 0);
  const observed = async (name: 'score' | 'netSpeech' | 'decisionSeconds') =>
    (await metrics[name].get()).values
      .filter(({ metricName }) => metricName?.endsWith('_count'))
      .reduce((total, { value }) => total + value, 0);
  return {
    attempts: await sum('verifications'),
    lockouts: await sum('lockouts'),
    observed: [await observed('score'), await observed('netSpeech'), await observed('decisionSeconds')],
    logged: logs.split('verification recorded').length - 1,
  };
}

const ONCE = { attempts: 1, lockouts: 1, observed: [1, 1, 1], logged: 1 };

describe('an attempt that was recorded before', () => {
  it('is answered as it was recorded, and neither counted nor logged as a new one', async () => {
    const first = await recorder().record(user, rejected, facts);
    expect(await counted()).toEqual(ONCE);
    expect(await recorder().record(user, accepted, facts)).toEqual(first);
    expect(await counted()).toEqual(ONCE);
  });

  it('is counted when it was this recorder that wrote it, and the answer was lost', async () => {
    mute = true;
    const again = async <T>(work: () => Promise<T>) => {
      await expect(work()).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
      mute = false;
      return work();
    };
    expect(await recorder().record(user, rejected, facts, again)).toMatchObject({ decision: 'reject' });
    expect(await counted()).toEqual(ONCE);
  });
});
