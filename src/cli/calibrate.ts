/** `voice-auth calibrate`: what a score is worth, fitted on telephone calls or on what the deployment has recorded. */
import type { Command } from 'commander';
import { loadConfig } from '../config/config.js';
import { loadCohort } from '../embedder/model-package.js';
import { requireWritable } from '../embedder/package-files.js';
import { type CalibrationCheck, type CallCalibration, calibrateOnCalls } from '../eval-run/calibrate-on-calls.js';
import { type Corpus, readCorpora } from '../eval-run/read-corpus.js';
import { openSpeechPath } from '../eval-run/service-path.js';
import { judgedThresholds } from '../evaluation/call-procedure.js';
import { COHORT_TOP, formatCalibration } from '../evaluation/fit-calibration.js';
import { MIN_PEOPLE } from '../evaluation/supported-rates.js';
import { calibrateRecorded } from './calibrate-recorded.js';
import { type CalibrateOptions, presentCohortTop, writeCalibration } from './calibration-file.js';
import { CommandError } from './command-error.js';
import { count, MAX_RECORDING_MS, percent, stoppable } from './long-work.js';
import { countProgress, printResult, remark, table } from './output.js';
import { packageFolder } from './package-folder.js';

export function registerCalibrate(program: Command): void {
  program
    .command('calibrate')
    .description('fit what a score is worth, and write calibration.json of a model package')
    .argument('[folder]', 'labelled telephone calls of people who are not in the cohort (speaker written person/call)')
    .option('--recorded', "use the deployment's own voiceprints and samples instead of calls; needs no audio")
    .option('--model <folder>', 'model package (default: MODEL_ID in MODELS_DIR); needs a cohort')
    .option(
      '--top-n <n>',
      `how many of the closest cohort speakers judge (default: as many as so far, else ${COHORT_TOP})`,
      count,
    )
    .option('--check', 'also fit on one half of the people and measure on the other, both ways')
    .option('--out <file>', 'write there instead of into the package')
    .option('--jobs <n>', 'inference processes, and recordings in work at once (default: INFERENCE_CHILDREN)', count)
    .option('--dry-run', 'write nothing')
    .option('--json', 'print as one line of JSON')
    .addHelpText(
      'after',
      `
Restart the service afterwards: it reads calibration.json at start.
Both ways need ${MIN_PEOPLE} people: with fewer nothing is written. --check needs twice as many: with fewer it is left out.
--recorded opens the configured storage with its keys. The embedded database has one owner: stop the server first.

Examples:
  voice-auth calibrate ./calls --model models/my-model --check
  voice-auth calibrate --recorded --check --dry-run`,
    )
    .action(async (folder: string | undefined, options: CalibrateOptions) => {
      if (options.recorded && folder !== undefined) throw new CommandError('Give a folder of calls or --recorded');
      if (options.recorded) return calibrateRecorded(options);
      if (folder === undefined) throw new CommandError('Give a folder of telephone calls, or --recorded');
      return calibrateFolder(folder, options);
    });
}

async function calibrateFolder(folder: string, options: CalibrateOptions): Promise<void> {
  const json = options.json === true;
  const config = loadConfig();
  const target = packageFolder(options.model, config);
  const cohort = await loadCohort(target.modelsDir, target.modelId);
  const [corpus] = (await readCorpora([folder])) as [Corpus];
  if (!options.dryRun && options.out === undefined) await requireWritable(target.folder);
  const jobs = options.jobs ?? config.embedder.children;
  const wanted = options.topN ?? (await presentCohortTop(target.folder)) ?? COHORT_TOP;
  const cohortTop = Math.min(wanted, cohort.rows.length / cohort.embeddingSize);
  const progress = countProgress(json, { hearing: 'calls embedded' });
  const found = await stoppable('Stopped. Nothing was written.', async (signal) => {
    const path = await openSpeechPath({
      embedder: target,
      recordings: { ...config.recordings, maxDurationMs: MAX_RECORDING_MS },
      jobs,
    });
    try {
      return await calibrateOnCalls(corpus, {
        path,
        cohort,
        cohortTop,
        check: options.check === true,
        jobs,
        signal,
        onProgress: (done, total) => progress.update('hearing', done, total),
      });
    } finally {
      await path.close();
    }
  }).finally(progress.stop);
  const provenance = {
    fittedOn: `${found.calls} calls of ${found.people} people (${corpus.name}), strangers in different calls`,
    command: `voice-auth calibrate ${corpus.name} --model <package folder> --top-n ${cohortTop}`,
  };
  const written = await writeCalibration(target.folder, formatCalibration(found.calibration, provenance), options);
  const { calibration, ...figures } = found;
  const lines = [
    report(found, corpus),
    written === undefined ? 'Nothing was written (--dry-run).' : `Written: ${written}. Restart the service to use it.`,
  ];
  printResult(json, { id: target.modelId, ...figures, calibration, written: written ?? null }, lines.join('\n\n'));
  if (options.check && found.checks.length === 1) {
    remark(json, `--check: half of ${found.people} people are fewer than ${MIN_PEOPLE}, too few to fit on.`);
  }
}

function report({ calls, people, amounts, equalErrorRates, checks }: CallCalibration, corpus: Corpus): string {
  const rates = equalErrorRates.map(
    ({ seconds, rate }) => `${seconds === null ? 'all speech' : `first ${seconds} s`} ${percent(rate)}`,
  );
  const parts = [
    `${corpus.name}: ${calls} calls of ${people} people`,
    rates.length > 0 ? `Equal error rate: ${rates.join(', ')}` : 'No equal error rates: nobody has two calls',
    ...(corpus.sessionsKnown
      ? []
      : ['The data do not say what was one call: owners are accepted more often here than on other calls.']),
  ];
  return [parts.join('\n'), amountsTable(amounts), ...checks.map(describeCheck)].join('\n\n');
}

function amountsTable(amounts: CallCalibration['amounts']): string {
  const rows = amounts.map(({ netSpeechMs, pairs, smallestFmr }) => [
    `${netSpeechMs / 1000} s`,
    String(pairs),
    smallestFmr < 1 ? percent(smallestFmr) : 'nothing',
  ]);
  return table(['speech', 'pairs of people', 'they can tell of rates of single looks down to'], rows);
}

function describeCheck({
  fittedOn,
  measuredOn,
  targets,
  nontargets,
  sequential: { earlyShare, finalShare },
  rates,
}: CalibrationCheck): string {
  const title =
    fittedOn === measuredOn
      ? 'Fitted and measured on all people (no evidence: these are the calls it was fitted on)'
      : `Fitted on the ${fittedOn} of the people, measured on the ${measuredOn}`;
  const budget = `Budget of false matches: ${earlyShare} for each early look, ${finalShare} for the last one`;
  const unjudged = fittedOn === measuredOn && judgedThresholds(nontargets).length === 0;
  const rows = rates.map(({ threshold, claimedFmr, observedFmr, ownersAccepted, medianNetSpeechMs }) => [
    threshold.toFixed(3),
    percent(claimedFmr),
    percent(observedFmr),
    ownersAccepted === undefined ? '-' : percent(ownersAccepted),
    medianNetSpeechMs === undefined ? '-' : `${medianNetSpeechMs / 1000} s`,
  ]);
  return [
    `${title}: ${targets} target, ${nontargets} nontarget trials`,
    unjudged ? `${budget}: the smallest there is, because so few calls cannot show that more keeps the claims` : budget,
    table(['threshold', 'claimed', 'observed, whole calls', 'owners accepted', 'after a median of'], rows),
  ].join('\n');
}
