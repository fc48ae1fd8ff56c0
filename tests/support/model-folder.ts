/** A throw-away models folder with the shipped model in it, so that tests can change any of its files. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const SHIPPED_MODEL_ID = 'phone-ecapa-192-v0';
export const SHIPPED_PACKAGE = fileURLToPath(new URL(`../../models/${SHIPPED_MODEL_ID}/`, import.meta.url));

export interface ModelFolder {
  readonly modelsDir: string;
  /** Folder of the one package in it, of id `SHIPPED_MODEL_ID`. */
  readonly packageDir: string;
  remove(): void;
}

/** The shipped manifest and cohort as copies, the shipped model as a link, and a small calibration file. */
export function modelFolder(): ModelFolder {
  const modelsDir = mkdtempSync(join(tmpdir(), 'voice-auth-models-'));
  const packageDir = join(modelsDir, SHIPPED_MODEL_ID);
  mkdirSync(packageDir);
  for (const file of ['manifest.json', 'cohort.f32']) copyFileSync(join(SHIPPED_PACKAGE, file), join(packageDir, file));
  symlinkSync(join(SHIPPED_PACKAGE, 'model.onnx'), join(packageDir, 'model.onnx'));
  writeFileSync(join(packageDir, 'calibration.json'), '{"of":"a test"}');
  return { modelsDir, packageDir, remove: () => rmSync(modelsDir, { recursive: true, force: true }) };
}
