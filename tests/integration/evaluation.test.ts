/** The evaluation on the project's own (synthetic) voices, through the real decoder, detector and inference children. */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/config.js';
import { parseDegradation } from '../../src/eval-run/degradations.js';
import { readCorpora } from '../../src/eval-run/read-corpus.js';
import { type EvaluationPlan, type EvaluationRun, runEvaluation } from '../../src/eval-run/run-evaluation.js';
import { renderReport } from '../../src/evaluation/report.js';
import { thresholdMarkdown, thresholdTable } from '../../src/evaluation/threshold-table.js';
import { parseTrials } from '../../src/evaluation/trials.js';
import { builtModule } from '../support/built.js';
import { toyResults } from '../support/toy-evaluation.js';

const VOICES = fileURLToPath(new URL('../fixtures/voices', import.meta.url));
let folder: string;
let data: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evaluation-'));
  data = join(folder, 'voices');
  for (const name of await readdir(VOICES)) {
    const [, person, session] = /^(\w+)-(.*)\.wav$/.exec(name) ?? [];
    if (!person || !session) continue;
    await mkdir(join(data, person, session), { recursive: true });
    await copyFile(join(VOICES, name), join(data, person, session, 'audio.wav'));
  }
});
afterAll(() => rm(folder, { recursive: true }));

async function evaluate(plan: Partial<EvaluationPlan>, run: Partial<EvaluationRun> = {}) {
  const config = loadConfig();
  return runEvaluation(
    {
      corpora: await readCorpora([data]),
      trials: undefined,
      enroll: [{ kind: 'all' }],
      test: [{ kind: 'last', seconds: 3 }],
      degradations: [parseDegradation('as-is')],
      degraded: 'test',
      noiseFolder: undefined,
      live: false,
      maxSpeechMs: 120_000,
      bootstrap: { resamples: 20, seed: 1 },
      ...plan,
    },
    {
      service: {
        embedder: config.embedder,
        recordings: { ...config.recordings, programSearchPath: '' },
        jobs: 1,
        modules: {
          inferenceChild: builtModule('embedder/inference-child.js'),
          decodeWorker: builtModule('recordings/decode-worker.js'),
        },
      },
      cacheFolder: join(folder, 'cache'),
      signal: new AbortController().signal,
      onProgress: () => undefined,
      createdAt: '2026-01-02T03:04:05.000Z',
      command: 'voice-auth eval run',
      ...run,
    },
  );
}

function voiceAuth(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [fileURLToPath(builtModule('cli/main.js')), ...args], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, stdout, stderr });
    });
  });
}

describe('runEvaluation', { timeout: 180_000 }, () => {
  it('tells synthetic voices apart, in every condition, and skips what needs a program that is not there', async () => {
    const results = await evaluate({
      degradations: ['as-is', 'mulaw+white-20db', 'gsm'].map(parseDegradation),
      live: true,
      test: [{ kind: 'all' }],
    });
    const [corpus] = results.corpora;
    expect(corpus).toMatchObject({ name: 'voices', speakers: 4, recordings: 10, unusable: 0, sessionsKnown: true });
    expect(corpus!.conditions.map(({ degradation }) => degradation)).toEqual(['as-is', 'mulaw+white-20db']);
    const perPerson = new Map<string, number>();
    for (const { speaker } of (await readCorpora([data]))[0]!.recordings) {
      perPerson.set(speaker, (perPerson.get(speaker) ?? 0) + 1);
    }
    const targets = [...perPerson.values()].reduce((sum, calls) => sum + calls * (calls - 1), 0);
    const [cosine, normalised] = corpus!.conditions[0]!.systems;
    expect([cosine!.targets, cosine!.nontargets]).toEqual([targets, 10 * 9 - targets]);
    expect(normalised!.measures.eer!.value).toBeLessThan(0.2);
    expect(corpus!.conditions[1]!.systems[0]!.det).not.toEqual(cosine!.det);
    expect(corpus!.live[0]).toMatchObject({ calibration: 'shipped', degradation: 'as-is', enroll: 'all' });
    expect(results.settings.trials).toBe('all');
    expect(results.notes.join('\n')).toMatch(/gsm was skipped: ffmpeg is not installed/);
    expect(renderReport(results)).toContain('gsm was skipped');
  });

  it('refuses less speech than the model takes before anything is heard', async () => {
    const short = { kind: 'last', seconds: 1 } as const;
    const onProgress = () => expect.unreachable('nothing is heard');
    for (const plan of [{ test: [{ kind: 'all' } as const, short] }, { enroll: [short] }, { maxSpeechMs: 1000 }]) {
      await expect(evaluate(plan, { onProgress })).rejects.toThrow(
        /^1 s of speech cannot be compared: .* takes 1\.5 s/,
      );
    }
  });

  it('takes embeddings from the cache, adds what is missing, and gives the same figures', async () => {
    const cacheFolder = join(folder, 'second-cache');
    const first = await evaluate({}, { cacheFolder });
    const files = await readdir(cacheFolder);
    expect(files).toHaveLength(10);
    const written = await Promise.all(files.map((name) => readFile(join(cacheFolder, name), 'utf8')));
    // A value that no model gives: whoever reads it read the cache.
    const marked = JSON.parse(written[0]!) as { segments: Record<string, { embedding: string }> };
    marked.segments['last-3']!.embedding = Buffer.from(new Float32Array(192).fill(1 / Math.sqrt(192)).buffer).toString(
      'base64',
    );
    await writeFile(join(cacheFolder, files[0]!), JSON.stringify(marked));
    const second = await evaluate({}, { cacheFolder });
    expect(second.corpora[0]!.conditions[0]!.systems[0]!.histogram).not.toEqual(
      first.corpora[0]!.conditions[0]!.systems[0]!.histogram,
    );
    await writeFile(join(cacheFolder, files[0]!), written[0]!);
    expect(await evaluate({}, { cacheFolder })).toEqual(first);
    await evaluate({ test: [{ kind: 'last', seconds: 2 }] }, { cacheFolder });
    const grown = JSON.parse(await readFile(join(cacheFolder, files[0]!), 'utf8')) as { segments: object };
    expect(Object.keys(grown.segments).sort()).toEqual(['all', 'last-2', 'last-3']);
  });

  it('stops when it is told to, and goes on from there', async () => {
    const cacheFolder = join(folder, 'third-cache');
    const stop = new AbortController();
    const seen: number[] = [];
    const stopped = evaluate(
      {},
      {
        cacheFolder,
        signal: stop.signal,
        onProgress: (step, done) => {
          if (step === 'embedding' && done === 3) stop.abort(new Error('enough for today'));
        },
      },
    );
    await expect(stopped).rejects.toThrow('enough for today');
    expect(await readdir(cacheFolder)).toHaveLength(3);
    await evaluate({}, { cacheFolder, onProgress: (step, done) => step === 'embedding' && seen.push(done) });
    expect(seen).toHaveLength(10);
    expect(await readdir(cacheFolder)).toHaveLength(10);
  });

  it('evaluates only the trials of a list, and refuses one that contradicts the names', async () => {
    const [corpus] = await readCorpora([data]);
    const ids = corpus!.recordings.map(({ id }) => id);
    const alice = ids.filter((id) => id.includes('alice'));
    const bob = ids.filter((id) => id.includes('bob'));
    const trials = [
      { enrollId: alice[0]!, testId: alice[1]!, target: true },
      { enrollId: alice[0]!, testId: bob[0]!, target: false },
    ];
    const embedded: number[] = [];
    const onProgress: EvaluationRun['onProgress'] = (step, done) => void (step === 'embedding' && embedded.push(done));
    const results = await evaluate({ trials }, { onProgress });
    expect(results.corpora[0]!.conditions[0]!.systems[0]).toMatchObject({ targets: 1, nontargets: 1 });
    expect(results.corpora[0]).toMatchObject({ speakers: 2, recordings: 3 });
    expect(embedded).toEqual([1, 2, 3]);
    expect(results.settings.trials).toBe('list');
    expect(renderReport(results)).toContain('Trials are those of a list that was given');
    expect(results.notes.join('\n')).toMatch(/too few people/);
    await expect(evaluate({ trials: [...trials, { ...trials[1]!, testId: bob[1]!, target: true }] })).rejects.toThrow(
      /contradict/,
    );
    await expect(evaluate({ trials: trials.slice(0, 1) })).rejects.toThrow(/no nontarget trials/);
    const lost = { ...trials[0]!, testId: 'voices/nobody' };
    await expect(evaluate({ trials: [...trials, lost] })).rejects.toThrow(/voices\/nobody, which the data do not have/);
    const itself = { ...trials[0]!, testId: alice[0]! };
    await expect(evaluate({ trials: [...trials, itself] })).rejects.toThrow(/make no trial/);
  });
});

describe('voice-auth eval', { timeout: 180_000 }, () => {
  it('runs, reports and lists trials', async () => {
    const out = join(folder, 'out');
    const run = await voiceAuth(
      'eval',
      'run',
      '--data',
      data,
      '--out',
      out,
      '--test',
      '3',
      '--no-live',
      '--resamples',
      '20',
      '--jobs',
      '1',
    );
    expect(run).toMatchObject({ code: 0 });
    expect(run.stdout).toContain('4 people in 10 recordings');
    expect(run.stderr).toContain('100 % of 10 recordings embedded');
    expect((await readdir(out)).sort()).toEqual(['cache', 'report.html', 'results.json', 'trials.txt']);
    const html = await readFile(join(out, 'report.html'), 'utf8');
    expect(html).not.toContain(folder);
    const again = await voiceAuth(
      'eval',
      'report',
      join(out, 'results.json'),
      '--out',
      join(folder, 'again.html'),
      '--json',
    );
    expect(JSON.parse(again.stdout)).toEqual({ report: join(folder, 'again.html') });
    expect(await readFile(join(folder, 'again.html'), 'utf8')).toBe(html);
    const unplayed = await voiceAuth('eval', 'thresholds', join(out, 'results.json'));
    expect(unplayed).toMatchObject({ code: 1, stderr: expect.stringContaining('without played calls') });
    const listed = await voiceAuth('eval', 'trials', '--data', data);
    expect(listed.stdout).toBe(await readFile(join(out, 'trials.txt'), 'utf8'));
    expect(parseTrials(listed.stdout)).toMatchObject({ kind: 'trials' });
  });

  it('prints the table of thresholds as Markdown and nothing else', async () => {
    const results = join(folder, 'toy-results.json');
    await writeFile(results, JSON.stringify(toyResults()));
    const { stdout, stderr } = await voiceAuth('eval', 'thresholds', results);
    expect(stderr).toBe('');
    const judged = toyResults().corpora[0]!.live[0]!;
    expect(stdout).toBe(thresholdMarkdown(thresholdTable(judged)));
    const json = await voiceAuth('eval', 'thresholds', results, '--calibration', 'cross-validated', '--json');
    expect(JSON.parse(json.stdout)).toEqual({ corpora: [{ name: 'calls', ...judged }] });
    expect(await voiceAuth('eval', 'thresholds', results, '--calibration', 'shipped')).toMatchObject({ code: 1 });

    const named = toyResults();
    Object.assign(named.corpora[0]!.live[0]!, { degradation: 'gsm', enroll: 'first-15' });
    await writeFile(results, JSON.stringify(named));
    expect(await voiceAuth('eval', 'thresholds', results)).toMatchObject({
      stdout,
      stderr: 'Calls: gsm, enrolled with first 15 s\n',
    });
  });

  it.each([
    { what: 'no data', args: ['trials', '--data', 'nowhere-at-all'], message: /cannot be read/ },
    { what: 'data without speakers', args: ['trials', '--data', VOICES], message: /No labelled speech/ },
    {
      what: 'a file that holds no results',
      args: ['report', fileURLToPath(import.meta.url)],
      message: /is not the results.json/,
    },
    {
      what: 'no number of jobs',
      args: ['run', '--data', 'x', '--out', 'x', '--jobs', '0'],
      message: /whole number above 0/,
    },
    {
      what: 'one resample',
      args: ['run', '--data', 'x', '--out', 'x', '--resamples', '1'],
      message: /whole number above 1/,
    },
  ])('explains $what in a line', async ({ args, message }) => {
    const { code, stderr } = await voiceAuth('eval', ...args);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  it('shows examples', async () => {
    const { stdout } = await voiceAuth('eval', 'run', '--help');
    expect(stdout).toContain('voice-auth eval run --data ./calls --out ./evaluation');
    expect(stdout).toContain('Ctrl-C');
    expect(stdout).toContain('Whole calls are played under the first --condition, with the first --enroll.');
  });
});
