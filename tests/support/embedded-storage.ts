/** Storage for tests: the built database worker and snapshot, folders that go away, and plausible records. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AttemptRecord, EnrollmentRecord } from '../../src/domain/ports/auth-store.js';
import { createLogger } from '../../src/observability/logger.js';
import { Metrics } from '../../src/observability/metrics.js';
import { EmbeddedDatabase } from '../../src/storage/embedded/embedded-database.js';
import type { OpenStorageOptions } from '../../src/storage/open-storage.js';
import { StorageCheck } from '../../src/storage/storage-check.js';
import { builtModule } from './built.js';

export const MODEL_ID = 'test-model';

/** A new folder and the function that removes it. */
export async function temporaryFolder(): Promise<{ readonly path: string; readonly remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'voice-auth-test-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

export function storageOptions(): OpenStorageOptions & { readonly snapshotFile: string; readonly workerModule: URL } {
  return {
    metrics: new Metrics(),
    logger: createLogger('silent'),
    workerModule: builtModule('storage/embedded/database-worker.js'),
    snapshotFile: fileURLToPath(builtModule('storage/embedded/snapshot.tar.gz')),
  };
}

/** The check behind `ping`, of a store that is put together by hand. */
export function storageCheck(): StorageCheck {
  return new StorageCheck({ supabase: undefined, dataDir: '', timeoutMs: 20_000, encryptionKeys: undefined });
}

/** The bare database, for tests that look behind the functions. */
export function openTestDatabase(databaseDir: string, callTimeoutMs = 20_000): Promise<EmbeddedDatabase> {
  const { logger, workerModule, snapshotFile } = storageOptions();
  return EmbeddedDatabase.open({ databaseDir, callTimeoutMs, logger, workerModule, snapshotFile });
}

/** A unit-length vector that depends on `seed` only. */
export function testEmbedding(seed: number, dimensions = 192): Float32Array {
  const values = Float32Array.from({ length: dimensions }, (_, index) => Math.sin(seed * 31 + index * 7 + 1));
  const norm = Math.hypot(...values);
  return values.map((value) => value / norm);
}

export function enrollmentOf(userId: string, changes: Partial<EnrollmentRecord> = {}): EnrollmentRecord {
  return {
    userId,
    phone: '+14155550100',
    consentReference: undefined,
    modelId: MODEL_ID,
    expectedVersion: 0,
    centroid: testEmbedding(1),
    newSample: { id: randomUUID(), embedding: testEmbedding(2), netSpeechMs: 6000 },
    keptSampleIds: [],
    netSpeechMs: 6000,
    correlationId: `enroll-${randomUUID()}`,
    actor: 'test-key',
    ...changes,
  };
}

/** An undecided attempt against no voiceprint, unless told otherwise. */
export function attemptOf(userId: string, changes: Partial<AttemptRecord> = {}): AttemptRecord {
  return {
    attemptId: randomUUID(),
    userId,
    correlationId: `verify-${randomUUID()}`,
    callId: undefined,
    source: 'vapi_listen',
    decision: 'inconclusive',
    reason: 'insufficient_speech',
    score: undefined,
    threshold: 0.82,
    modelId: MODEL_ID,
    netSpeechMs: 1200,
    looks: 1,
    latencyMs: 2500,
    maxFailedAttempts: 5,
    lockoutMs: 900_000,
    voiceprintVersion: 0,
    ...changes,
  };
}

export function rejectOf(userId: string, changes: Partial<AttemptRecord> = {}): AttemptRecord {
  return attemptOf(userId, { decision: 'reject', reason: 'no_match', score: 0.3, ...changes });
}

export function acceptOf(
  userId: string,
  voiceprintVersion: number,
  changes: Partial<AttemptRecord> = {},
): AttemptRecord {
  return attemptOf(userId, { decision: 'accept', reason: 'match', score: 0.91, voiceprintVersion, ...changes });
}
