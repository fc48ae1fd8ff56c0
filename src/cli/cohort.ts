/** `voice-auth cohort`: makes the cohort of a model package from labelled speech, and helps to choose its size. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { loadConfig } from '../config/config.js';
import { loadModelFiles } from '../embedder/model-package.js';
import { type InstalledCohort, installCohort, requireWritable } from '../embedder/package-files.js';
import { type CohortFigures, chooseCohort, PROBES } from '../eval-run/choose-cohort.js';
import { type Codec, findCodec, missingForCodec } from '../eval-run/codecs.js';
import { type Degradation, needsNoise, parseDegradation } from '../eval-run/degradations.js';
import { hearCalls } from '../eval-run/hear-calls.js';
import { type CohortEmbeddings, embedCohort } from '../eval-run/make-cohort.js';
import { readNoise } from '../eval-run/noise.js';
import { type Corpus, readCorpora } from '../eval-run/read-corpus.js';
import {
  type ChosenSpeakers,
  HELD_OUT,
  readSpeakers,
  type Speaker,
  shuffleSpeakers,
} from '../eval-run/read-speakers.js';
import { segmentName } from '../eval-run/segments.js';
import { openSpeechPath, type SpeechPath } from '../eval-run/service-path.js';
import { CommandError } from './command-error.js';
import { count, MAX_RECORDING_MS, percent, resampleCount, stoppable } from './long-work.js';
import { type CountProgress, countProgress, printResult, remark, table } from './output.js';
import { packageFolder } from './package-folder.js';

interface CohortOptions {
  readonly model?: string;
  readonly speakers?: number;
  readonly seconds: number;
  readonly condition: string[];
  readonly noise?: string;
  readonly skipLast: ReadonlyMap<string, number>;
  readonly exclude?: string[];
  readonly seed: number;
  readonly jobs?: number;
  readonly chooseOn?: string;
  readonly sizes: string[];
  readonly topN: string[];
  readonly resamples: number;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

type Steps = CountProgress<'cohort' | 'hearing' | 'comparing'>;

/** With fewer speakers than judge, all of them do: nothing adapts to the voice any more. */
const ADAPTIVE_FROM = 100;

export function registerCohort(program: Command): void {
  program
    .command('cohort')
    .description('make the cohort of a model package: embeddings of other speakers, for score normalisation')
    .argument(
      '<folders...>',
      'labelled speech (index.tsv, or a folder per speaker), of people who will not be verified',
    )
    .option('--model <folder>', 'model package (default: MODEL_ID in MODELS_DIR); needs manifest.json and model.onnx')
    .option('--speakers <n>', 'take only so many, drawn from all folders alike', count)
    .option('--seconds <n>', 'net speech per speaker, at most', count, 10)
    .option(
      '--condition <name...>',
      'telephone conditions that the speakers go through in turn, as in voice-auth eval run',
      ['mulaw', 'alaw', 'gsm', 'opus-12k'],
    )
    .option('--noise <folder>', 'noise recordings for noise-<snr>db')
    .addOption(
      new Option('--skip-last <corpus=n>', 'leave out the last n speakers of a corpus (repeatable)')
        .argParser(skipLast)
        .default(HELD_OUT, [...HELD_OUT].map(([name, n]) => `${name}=${n}`).join(', ')),
    )
    .option('--exclude <corpus/speaker...>', 'leave out these speakers')
    .option('--seed <n>', 'seed of the drawing', count, 1)
    .option('--jobs <n>', 'inference processes, and recordings in work at once (default: INFERENCE_CHILDREN)', count)
    .option('--choose-on <folder>', 'compare sizes on these telephone calls, of people who are not in the cohort')
    .option('--sizes <n...>', 'sizes to compare: numbers, or all', ['50', '100', '200', 'all'])
    .option('--top-n <n...>', 'how many of the closest speakers judge, to compare', ['20', '50', '100', '200'])
    .option('--resamples <n>', 'resamples of the people behind the intervals', resampleCount, 200)
    .option('--dry-run', 'write nothing')
    .option('--json', 'print as one line of JSON')
    .addHelpText(
      'after',
      `
A calibration belongs to the cohort it was fitted with: run voice-auth calibrate afterwards.
There is no cohort from a deployment's own users: their templates would leave the database in it (docs/models.md).

Examples:
  voice-auth cohort ./speechocean762 ./librispeech --model models/my-model
  voice-auth cohort ./speech --model models/my-model --skip-last speech=20 --choose-on ./calls --dry-run`,
    )
    .action(cohortAction);
}

async function cohortAction(folders: string[], options: CohortOptions): Promise<void> {
  const json = options.json === true;
  const config = loadConfig();
  const target = packageFolder(options.model, config);
  // Before anything that takes long: whether there is a model to embed with, and a place to write to.
  await loadModelFiles(target.modelsDir, target.modelId);
  if (!options.dryRun) await requireWritable(target.folder);
  const chosen = await readSpeakers(folders, { skipLast: options.skipLast, exclude: new Set(options.exclude ?? []) });
  const shuffled = shuffleSpeakers(chosen.speakers, options.seed).slice(0, options.speakers);
  const calls = await callsToChooseOn(options, shuffled);
  const wanted = options.condition.map(parseDegradation);
  if (wanted.some(needsNoise) && options.noise === undefined) {
    throw new CommandError('A noise-<snr>db condition needs --noise <folder>');
  }
  const jobs = options.jobs ?? config.embedder.children;
  const progress: Steps = countProgress(json, {
    cohort: 'speakers embedded',
    hearing: 'calls embedded',
    comparing: 'cohorts compared',
  });
  const { cohort, conditions, figures } = await stoppable('Stopped. Nothing was written.', async (signal) => {
    const path = await openSpeechPath({
      embedder: target,
      recordings: { ...config.recordings, maxDurationMs: MAX_RECORDING_MS },
      jobs,
    });
    const tools = { path, jobs, signal, progress };
    try {
      const { programSearchPath } = config.recordings;
      const possible = await possibleConditions(wanted, options, { programSearchPath, signal });
      const made = await make(shuffled, options, { ...tools, ...possible });
      return {
        cohort: made,
        conditions: possible.conditions,
        figures: calls ? await compare(calls, made, options, tools) : undefined,
      };
    } finally {
      await path.close();
    }
  }).finally(progress.stop);
  const command = commandOf(options, chosen, conditions);
  const installed = options.dryRun ? undefined : await installCohort(target.folder, { ...cohort, command });
  const lines = [
    ...(figures ? [figuresTable(figures), ''] : []),
    summary(cohort, chosen),
    installed
      ? `Written: cohort.f32 and manifest.json of ${target.modelId}, SHA-256 ${installed.sha256}`
      : 'Nothing was written (--dry-run).',
    ...(installed ? [nextStep(target.modelId, installed)] : []),
  ];
  const body = {
    id: target.modelId,
    count: cohort.count,
    tooShort: cohort.tooShort,
    heldOut: Object.fromEntries(chosen.heldOut),
    sha256: installed?.sha256 ?? null,
    changed: installed?.changed ?? false,
    calibrationSetAside: installed?.setAside ?? null,
    ...(figures ? { figures } : {}),
  };
  printResult(json, body, lines.join('\n'));
  if (cohort.count < ADAPTIVE_FROM) {
    remark(
      json,
      `${cohort.count} speakers are few: with less than ${ADAPTIVE_FROM}, all of them judge every voice, not those most like it.`,
    );
  }
}

async function callsToChooseOn(options: CohortOptions, speakers: readonly Speaker[]): Promise<Corpus | undefined> {
  if (options.chooseOn === undefined) return undefined;
  const [corpus] = await readCorpora([options.chooseOn]);
  const own = new Set(corpus!.recordings.map(({ speaker }) => speaker));
  if (speakers.some(({ name }) => own.has(name))) {
    throw new CommandError(`${corpus!.name}: its people are in the cohort that would be judged on their calls`);
  }
  return corpus;
}

/** Those that can be done here, and the codec that they need. Throws `CommandError` when none can. */
async function possibleConditions(
  wanted: readonly Degradation[],
  options: CohortOptions,
  { programSearchPath, signal }: { readonly programSearchPath: string; readonly signal: AbortSignal },
): Promise<{ readonly conditions: readonly Degradation[]; readonly codec: Codec | undefined }> {
  const codec = findCodec(programSearchPath, signal);
  const conditions: Degradation[] = [];
  for (const condition of wanted) {
    const missing = await missingForCodec(condition, codec);
    if (missing === undefined) conditions.push(condition);
    else remark(options.json === true, `The condition ${condition.name} is left out: ${missing}.`);
  }
  if (conditions.length === 0) throw new CommandError('None of the conditions is possible here');
  return { conditions, codec };
}

async function make(
  speakers: readonly Speaker[],
  options: CohortOptions,
  tools: {
    readonly path: SpeechPath;
    readonly jobs: number;
    readonly signal: AbortSignal;
    readonly progress: Steps;
    readonly conditions: readonly Degradation[];
    readonly codec: Codec | undefined;
  },
): Promise<CohortEmbeddings> {
  const { path, signal, progress } = tools;
  return embedCohort(speakers, {
    path,
    degradations: tools.conditions,
    codec: tools.codec,
    noise: options.noise === undefined ? undefined : await readNoise(options.noise, path, signal),
    seconds: options.seconds,
    jobs: tools.jobs,
    signal,
    onProgress: (done, total) => progress.update('cohort', done, total),
  });
}

async function compare(
  calls: Corpus,
  cohort: CohortEmbeddings,
  options: CohortOptions,
  tools: { readonly path: SpeechPath; readonly jobs: number; readonly signal: AbortSignal; readonly progress: Steps },
): Promise<readonly CohortFigures[]> {
  const heard = await hearCalls(calls, PROBES, {
    ...tools,
    onProgress: (done, total) => tools.progress.update('hearing', done, total),
  });
  const sizes = options.sizes.map((size) => (size === 'all' ? cohort.count : wholeNumber(size)));
  const tooLarge = sizes.filter((size) => size > cohort.count);
  if (tooLarge.length > 0) {
    remark(options.json === true, `${cohort.count} speakers make no cohort of ${tooLarge.join(', ')}: left out.`);
  }
  return chooseCohort(heard, cohort, {
    sizes,
    tops: options.topN.map(wholeNumber),
    bootstrap: { resamples: options.resamples, seed: options.seed },
    signal: tools.signal,
    onProgress: (done, total) => tools.progress.update('comparing', done, total),
  });
}

function figuresTable(figures: readonly CohortFigures[]): string {
  const names = PROBES.map((probe) =>
    probe.kind === 'all' ? 'all speech' : `${segmentName(probe).replace('-', ' ')} s`,
  );
  const header = ['cohort', 'top N', ...names.flatMap((name) => [`EER, ${name}`, '95 %', 'actDCF, 1 in 20'])];
  const rows = figures.map(({ cohort, probes }) => [
    cohort ? String(cohort.size) : 'none',
    cohort ? String(cohort.top) : '-',
    ...probes.flatMap(({ equalErrorRate: { value, low, high }, actDcf }) => [
      percent(value),
      low === null || high === null ? '-' : `${percent(low)} to ${percent(high)}`,
      actDcf === null ? '-' : actDcf.toFixed(3),
    ]),
  ]);
  return table(header, rows);
}

function summary(cohort: CohortEmbeddings, { heldOut }: ChosenSpeakers): string {
  const out = [...heldOut].map(([name, number]) => `${number} of ${name}`).join(', ');
  return (
    `${cohort.count} speakers in the cohort; ${cohort.tooShort} have too little speech; ` +
    `held out: ${out === '' ? 'nobody' : out}`
  );
}

function nextStep(modelId: string, { changed, setAside }: InstalledCohort): string {
  if (!changed) return 'It is the cohort that was there before: a calibration that was made with it still holds.';
  const why = setAside === undefined ? '' : `The calibration was of the cohort before; it is now ${setAside}. `;
  return `${why}The calibration must be made anew: voice-auth calibrate (until then ${modelId} is refused without one).`;
}

/** The command that gives this cohort again, with data by name: where folders lie is nobody's business. */
function commandOf(options: CohortOptions, { speakers }: ChosenSpeakers, conditions: readonly Degradation[]): string {
  const corpora = new Set(speakers.map(({ corpus }) => corpus));
  const words = ['voice-auth cohort', ...corpora, '--model <package folder>'];
  if (options.speakers !== undefined) words.push(`--speakers ${options.speakers}`);
  words.push(`--seconds ${options.seconds}`, `--condition ${conditions.map(({ name }) => name).join(' ')}`);
  if (options.noise !== undefined) words.push('--noise <folder>');
  for (const [name, number] of options.skipLast) if (corpora.has(name)) words.push(`--skip-last ${name}=${number}`);
  if (options.exclude) words.push(`--exclude ${options.exclude.join(' ')}`);
  words.push(`--seed ${options.seed}`);
  return words.join(' ');
}

function skipLast(text: string, former: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  const [, corpus, number] = /^([^=]+)=(\d+)$/.exec(text) ?? [];
  if (corpus === undefined) throw new InvalidArgumentError('Write it as <corpus>=<n>, with the name of the folder.');
  return new Map([...former, [corpus, Number(number)]]);
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 2) return value;
  throw new CommandError(`${text} is no number of speakers: a cohort has at least two`);
}
