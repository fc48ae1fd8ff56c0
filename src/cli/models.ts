/** `voice-auth models`: what model packages are here, and whether they are what their manifests say. */
import type { Command } from 'commander';
import { loadConfig } from '../config/config.js';
import { listModelPackages, verifyModelPackage } from '../embedder/model-package.js';
import { CommandError } from './command-error.js';
import { printResult, table } from './output.js';

export function registerModels(program: Command): void {
  const models = program.command('models').description('speaker models: list, verify');
  models
    .command('list')
    .description('the model packages in MODELS_DIR')
    .option('--json', 'print as one line of JSON')
    .action(async (options: { json?: boolean }) => {
      const { modelsDir, modelId } = loadConfig().embedder;
      const packages = await listModelPackages(modelsDir);
      const rows = packages.map((entry) => [
        entry.id === modelId ? '*' : '',
        entry.id,
        entry.kind === 'listed' ? String(entry.manifest.embeddingSize) : entry.problem,
        entry.kind === 'listed' ? entry.manifest.licence : '',
      ]);
      printResult(options.json === true, packages, table(['', 'model', 'embedding', 'licence'], rows));
    });
  models
    .command('verify')
    .description('check checksums, cohort and calibration of a model package')
    .argument('[id]', 'model id (default: MODEL_ID)')
    .option('--json', 'print as one line of JSON')
    .action(async (id: string | undefined, options: { json?: boolean }) => {
      const { modelsDir, modelId } = loadConfig().embedder;
      const chosen = id ?? modelId;
      const checks = await verifyModelPackage(modelsDir, chosen);
      const rows = checks.map(({ file, problem }) => [file, problem ?? 'ok']);
      printResult(options.json === true, { id: chosen, checks }, table(['file', chosen], rows));
      if (checks.some(({ problem }) => problem !== undefined)) {
        throw new CommandError(`Model package ${chosen} is not usable`);
      }
    });
}
