/** `voice-auth eval`: measures the model and the decision rule on labelled speech, and writes a report. */
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Command, Option } from 'commander';
import { loadConfig } from '../config/config.js';
import { parseDegradation } from '../eval-run/degradations.js';
import { type Corpus, readCorpora } from '../eval-run/read-corpus.js';
import { runEvaluation } from '../eval-run/run-evaluation.js';
import { parseSegment } from '../eval-run/segments.js';
import { playedTitle } from '../evaluation/plots/plots.js';
import { renderReport } from '../evaluation/report.js';
import { type CorpusResults, type Results, resultsSchema } from '../evaluation/results.js';
import { summarise } from '../evaluation/summary.js';
import { judgedCalls, thresholdMarkdown, thresholdTable } from '../evaluation/threshold-table.js';
import { eachTrial, formatTrials, parseTrials, type Trial } from '../evaluation/trials.js';
import { CommandError } from './command-error.js';
import { readInput } from './input-file.js';
import { count, MAX_RECORDING_MS, resampleCount, stoppable } from './long-work.js';
import { countProgress, printResult, remark, table } from './output.js';

interface RunOptions {
  readonly data: string[];
  readonly out: string;
  readonly cache?: string;
  readonly enroll: string[];
  readonly test: string[];
  readonly condition: string[];
  readonly degrade: 'test' | 'both';
  readonly noise?: string;
  readonly trials?: string;
  readonly live: boolean;
  readonly jobs?: number;
  readonly maxSpeech: number;
  readonly resamples: number;
  readonly seed: number;
  readonly json?: boolean;
}

export function registerEval(program: Command): void {
  const evaluation = program
    .command('eval')
    .description('measure error rates, costs and claims on labelled speech, and write a report');
  registerRun(evaluation);
  evaluation
    .command('report')
    .description('write the HTML report of an evaluation again, from its results.json')
    .argument('<results>', 'results.json of an evaluation')
    .option('--out <file>', 'HTML file to write (default: report.html beside the results)')
    .option('--json', 'print the path as one line of JSON')
    .action(async (path: string, options: { out?: string; json?: boolean }) => {
      const report = options.out ?? join(dirname(path), 'report.html');
      await writeFile(report, renderReport(await readResults(path)));
      printResult(options.json === true, { report }, `Report: ${report}`);
    });
  evaluation
    .command('thresholds')
    .description('print which threshold lets through whom, as a Markdown table, from the results.json of an evaluation')
    .argument('<results>', 'results.json of an evaluation with played calls')
    .addOption(
      new Option(
        '--calibration <which>',
        'judged by which calibration (default: cross-validated where there is one)',
      ).choices(['shipped', 'cross-validated']),
    )
    .option('--json', 'print the figures as one line of JSON')
    .addHelpText('after', '\nExample:\n  voice-auth eval thresholds ./evaluation/results.json')
    .action(async (path: string, options: { calibration?: string; json?: boolean }) => {
      const { calibration: asked } = options;
      const found = (await readResults(path)).corpora.map((corpus) => {
        const judged = asked ? corpus.live.find(({ calibration }) => calibration === asked) : judgedCalls(corpus);
        if (!judged)
          throw new CommandError(
            `${path} is without played calls${asked ? ` of calibration ${asked}` : ''}: run voice-auth eval run without --no-live`,
          );
        return { name: corpus.name, judged };
      });
      const figures = { corpora: found.map(({ name, judged }) => ({ name, ...judged })) };
      const tables = found.map(({ name, judged }) => {
        const text = thresholdMarkdown(thresholdTable(judged));
        // One table alone needs no name, so that it can go into a document as it is.
        return found.length === 1 ? text : `${name}:\n\n${text}`;
      });
      printResult(options.json === true, figures, tables.join('\n').trimEnd());
      const titles = new Set(found.flatMap(({ judged }) => playedTitle(judged) ?? []));
      for (const title of titles) remark(options.json === true, `Calls: ${title}`);
    });
  evaluation
    .command('trials')
    .description('write the trial list of labelled speech (enroll-id test-id target|nontarget)')
    .requiredOption('--data <folder>', 'folder of labelled speech; repeatable', collect)
    .option('--out <file>', 'file to write (default: standard output)')
    .option('--json', 'print the counts as one line of JSON (needs --out)')
    .addHelpText('after', '\nExample:\n  voice-auth eval trials --data ./calls --out trials.txt')
    .action(async (options: { data: string[]; out?: string; json?: boolean }) => {
      if (options.json && options.out === undefined) {
        throw new CommandError('--json prints counts: say with --out where the trials go');
      }
      const tally = { targets: 0, nontargets: 0 };
      const trials = counted(allTrials(await readCorpora(options.data)), tally);
      if (options.out === undefined) {
        await pipeline(Readable.from(formatTrials(trials)), process.stdout, { end: false });
        return;
      }
      await writeTrials(options.out, trials);
      const counts = { file: options.out, ...tally };
      printResult(
        options.json === true,
        counts,
        `${counts.targets} target and ${counts.nontargets} nontarget trials: ${options.out}`,
      );
    });
}

function registerRun(evaluation: Command): void {
  evaluation
    .command('run')
    .description(
      'embed recordings as the service does, score all trials, write results.json, report.html and trials.txt',
    )
    .requiredOption('--data <folder>', 'folder of labelled speech; repeatable', collect)
    .requiredOption('--out <folder>', 'folder for the results')
    .option(
      '--cache <folder>',
      'folder for embeddings, which are biometric data (default: cache in the results folder)',
    )
    .option('--enroll <seconds...>', 'net speech of the enrolled side, from its start: seconds or all', ['15'])
    .option('--test <seconds...>', 'net speech of the tested side, from its end: seconds or all', [
      'all',
      '10',
      '5',
      '3',
    ])
    .option(
      '--condition <name...>',
      'as-is, mulaw, alaw, gsm, opus-8k, opus-12k, band-8k, white-<snr>db, noise-<snr>db, room, handset; several in turn joined by +',
      ['as-is'],
    )
    .addOption(
      new Option('--degrade <side>', 'which side conditions apply to').choices(['test', 'both']).default('test'),
    )
    .option('--noise <folder>', 'noise recordings for noise-<snr>db')
    .option('--trials <file>', 'only the trials of this list')
    .option('--no-live', 'leave out playing calls against the decision rule')
    .option('--jobs <n>', 'inference processes, and recordings in work at once (default: INFERENCE_CHILDREN)', count)
    .option('--max-speech <seconds>', 'net speech taken of a recording at most', count, 120)
    .option('--resamples <n>', 'resamples of the speakers behind the intervals', resampleCount, 1000)
    .option('--seed <n>', 'seed of the resampling', count, 1)
    .option('--json', 'print the results as one line of JSON')
    .addHelpText(
      'after',
      `
Data: index.tsv (speaker, utterance, start_s, duration_s, file; write the speaker as person/call where calls are known),
or speaker/recording.wav, or speaker/session/recording.wav. Ctrl-C stops; the same command goes on where it was.
Whole calls are played under the first --condition, with the first --enroll.

Examples:
  voice-auth eval run --data ./calls --out ./evaluation
  voice-auth eval run --data ./calls --out ./codecs --condition as-is mulaw gsm opus-8k --test 5
  voice-auth eval run --data ./calls --out ./noise --condition noise-10db+mulaw --noise ./noise --enroll 10 20`,
    )
    .action(runAction);
}

async function runAction(options: RunOptions): Promise<void> {
  const json = options.json === true;
  const config = loadConfig();
  const corpora = await readCorpora(options.data);
  const given = options.trials === undefined ? undefined : await readTrials(options.trials);
  const plan = {
    corpora,
    trials: given,
    enroll: options.enroll.map((text) => parseSegment(text, 'first')),
    test: options.test.map((text) => parseSegment(text, 'last')),
    degradations: [...new Set(options.condition)].map(parseDegradation),
    degraded: options.degrade,
    noiseFolder: options.noise,
    live: options.live,
    maxSpeechMs: options.maxSpeech * 1000,
    bootstrap: { resamples: options.resamples, seed: options.seed },
  };
  await mkdir(options.out, { recursive: true });
  const progress = countProgress(json, { embedding: 'recordings embedded', measuring: 'conditions measured' });
  const results = await stoppable('Stopped. The same command goes on where it was.', (signal) =>
    runEvaluation(plan, {
      service: {
        embedder: config.embedder,
        recordings: { ...config.recordings, maxDurationMs: MAX_RECORDING_MS },
        jobs: options.jobs ?? config.embedder.children,
      },
      cacheFolder: options.cache ?? join(options.out, 'cache'),
      signal,
      onProgress: progress.update,
      createdAt: new Date().toISOString(),
      command: commandOf(options, corpora),
    }),
  ).finally(progress.stop);
  const files = { results: join(options.out, 'results.json'), report: join(options.out, 'report.html') };
  await writeFile(files.results, `${JSON.stringify(results)}\n`);
  await writeFile(files.report, renderReport(results));
  await writeTrials(join(options.out, 'trials.txt'), given ?? allTrials(corpora));
  const found = results.corpora.flatMap((corpus) => [
    `${corpus.name}:`,
    ...summarise(corpus).map((line) => `- ${line}`),
    ...thresholdLines(corpus),
  ]);
  printResult(json, results, [...found, ...results.notes].join('\n'));
  remark(json, `Report: ${files.report}\nResults: ${files.results}`);
}

function thresholdLines(corpus: CorpusResults): string[] {
  const judged = judgedCalls(corpus);
  if (!judged) return [];
  const { header, rows } = thresholdTable(judged);
  return ['', table(header, rows), ''];
}

function allTrials(corpora: readonly Corpus[]): Iterable<Trial> {
  return eachTrial(corpora.flatMap(({ recordings }) => recordings));
}

/** Piece by piece: all of some thousand recordings are more than a string can hold. */
async function writeTrials(path: string, trials: Iterable<Trial>): Promise<void> {
  await pipeline(Readable.from(formatTrials(trials)), createWriteStream(path));
}

function* counted(trials: Iterable<Trial>, tally: { targets: number; nontargets: number }): Generator<Trial> {
  for (const trial of trials) {
    tally[trial.target ? 'targets' : 'nontargets']++;
    yield trial;
  }
}

async function readTrials(path: string): Promise<readonly Trial[]> {
  const text = (await readInput(path)).toString();
  const parsed = parseTrials(text);
  if (parsed.kind === 'invalid') throw new CommandError(`${path}, line ${parsed.line}: ${parsed.problem}`);
  return parsed.trials;
}

async function readResults(path: string): Promise<Results> {
  const text = (await readInput(path)).toString();
  try {
    return resultsSchema.parse(JSON.parse(text));
  } catch {
    throw new CommandError(`${path} is not the results.json of an evaluation by this version`);
  }
}

/** The command that gives these results again, with data by name: where folders lie is nobody's business. */
function commandOf(options: RunOptions, corpora: readonly Corpus[]): string {
  const words = ['voice-auth eval run', ...corpora.map(({ name }) => `--data ${name}`), '--out <folder>'];
  words.push(`--enroll ${options.enroll.join(' ')}`, `--test ${options.test.join(' ')}`);
  words.push(`--condition ${options.condition.join(' ')}`, `--degrade ${options.degrade}`);
  if (options.noise !== undefined) words.push('--noise <folder>');
  if (options.trials !== undefined) words.push('--trials <file>');
  if (!options.live) words.push('--no-live');
  words.push(`--max-speech ${options.maxSpeech}`, `--resamples ${options.resamples}`, `--seed ${options.seed}`);
  return words.join(' ');
}

function collect(value: string, former: string[] | undefined): string[] {
  return [...(former ?? []), value];
}
