/** The model package that a verb works on: the folder given with --model, else the one of the configuration. */
import { basename, dirname, join, resolve } from 'node:path';
import type { Config, EmbedderConfig } from '../config/config.js';

export interface PackageFolder extends Pick<EmbedderConfig, 'modelsDir' | 'modelId' | 'speechDetector'> {
  readonly folder: string;
}

/** `folder` as given on the command line: a package is named as its folder is, which the loader checks. */
export function packageFolder(folder: string | undefined, config: Config): PackageFolder {
  const { modelsDir, modelId, speechDetector } = config.embedder;
  if (folder === undefined) return { modelsDir, modelId, speechDetector, folder: join(modelsDir, modelId) };
  const path = resolve(folder);
  return { modelsDir: dirname(path), modelId: basename(path), speechDetector, folder: path };
}
