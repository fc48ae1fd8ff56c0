/** `voice-auth config`: every setting, where it stands, secrets hidden; and whether a server would start with them. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { type Config, describeEnvironment, loadConfig, REGISTRY_DIR } from '../config/config.js';
import { ConfigurationError, misspelledVariables } from '../config/environment.js';
import { loadModelPackage, ModelPackageError } from '../embedder/model-package.js';
import { parseApiKeyRing } from '../http/api-keys.js';
import { readRegistry } from '../model-registry/registry-entry.js';
import { StorageError } from '../storage/storage-error.js';
import { TemplateCipher } from '../storage/template-cipher.js';
import { printResult, table } from './output.js';

export function registerConfig(program: Command): void {
  program
    .command('config')
    .description('check the configuration and print it, secrets hidden')
    .option('--json', 'print as one line of JSON')
    .action(async (options: { json?: boolean }) => {
      for (const sentence of misspellings()) process.stderr.write(`warning: ${sentence}\n`);
      await requireUsable(loadConfig());
      const settings = describeEnvironment();
      const rows = settings.map(({ name, value, source, description }) => [name, value, source, description]);
      printResult(options.json === true, settings, table(['variable', 'value', 'from', 'what it is'], rows));
    });
}

/** A sentence for every variable that looks like a misspelled setting; names only, no values. */
export function misspellings(): readonly string[] {
  return misspelledVariables().map(({ name, meant }) => `${name} is not a setting; did you mean ${meant}?`);
}

/**
 * What a server finds out of its settings only when it opens its parts: keys that cannot be read, a model package that is not there or
 * not what its manifest says. Throws `ConfigurationError` with all problems, which name entries by position and never by value.
 */
export async function requireUsable({ http, storage, embedder }: Config): Promise<void> {
  const keys = parseApiKeyRing(http.apiKeys ?? []);
  const problems = keys.kind === 'ring' ? [] : keys.problems.map((problem) => `API_KEYS: ${problem}`);
  if (storage.encryptionKeys) {
    try {
      new TemplateCipher(storage.encryptionKeys);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      problems.push(`EMBEDDING_ENCRYPTION_KEYS: ${error.message}`);
    }
  }
  try {
    await loadModelPackage(embedder.modelsDir, embedder.modelId);
  } catch (error) {
    if (!(error instanceof ModelPackageError)) throw error;
    problems.push(`MODEL_ID: ${error.message}${await howToGet(embedder)}`);
  }
  if (problems.length > 0) throw new ConfigurationError(problems);
}

/** Of a model that is not here, but published. */
async function howToGet({ modelsDir, modelId }: Config['embedder']): Promise<string> {
  if (existsSync(join(modelsDir, modelId))) return '';
  const published = await readRegistry(REGISTRY_DIR).catch(() => []);
  return published.some(({ id }) => id === modelId) ? `; get it with: voice-auth models pull ${modelId}` : '';
}
