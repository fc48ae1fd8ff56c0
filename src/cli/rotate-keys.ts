/**
 * `voice-auth keys rotate`: encrypts what older keys have encrypted with the first key of the ring, in the deployment's own
 * storage, so that the older keys can be given up.
 */
import { existsSync } from 'node:fs';
import { loadConfig } from '../config/config.js';
import { createLogger } from '../observability/logger.js';
import { Metrics } from '../observability/metrics.js';
import type { KeyRotation } from '../storage/key-rotation.js';
import { openStorage } from '../storage/open-storage.js';
import { CommandError } from './command-error.js';
import { stoppable } from './long-work.js';
import { countProgress, printResult } from './output.js';

export interface RotateOptions {
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** Exits 1 when templates could not be read. Throws `CommandError` and what storage throws, when a needed key is missing too. */
export async function rotateKeys({ dryRun = false, json = false }: RotateOptions): Promise<void> {
  const { storage: config } = loadConfig();
  if (!config.supabase && !existsSync(config.dataDir)) {
    throw new CommandError(`There is no database in ${config.dataDir}: set DATA_DIR as for the server`);
  }
  const storage = await openStorage(config, { metrics: new Metrics(), logger: createLogger('warn') });
  const progress = countProgress(json, { templates: 'templates' });
  let rotation: KeyRotation;
  try {
    rotation = await stoppable('Stopped; run it again to go on', (signal) =>
      storage.store.reencrypt({
        dryRun,
        signal,
        onProgress: (done, total) => progress.update('templates', done, total),
      }),
    );
  } finally {
    progress.stop();
    await storage.close();
  }
  printResult(json, { ...rotation, dryRun }, describe(rotation, dryRun));
  if (rotation.unreadable.length > 0) process.exitCode = 1;
}

function describe({ keyId, voiceprints, samples, unreadable, droppable }: KeyRotation, dryRun: boolean): string {
  const what = `${voiceprints} ${voiceprints === 1 ? 'voiceprint' : 'voiceprints'} and ${samples} ${samples === 1 ? 'sample' : 'samples'}`;
  const lines = [
    dryRun
      ? `${what} would be encrypted anew with key ${keyId}. Nothing was written (--dry-run).`
      : `${what} encrypted anew with key ${keyId}.`,
    droppable.length > 0
      ? `No template needs ${droppable.join(', ')} any more: take it out of the key ring once no server runs that encrypts with it. Backups of before need it.`
      : 'No key can be taken out of the key ring.',
  ];
  if (unreadable.length > 0) {
    lines.push(`Cannot be read and stayed as they were, enroll anew: ${unreadable.join(', ')}`);
  }
  return lines.join('\n');
}
