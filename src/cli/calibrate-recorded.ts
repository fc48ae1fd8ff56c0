/**
 * `voice-auth calibrate --recorded`: from the voiceprints and samples in the deployment's own storage. They are decrypted in
 * this process only; what is printed and written are counts and quantiles, never an embedding or who somebody is.
 */
import { existsSync } from 'node:fs';
import { type Config, loadConfig } from '../config/config.js';
import { scoreFromFmr } from '../domain/scoring/calibration.js';
import { Cohort } from '../domain/scoring/score-normalisation.js';
import { loadModelPackage, type ModelPackage } from '../embedder/model-package.js';
import { requireWritable } from '../embedder/package-files.js';
import { formatCalibration } from '../evaluation/fit-calibration.js';
import { randomGenerator } from '../evaluation/random.js';
import {
  type ClaimCheck,
  checkRecorded,
  fitRecorded,
  type RecordedFit,
  type RecordedVoice,
  type StrangerScores,
  scoreStrangers,
} from '../evaluation/recorded-calibration.js';
import { MIN_PEOPLE } from '../evaluation/supported-rates.js';
import { createLogger } from '../observability/logger.js';
import { Metrics } from '../observability/metrics.js';
import { openStorage } from '../storage/open-storage.js';
import { type CalibrateOptions, writeCalibration } from './calibration-file.js';
import { CommandError } from './command-error.js';
import { percent } from './long-work.js';
import { printResult, remark, table } from './output.js';
import { packageFolder } from './package-folder.js';

/** People compared at most, drawn at random: 124,750 pairs support every rate that a calibration names but the last. */
const MAX_PEOPLE = 500;
const BOOTSTRAP = { resamples: 200, seed: 1 } as const;

interface Checked {
  readonly title: string;
  readonly claims: readonly ClaimCheck[];
}

/** Throws `CommandError` when too few people are enrolled, and what storage and package throw. */
export async function calibrateRecorded(options: CalibrateOptions): Promise<void> {
  const json = options.json === true;
  if (options.topN !== undefined)
    throw new CommandError('--top-n cannot change with --recorded: other parts of the calibration depend on it');
  const config = loadConfig();
  const target = packageFolder(options.model, config);
  const model = await loadModelPackage(target.modelsDir, target.modelId);
  const base = model.calibration;
  if (!options.dryRun && options.out === undefined) await requireWritable(target.folder);
  const { voices, enrolled } = await readVoices(config, model);
  if (voices.length < MIN_PEOPLE) {
    throw new CommandError(
      `${voices.length} ${voices.length === 1 ? 'person is' : 'people are'} enrolled with ${target.modelId}; ` +
        `a calibration needs ${MIN_PEOPLE} (docs/models.md says why). Nothing was changed.`,
    );
  }
  const cohort = new Cohort(model.cohort, model.manifest.embeddingSize, { top: base.cohortTop });
  const scores = scoreStrangers(voices, cohort);
  const fit = fitRecorded(scores, base);
  if (!fit) {
    throw new CommandError(
      `No ${MIN_PEOPLE} people have samples of about the same length of speech. The calibration stays as it is.`,
    );
  }
  // Which speech detector heard the samples is not recorded: the calibration goes on naming the one it was first fitted with.
  const calibration = { ...fit.calibration, cohortSha256: model.manifest.cohort!.sha256 };
  const checks: Checked[] = [{ title: 'calibration before', claims: checkRecorded(scores, base, BOOTSTRAP) }];
  if (options.check) checks.push(...checkHalves(voices, { cohort, base }));
  const provenance = {
    fittedOn: fittedOnRecorded(voices.length, base.fittedOn),
    command: 'voice-auth calibrate --recorded',
  };
  const written = await writeCalibration(target.folder, formatCalibration(calibration, provenance), options);
  const comparisons = scores.normScores.length;
  const body = {
    id: target.modelId,
    enrolled,
    people: voices.length,
    comparisons,
    amounts: fit.amounts.map(({ smallestFmr, ...amount }) => ({ ...amount, smallestFmr: smallestFmr ?? null })),
    checks,
    written: written ?? null,
  };
  const lines = [
    `${enrolled} people are enrolled with ${target.modelId}; ${voices.length} compared, ${comparisons} comparisons of strangers`,
    amountsTable(fit),
    checksTable(checks),
    written === undefined ? 'Nothing was written (--dry-run).' : `Written: ${written}. Restart the service to use it.`,
  ];
  printResult(json, body, lines.join('\n\n'));
  if (options.check && checks.length < 3) {
    const few =
      voices.length < 2 * MIN_PEOPLE
        ? `half of ${voices.length} people are fewer than ${MIN_PEOPLE}, too few to fit on`
        : 'a half of the people has too few samples of about the same length to fit on';
    remark(json, `--check: ${few}.`);
  }
}

/** The budget, and what too few people have samples for, stay of the calibration before; of those recorded before it too, it is said once. */
function fittedOnRecorded(people: number, before = 'a calibration that does not say'): string {
  const [, earlier] =
    /^voice samples of .+? of this deployment.*?; the rest: (?:earlier samples, )?(.*)$/.exec(before) ?? [];
  const rest = earlier === undefined ? before : `earlier samples, ${earlier}`;
  return `voice samples of ${people} people of this deployment, against one another's voiceprints; the rest: ${rest}`;
}

/** A random `MAX_PEOPLE` of those enrolled with the model who have samples (reservoir sampling), and how many there are. */
async function readVoices(
  config: Config,
  { manifest }: ModelPackage,
): Promise<{ readonly voices: readonly RecordedVoice[]; readonly enrolled: number }> {
  if (!config.storage.supabase && !existsSync(config.storage.dataDir)) {
    throw new CommandError(`There is no database in ${config.storage.dataDir}: set DATA_DIR as for the server`);
  }
  const storage = await openStorage(config.storage, { metrics: new Metrics(), logger: createLogger('warn') });
  const voices: RecordedVoice[] = [];
  const random = randomGenerator(BOOTSTRAP.seed);
  let enrolled = 0;
  try {
    for await (const voice of storage.store.recordedVoices(manifest.id)) {
      if (voice.samples.length === 0) continue;
      enrolled++;
      if (voices.length < MAX_PEOPLE) voices.push(voice);
      else {
        const at = Math.floor(random() * enrolled);
        if (at < MAX_PEOPLE) voices[at] = voice;
      }
    }
  } finally {
    await storage.close();
  }
  return { voices, enrolled };
}

/** Each half judged by what was fitted on the other; nothing when the halves are too small. */
function checkHalves(
  voices: readonly RecordedVoice[],
  { cohort, base }: { readonly cohort: Cohort; readonly base: RecordedFit['calibration'] },
): readonly Checked[] {
  const half = (side: number) =>
    scoreStrangers(
      voices.filter((_, index) => index % 2 === side),
      cohort,
    );
  const sides: readonly [StrangerScores, StrangerScores] = [half(0), half(1)];
  const fits = sides.map((scores) => fitRecorded(scores, base));
  return fits.flatMap((fit, side) => {
    if (!fit) return [];
    const title = `fitted on half ${side + 1}, observed on half ${2 - side}`;
    return [{ title, claims: checkRecorded(sides[1 - side]!, fit.calibration, BOOTSTRAP) }];
  });
}

function amountsTable({ amounts }: RecordedFit): string {
  const rows = amounts.map(({ netSpeechMs, pairs, smallestFmr }) => [
    `${netSpeechMs / 1000} s`,
    String(pairs),
    smallestFmr === undefined ? 'as before' : `fitted down to ${percent(smallestFmr)}, as before beyond`,
    smallestFmr === undefined ? '-' : scoreFromFmr(smallestFmr).toFixed(3),
  ]);
  return table(['sample of about', 'pairs of people', 'tail', 'rests on own data up to a threshold of'], rows);
}

function checksTable(checks: readonly Checked[]): string {
  const claims = checks[0]!.claims.map(({ claimed }) => claimed);
  const rows = claims.map((claimed, row) => [
    percent(claimed),
    ...checks.map(({ claims: of }) => {
      const { observed } = of[row]!;
      if (!observed) return 'too few pairs';
      const { value, interval } = observed;
      return `${percent(value)}${interval ? ` (${percent(interval.low)} to ${percent(interval.high)})` : ''}`;
    }),
  ]);
  return table(['claimed, one comparison', ...checks.map(({ title }) => `observed: ${title}`)], rows);
}
