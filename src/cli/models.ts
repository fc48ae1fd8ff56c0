/** `voice-auth models`: which speaker models are here, which can be fetched, and whether they are what they should be. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { type Config, loadConfig, REGISTRY_DIR } from '../config/config.js';
import {
  listModelPackages,
  loadModelPackage,
  type ModelFiles,
  type ModelListing,
  verifyModelPackage,
} from '../embedder/model-package.js';
import { tryModel } from '../embedder/try-model.js';
import { type PullSource, pullModel } from '../model-registry/pull-model.js';
import { findEntry, type RegistryEntry, readRegistry } from '../model-registry/registry-entry.js';
import { createLogger } from '../observability/logger.js';
import { Metrics } from '../observability/metrics.js';
import { CommandError } from './command-error.js';
import { downloadProgress, printResult, remark, table } from './output.js';

interface JsonOption {
  readonly json?: boolean;
}

interface PullCommandOptions extends JsonOption {
  readonly from?: string;
  readonly sha256?: string;
}

export function registerModels(program: Command): void {
  const models = program.command('models').description('speaker models: list, pull, verify, use');
  models
    .command('list')
    .description('the model packages in MODELS_DIR, and published ones that can be pulled')
    .option('--json', 'print as one line of JSON')
    .action(async ({ json }: JsonOption) => {
      const { modelsDir, modelId } = loadConfig().embedder;
      const installed = await listModelPackages(modelsDir);
      const here = new Set(installed.map(({ id }) => id));
      const available = (await readRegistry(REGISTRY_DIR)).filter(({ id }) => !here.has(id));
      printResult(json === true, { installed, available }, modelTables(installed, available, modelId));
    });
  models
    .command('pull')
    .description('download a published model into MODELS_DIR')
    .argument('<id>', 'model id, as `models list` shows it')
    .option('--from <url|file>', 'take it from a mirror, or from a file that you have brought here')
    .option('--sha256 <hex>', 'accept this file only')
    .option('--json', 'print as one line of JSON')
    .addHelpText('after', '\nInterrupted downloads go on where they broke off when you pull again.')
    .action(pull);
  models
    .command('verify')
    .description('check checksums, cohort and calibration of a model package')
    .argument('[id]', 'model id (default: MODEL_ID)')
    .option('--json', 'print as one line of JSON')
    .action(async (id: string | undefined, { json }: JsonOption) => {
      const { modelsDir, modelId } = loadConfig().embedder;
      const chosen = id ?? modelId;
      const checks = await verifyModelPackage(modelsDir, chosen);
      const rows = checks.map(({ file, problem }) => [file, problem ?? 'ok']);
      printResult(json === true, { id: chosen, checks }, table(['file', chosen], rows));
      if (checks.some(({ problem }) => problem !== undefined)) {
        throw new CommandError(`Model package ${chosen} is not usable`);
      }
    });
  models
    .command('use')
    .description('check that a model package can be used, and say what to set and what becomes of voiceprints')
    .argument('<id>', 'model id')
    .option('--json', 'print as one line of JSON')
    .action(use);
}

async function pull(id: string, options: PullCommandOptions): Promise<void> {
  const { json = false, sha256 } = options;
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new CommandError('--sha256 must be 64 hexadecimal digits');
  }
  const config = loadConfig();
  const entry = await findEntry(REGISTRY_DIR, id);
  remark(json, `${entry.name}: ${size(entry.file.bytes)}, ${entry.licence}`);
  const progress = downloadProgress(json, entry.file.bytes ?? undefined);
  const pulled = await pullModel(entry, {
    modelsDir: config.embedder.modelsDir,
    from: options.from === undefined ? undefined : pullSource(options.from),
    sha256: sha256?.toLowerCase(),
    allowPrivateNetwork: config.outbound.allowPrivateNetwork,
    onProgress: progress.update,
    onNote: (note) => remark(json, note),
    tryModel: (model) => tryLoading(model, config),
  }).finally(progress.stop);
  const { outcome, folder, pinned } = pulled;
  const lines = [
    `${id}: ${{ installed: 'installed', present: 'already there', repaired: 'model file repaired' }[outcome]} in ${folder}`,
    `SHA-256 ${pulled.sha256}${pinned ? ' (none is published: this is the first file that came, pinned from now on)' : ''}`,
    ...entry.unverified.map((line) => `Not established: ${line}`),
    `Next: voice-auth cohort, voice-auth calibrate, voice-auth models use ${id} (docs/models.md)`,
  ];
  printResult(json, { id, ...pulled, unverified: entry.unverified }, lines.join('\n'));
}

async function use(id: string, { json = false }: JsonOption): Promise<void> {
  const config = loadConfig();
  const { modelsDir, modelId } = config.embedder;
  await requireComplete(config, id);
  const model = await loadModelPackage(modelsDir, id);
  await tryLoading(model, config);
  const settings = { MODEL_ID: id, ...(modelsDir === defaultModelsDir() ? {} : { MODELS_DIR: modelsDir }) };
  const unverified = model.manifest.unverified ?? [];
  const lines = [
    id === modelId ? `${id} is in use and in order.` : `${id} can be used. Set, and restart the service:`,
    ...(id === modelId ? [] : Object.entries(settings).map(([name, value]) => `  ${name}=${value}`)),
    'Voiceprints belong to the model that made them. Those of other models answer 409 VoiceprintModelMismatch until',
    'the person is enrolled again: voice-auth enroll --replace-model (API: replaceModel), with a key of scope admin.',
    ...unverified.map((line) => `Not established: ${line}`),
  ];
  printResult(json, { id, settings, inUse: id === modelId, unverified }, lines.join('\n'));
}

/** A model without cohort and calibration gives cosines, of which nobody can say how often an impostor reaches them. */
async function requireComplete(config: Config, id: string): Promise<void> {
  const { modelsDir } = config.embedder;
  const listed = (await listModelPackages(modelsDir)).find((entry) => entry.id === id);
  if (!listed) throw new CommandError(`There is no model package ${id} in ${modelsDir}: voice-auth models pull ${id}`);
  const checks = await verifyModelPackage(modelsDir, id);
  if (checks.some(({ problem, notMade }) => problem !== undefined && !notMade)) return;
  const isMissing = (file: string) => checks.some((check) => check.file === file && check.notMade);
  const missing = [
    ...(isMissing('cohort.f32')
      ? ['  voice-auth cohort     embeddings of other speakers, for score normalisation']
      : []),
    ...(isMissing('calibration.json') ? ['  voice-auth calibrate  how often impostors reach which score'] : []),
  ];
  if (missing.length === 0) return;
  throw new CommandError(
    [
      `${id} cannot be used yet: a bare similarity says nothing about how often an impostor reaches it. Run for it:`,
      ...missing,
      'and then: voice-auth models use again. docs/models.md says which recordings they need.',
    ].join('\n'),
  );
}

async function tryLoading(model: ModelFiles, { embedder: { speechDetector } }: Config): Promise<void> {
  await tryModel(model, { speechDetector, metrics: new Metrics(), logger: createLogger('silent') });
}

/** A path that exists is a file, whatever it looks like. */
function pullSource(from: string): PullSource {
  if (existsSync(from)) return { kind: 'file', path: resolve(from) };
  if (/^https?:\/\//i.test(from)) return { kind: 'url', url: from };
  throw new CommandError(`--from ${from} is neither a file nor an https URL`);
}

function defaultModelsDir(): string {
  return resolve(REGISTRY_DIR, '..');
}

function modelTables(installed: readonly ModelListing[], available: readonly RegistryEntry[], inUse: string): string {
  const here = installed.map((entry) => {
    if (entry.kind === 'unusable') return ['', entry.id, '', '', '', entry.problem];
    const { model, licence, errorRates, cohort } = entry.manifest;
    const remarks = cohort ? '' : 'needs cohort and calibration';
    return [entry.id === inUse ? '*' : '', entry.id, size(model.bytes), rates(errorRates), licence, remarks];
  });
  const there = available.map(({ id, file, licence, publishedErrorRates }) => {
    const remarks = file.sha256 ? '' : 'no published checksum';
    return ['', id, size(file.bytes), rates(publishedErrorRates), licence, remarks];
  });
  const header = ['', 'model', 'size', 'EER, lowest - highest test', 'licence', ''];
  return [
    'Installed (* = MODEL_ID):',
    table(header, here),
    '',
    'Available (voice-auth models pull <id>):',
    table(header, there),
    '',
    'Equal error rates are of different recordings and not comparable; telephone calls are much harder than VoxCeleb.',
    'What each is of: errorRates in manifest.json of an installed model, docs/models.md for the others.',
  ].join('\n');
}

function size(bytes: number | null): string {
  return bytes === null ? 'unknown' : `${(bytes / 1e6).toFixed(1)} MB`;
}

function rates(published: readonly { readonly equalErrorRate: number }[]): string {
  const found = published.map(({ equalErrorRate }) => 100 * equalErrorRate);
  const [least, most] = [Math.min(...found).toFixed(2), Math.max(...found).toFixed(2)];
  if (found.length === 0) return '-';
  return least === most ? `${least} %` : `${least} - ${most} %`;
}
