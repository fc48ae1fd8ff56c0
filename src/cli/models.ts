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
      printResult(options.json === true, packages, table(['', 'model', 'embedding', 'licence'], packages.map((entry) => [
        entry.id === modelId ? '*' : '',
        entry.id,
        'problem' in entry ? entry.problem : String(entry.embeddingSize),
        'problem' in entry ? '' : entry.licence,
      ])));
    });
  models
    .command('verify')
    .description('check checksums, cohort and calibration of a model package')
    .argument('[id]', 'model id (default: MODEL_ID)')
    .option('--json', 'print as one line of JSON')
    .action(async (id: string | undefined, options: { json?: boolean }) => {
      const { modelsDir, modelId } = loadConfig().embedder;
      const result = await verifyModelPackage(modelsDir, id ?? modelId);
      if (!result.ok) throw new CommandError(result.problem);
      printResult(options.json === true, result, `${result.id}: ok`);
    });
}
