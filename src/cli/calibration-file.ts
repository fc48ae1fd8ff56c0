/** What both ways of `voice-auth calibrate` share: their options, and where the result goes. */
import { join, resolve } from 'node:path';
import { installCalibration } from '../embedder/package-files.js';

export interface CalibrateOptions {
  readonly model?: string;
  readonly recorded?: boolean;
  readonly topN?: number;
  readonly check?: boolean;
  readonly out?: string;
  readonly jobs?: number;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** Path of the file written; undefined with --dry-run. Throws `ModelPackageError`. */
export async function writeCalibration(
  folder: string,
  text: string,
  { out, dryRun }: Pick<CalibrateOptions, 'out' | 'dryRun'>,
): Promise<string | undefined> {
  if (dryRun) return undefined;
  const path = out === undefined ? join(folder, 'calibration.json') : resolve(out);
  await installCalibration(path, text);
  return path;
}
