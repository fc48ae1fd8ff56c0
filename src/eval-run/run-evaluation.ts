/**
 * A whole evaluation: recordings to embeddings by the service's own path, trials to scores, scores to figures. Embeddings
 * are cached, so that a run that was stopped goes on where it was; everything after them is done in memory.
 */
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BootstrapOptions } from '../evaluation/bootstrap.js';
import { detCurve } from '../evaluation/det.js';
import { LOOKS_S } from '../evaluation/fit-calibration.js';
import { measure, type SpeakerTrials } from '../evaluation/measure.js';
import { type ConditionResults, type CorpusResults, type Results, resultsSchema } from '../evaluation/results.js';
import { sortScores } from '../evaluation/scores.js';
import { histogram, thinDet } from '../evaluation/summarise-scores.js';
import type { Trial } from '../evaluation/trials.js';
import { SERVICE_VERSION } from '../version.js';
import { type ChosenTrials, chooseTrials } from './choose-trials.js';
import { findCodec, missingForCodec } from './codecs.js';
import { crossValidate, type NamedTrials, reported } from './cross-validate.js';
import { type Degradation, needsNoise, type Sound } from './degradations.js';
import { embedRecordings } from './embed-recordings.js';
import { type EmbeddedRecording, EmbeddingCache } from './embedding-cache.js';
import { EvaluationError } from './eval-error.js';
import {
  type CalibrationFor,
  checkClaims,
  crossValidated,
  type LiveTrial,
  liveTrials,
  playCalls,
} from './live-looks.js';
import { readNoise } from './noise.js';
import type { Corpus, Recording } from './read-corpus.js';
import { type ScoredTrials, scoreTrials, splitPeople, voicesOf } from './score-trials.js';
import { type Segment, segmentName } from './segments.js';
import { openServicePath, type ServicePath, type ServicePathConfig } from './service-path.js';

export interface EvaluationPlan {
  readonly corpora: readonly Corpus[];
  /** Restricts trials to these; undefined = all that the data allow. */
  readonly trials: readonly Trial[] | undefined;
  readonly enroll: readonly Segment[];
  readonly test: readonly Segment[];
  readonly degradations: readonly Degradation[];
  readonly degraded: 'test' | 'both';
  readonly noiseFolder: string | undefined;
  /** Whether calls are also played against the decision rule. */
  readonly live: boolean;
  readonly maxSpeechMs: number;
  readonly bootstrap: BootstrapOptions;
}

export interface EvaluationRun {
  readonly service: ServicePathConfig;
  readonly cacheFolder: string;
  readonly signal: AbortSignal;
  readonly onProgress: (step: 'embedding' | 'measuring', done: number, total: number) => void;
  /** For the results: when, and by what command. */
  readonly createdAt: string;
  readonly command: string;
}

/** A recording as it was heard under every condition. */
type Heard = ReadonlyMap<Recording, ReadonlyMap<string, EmbeddedRecording>>;

/** How often the people are cut into halves anew for what is fitted on one and applied to the other. */
const CUTS = 20;
const AS_IS: Degradation = { name: 'as-is', steps: [] };

/**
 * Throws `EvaluationError` for data or wishes that cannot be evaluated, `signal.reason` when stopped, and what the model or
 * its processes throw.
 */
export async function runEvaluation(plan: EvaluationPlan, run: EvaluationRun): Promise<Results> {
  const notes: string[] = [];
  const chosen = chooseTrials(plan.corpora, plan.trials);
  const service = await openServicePath(run.service);
  try {
    requireWindow(plan, service);
    const noise = plan.noiseFolder === undefined ? undefined : await readNoise(plan.noiseFolder, service, run.signal);
    const possible = await possibleDegradations(plan, run, { noise, notes });
    const recordings = chosen.flatMap(({ corpus }) => corpus.recordings);
    const heard = await hearAll(recordings, { ...plan, degradations: possible }, { run, service, noise });
    const corpora: CorpusResults[] = [];
    const steps = plan.corpora.length * possible.length * plan.enroll.length * plan.test.length;
    let done = 0;
    for (const of of chosen) {
      const measured = () => run.onProgress('measuring', ++done, steps);
      corpora.push(
        await evaluateCorpus(of, { ...plan, degradations: possible }, { run, service, heard, notes, measured }),
      );
    }
    return resultsSchema.parse({
      formatVersion: 2,
      createdAt: run.createdAt,
      serviceVersion: SERVICE_VERSION,
      command: run.command,
      model: {
        id: service.modelId,
        sha256: service.modelSha256,
        fittedOn: service.calibration.fittedOn ?? null,
        speechDetector: service.speechDetectorId,
      },
      settings: {
        resamples: plan.bootstrap.resamples,
        seed: plan.bootstrap.seed,
        maxSpeechMs: plan.maxSpeechMs,
        degraded: plan.degraded,
        trials: plan.trials ? 'list' : 'all',
      },
      corpora,
      notes,
    });
  } finally {
    await service.close();
  }
}

/** Throws for an amount of speech that the model takes none of: no recording could be embedded, however long it is. */
function requireWindow(plan: EvaluationPlan, { minWindowMs, modelId }: ServicePath): void {
  const asked = [...plan.enroll, ...plan.test].map((segment) => (segment.kind === 'all' ? Infinity : segment.seconds));
  const leastMs = Math.min(...asked.map((seconds) => seconds * 1000), plan.maxSpeechMs);
  if (leastMs >= minWindowMs) return;
  const [found, needed] = [leastMs, minWindowMs].map((ms) => `${ms / 1000} s`);
  throw new EvaluationError(`${found} of speech cannot be compared: ${modelId} takes ${needed} or more`);
}

async function possibleDegradations(
  plan: EvaluationPlan,
  run: EvaluationRun,
  found: { readonly noise: Sound | undefined; readonly notes: string[] },
): Promise<readonly Degradation[]> {
  const codec = findCodec(run.service.recordings.programSearchPath, run.signal);
  const possible: Degradation[] = [];
  for (const degradation of plan.degradations) {
    if (needsNoise(degradation) && !found.noise)
      throw new EvaluationError(`${degradation.name} needs --noise <folder>`);
    const missing = await missingForCodec(degradation, codec);
    if (missing === undefined) possible.push(degradation);
    else found.notes.push(`The condition ${degradation.name} was skipped: ${missing}.`);
  }
  if (possible.length === 0) throw new EvaluationError(found.notes.join(' '));
  return possible;
}

async function hearAll(
  recordings: readonly Recording[],
  plan: EvaluationPlan,
  deps: { readonly run: EvaluationRun; readonly service: ServicePath; readonly noise: Sound | undefined },
): Promise<Heard> {
  const { run } = deps;
  const looks: Segment[] = plan.live ? LOOKS_S.map((seconds) => ({ kind: 'first', seconds })) : [];
  const wanted = new Map<Degradation, Segment[]>();
  const want = (degradation: Degradation, segments: readonly Segment[]) =>
    wanted.set(degradation, [...(wanted.get(degradation) ?? []), ...segments]);
  plan.degradations.forEach((degradation, index) => {
    want(degradation, plan.test);
    want(enrolledUnder(degradation, plan), plan.enroll);
    if (index === 0) want(degradation, looks);
  });
  const jobs = recordings.flatMap((recording) =>
    [...wanted].map(([degradation, segments]) => ({ recording, degradation, segments })),
  );
  const embedded = await embedRecordings(jobs, {
    path: deps.service,
    cache: new EmbeddingCache(run.cacheFolder),
    jobs: run.service.jobs,
    maxSpeechMs: plan.maxSpeechMs,
    codec: findCodec(run.service.recordings.programSearchPath, run.signal),
    noise: deps.noise,
    noiseHash: deps.noise && createHash('sha256').update(new Uint8Array(deps.noise.samples.buffer)).digest('hex'),
    signal: run.signal,
    onProgress: (done, total) => run.onProgress('embedding', done, total),
  });
  const heard = new Map<Recording, Map<string, EmbeddedRecording>>();
  jobs.forEach(({ recording, degradation }, index) => {
    const own = heard.get(recording) ?? new Map<string, EmbeddedRecording>();
    heard.set(recording, own.set(degradation.name, embedded[index]!));
  });
  return heard;
}

/** The same object for the same condition, which is what recordings are listed by. */
function enrolledUnder(degradation: Degradation, plan: EvaluationPlan): Degradation {
  if (plan.degraded === 'both') return degradation;
  return plan.degradations.find(({ name }) => name === AS_IS.name) ?? AS_IS;
}

interface CorpusDeps {
  readonly run: EvaluationRun;
  readonly service: ServicePath;
  readonly heard: Heard;
  readonly notes: string[];
  readonly measured: () => void;
}

async function evaluateCorpus(
  { corpus, trials }: ChosenTrials,
  plan: EvaluationPlan,
  deps: CorpusDeps,
): Promise<CorpusResults> {
  const { service, heard, notes, run } = deps;
  const voices = (degradation: string, segment: Segment) =>
    voicesOf(
      corpus.recordings.map((recording) => ({ ...recording, embedded: heard.get(recording)!.get(degradation)! })),
      segmentName(segment),
      service.cohort,
    );
  const conditions: (NamedTrials & Pick<ConditionResults, 'degradation' | 'enroll' | 'test'>)[] = [];
  for (const degradation of plan.degradations) {
    for (const enroll of plan.enroll) {
      const enrolled = voices(enrolledUnder(degradation, plan).name, enroll);
      for (const test of plan.test) {
        const labels = { degradation: degradation.name, enroll: segmentName(enroll), test: segmentName(test) };
        const name = `${labels.degradation}, ${labels.enroll} against ${labels.test}`;
        conditions.push({ name, ...labels, trials: scoreTrials(trials, enrolled, voices(degradation.name, test)) });
      }
    }
  }
  const cuts = Array.from({ length: CUTS }, (_, index) => splitPeople(corpus.recordings, plan.bootstrap.seed + index));
  const halfOf = cuts[0]!;
  const validation = await crossValidate(conditions, cuts, { bootstrap: plan.bootstrap, signal: run.signal });
  if (!validation)
    notes.push(`${corpus.name}: too few people to fit a calibration on one half and try it on the other.`);
  if (!corpus.sessionsKnown) {
    notes.push(
      `${corpus.name}: the data do not say what was one call. Two recordings of a person may share room and ` +
        'microphone, so these error rates are lower than they would be on other calls.',
    );
  }
  const results: ConditionResults[] = [];
  for (const [index, { name, degradation, enroll, test, trials: scored }] of conditions.entries()) {
    // Between two computations of a second or so: Ctrl-C must be heard.
    await nextTurn();
    run.signal.throwIfAborted();
    requireBothKinds(name, scored);
    const systems = [
      systemResults('cosine', { ...scored, scores: scored.cosines }, plan.bootstrap),
      systemResults('as-norm', { ...scored, scores: scored.normScores }, plan.bootstrap),
      ...(validation ? [systemResults('calibrated', validation.llrs[index]!, plan.bootstrap)] : []),
    ];
    results.push({ name, degradation, enroll, test, systems });
    deps.measured();
  }
  // Playing every condition would take long; which one it was is part of the results.
  const [degradation, enroll] = [plan.degradations[0]!, plan.enroll[0]!];
  const live = plan.live
    ? liveTrials(
        trials,
        voices(enrolledUnder(degradation, plan).name, enroll),
        LOOKS_S.map((seconds) => voices(degradation.name, { kind: 'first', seconds })),
      )
    : [];
  return {
    name: corpus.name,
    speakers: new Set(corpus.recordings.map(({ speaker }) => speaker)).size,
    recordings: corpus.recordings.length,
    unusable: corpus.recordings.filter((recording) =>
      [...heard.get(recording)!.values()].some(({ segments }) => segments.size === 0),
    ).length,
    sessionsKnown: corpus.sessionsKnown,
    conditions: results,
    decisions: validation ? [...validation.decisions] : [],
    ...(await checkCalibrations(
      live,
      conditions.map(({ trials: scored }) => scored),
      { service, plan, halfOf, signal: run.signal },
    )),
  };
}

/** Claims and played calls: with the calibration as shipped, and with one fitted on the half of the people not judged. */
async function checkCalibrations(
  live: readonly LiveTrial[],
  conditions: readonly ScoredTrials[],
  deps: {
    readonly service: ServicePath;
    readonly plan: EvaluationPlan;
    readonly halfOf: ReturnType<typeof splitPeople>;
    readonly signal: AbortSignal;
  },
): Promise<Pick<CorpusResults, 'claims' | 'live'>> {
  const { calibration } = deps.service;
  const { bootstrap, degradations, enroll } = deps.plan;
  const choices: ['shipped' | 'cross-validated', CalibrationFor | undefined][] = [
    ['shipped', () => calibration],
    ['cross-validated', crossValidated(calibration, live, deps.halfOf)],
  ];
  const found: Pick<CorpusResults, 'claims' | 'live'> = { claims: [], live: [] };
  for (const [name, calibrationFor] of choices) {
    if (!calibrationFor) continue;
    await nextTurn();
    deps.signal.throwIfAborted();
    const options = { calibrationFor, bootstrap };
    const claims = checkClaims(name, conditions, options);
    if (claims) found.claims.push(claims);
    const played = playCalls(name, live, options);
    if (played) found.live.push({ ...played, degradation: degradations[0]!.name, enroll: segmentName(enroll[0]!) });
  }
  return found;
}

/** Leaving out recordings with too little speech may leave nothing of a kind. */
function requireBothKinds(condition: string, { isTarget }: ScoredTrials): void {
  if (isTarget.includes(1) && isTarget.includes(0)) return;
  throw new EvaluationError(`${condition}: too few recordings have enough speech for target and nontarget trials`);
}

function systemResults(
  system: ConditionResults['systems'][number]['system'],
  trials: SpeakerTrials,
  bootstrap: BootstrapOptions,
): ConditionResults['systems'][number] {
  const sorted = sortScores(trials.scores, trials.isTarget);
  const measures = measure(trials, { areLlrs: system === 'calibrated', bootstrap });
  return {
    system,
    targets: sorted.targets,
    nontargets: sorted.nontargets,
    measures: Object.fromEntries(Object.entries(measures).map(([name, value]) => [name, reported(value)])),
    det: thinDet(detCurve(sorted)),
    histogram: histogram(sorted),
  };
}
