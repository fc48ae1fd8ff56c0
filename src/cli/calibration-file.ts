/** What both ways of `voice-auth calibrate` share: their options, and where the result goes. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { FORMER_CALIBRATION, installCalibration } from '../embedder/package-files.js';

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

const topSchema = z.object({ cohortTop: z.number().int().min(2) });

/** How many cohort speakers judge by the package's calibration, or by the one that a new cohort set aside; undefined when it has neither. */
export async function presentCohortTop(folder: string): Promise<number | undefined> {
  for (const name of ['calibration.json', FORMER_CALIBRATION]) {
    const text = await readFile(join(folder, name), 'utf8').catch(() => undefined);
    const found = text === undefined ? undefined : topOf(text);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A calibration that cannot be read is about to be replaced by one that can. */
function topOf(text: string): number | undefined {
  try {
    return topSchema.safeParse(JSON.parse(text)).data?.cohortTop;
  } catch {
    return undefined;
  }
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
