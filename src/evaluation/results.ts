/** What an evaluation found, as it is written for machines (`results.json`) and rendered for people. */
import { z } from 'zod';

const estimate = z.strictObject({
  value: z.number(),
  /** 95 % of resamples of the speakers lie in here. */
  low: z.number().nullable(),
  high: z.number().nullable(),
});

const systemName = z.enum(['cosine', 'as-norm', 'calibrated']);

const system = z.strictObject({
  system: systemName,
  targets: z.number().int(),
  nontargets: z.number().int(),
  measures: z.record(z.string(), estimate),
  /** [fmr, fnmr], from accepting everybody to accepting nobody; thinned for drawing. */
  det: z.array(z.tuple([z.number(), z.number()])).min(2),
  /** Shares of targets and of nontargets per bin of equal width between `from` and `to`. */
  histogram: z.strictObject({
    from: z.number(),
    to: z.number(),
    targets: z.array(z.number()),
    nontargets: z.array(z.number()),
  }),
});

const condition = z.strictObject({
  name: z.string(),
  degradation: z.string(),
  enroll: z.string(),
  test: z.string(),
  systems: z.array(system).min(1),
});

const decisions = z.strictObject({
  /** A condition's name, or `all conditions`. */
  condition: z.string(),
  pTarget: z.number(),
  targets: z.number().int(),
  nontargets: z.number().int(),
  systems: z.array(
    z.strictObject({ system: systemName, pMiss: estimate, pFa: estimate, actDcf: estimate, saved: estimate }),
  ),
});

const calibrationName = z.enum(['shipped', 'cross-validated']);

const claims = z.strictObject({
  calibration: calibrationName,
  nontargets: z.number().int(),
  points: z.array(z.strictObject({ claimed: z.number(), observed: estimate })),
});

const live = z.strictObject({
  calibration: calibrationName,
  /** The condition that calls were played under, and the enrolled segment; absent in results from before they were named. */
  degradation: z.string().optional(),
  enroll: z.string().optional(),
  targets: z.number().int(),
  nontargets: z.number().int(),
  /** People whom strangers pretended to be. */
  owners: z.number().int(),
  rows: z.array(
    z.strictObject({
      threshold: z.number(),
      claimed: z.number(),
      observed: estimate,
      ownersAccepted: estimate,
      /** The same with every owner counting once, however many calls there are of them; absent in results from before it was counted. */
      eachOwnerAccepted: estimate.optional(),
      medianSpeechS: z.number().nullable(),
      /** Shares of the strangers' attempts on one person that were accepted, over the people. */
      perOwner: z.strictObject({
        mean: z.number(),
        /** Nine in ten people have at most this. */
        ninthTenth: z.number(),
        /** Share of the people to whom any stranger was matched. */
        matched: z.number(),
      }),
      /** Owners accepted by then, of all, also of those whose call was over before. */
      acceptedAfter: z.array(z.strictObject({ seconds: z.number(), share: estimate })),
      /** [net speech in s, share of owners accepted by then]. */
      curve: z.array(z.tuple([z.number(), z.number()])),
    }),
  ),
});

const corpus = z.strictObject({
  name: z.string(),
  speakers: z.number().int(),
  recordings: z.number().int(),
  /** Recordings with too little speech for the model. */
  unusable: z.number().int(),
  sessionsKnown: z.boolean(),
  conditions: z.array(condition),
  decisions: z.array(decisions),
  claims: z.array(claims),
  live: z.array(live),
});

export const resultsSchema = z.strictObject({
  formatVersion: z.literal(2),
  createdAt: z.string(),
  serviceVersion: z.string(),
  command: z.string(),
  model: z.strictObject({
    id: z.string(),
    sha256: z.string(),
    fittedOn: z.string().nullable(),
    /** `silero`, or the SHA-256 of the package's `speech.onnx`; absent in results from before there was a choice. */
    speechDetector: z.string().optional(),
  }),
  settings: z.strictObject({
    resamples: z.number().int(),
    seed: z.number().int(),
    maxSpeechMs: z.number(),
    degraded: z.enum(['test', 'both']),
    /** Whether trials are all that the data allow or those of a list; absent in results from before it was said. */
    trials: z.enum(['all', 'list']).optional(),
  }),
  corpora: z.array(corpus),
  notes: z.array(z.string()),
});

export type Results = z.output<typeof resultsSchema>;
export type CorpusResults = Results['corpora'][number];
export type ConditionResults = CorpusResults['conditions'][number];
export type SystemResults = ConditionResults['systems'][number];
/** What one threshold does to whole calls. */
export type LiveRow = CorpusResults['live'][number]['rows'][number];
export type SystemName = SystemResults['system'];
export type ReportedEstimate = z.output<typeof estimate>;

/** FNMR at this FMR; undefined where no FMR but 0 is as low, which says something about the number of nontargets only. */
export function missesAt({ measures, nontargets }: Pick<SystemResults, 'measures' | 'nontargets'>, fmr: number) {
  return fmr * nontargets < 1 ? undefined : measures[`pMiss@${fmr}`];
}

/** How systems are called in text for people. */
export const SYSTEM_TITLES: Readonly<Record<SystemName, string>> = {
  cosine: 'raw cosine',
  'as-norm': 'AS-norm',
  calibrated: 'AS-norm + calibration',
};
