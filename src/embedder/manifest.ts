/**
 * What a model package says about itself (`models/<id>/manifest.json`). Preprocessing travels with the model: a field that
 * this version does not know is an error, because ignoring it could silently produce embeddings of something else.
 */
import { z } from 'zod';
import { FBANK_WINDOWS, Fbank, type FbankOptions } from '../audio/fbank.js';

export const MODEL_ID_PATTERN = /^[a-z0-9][a-z0-9._-]*$/;

/** What the caller says is found at this rate and goes to the network as it was found; nothing resamples in between. */
const MODEL_RATE_HZ = 16_000;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lowercase hexadecimal digits');
const count = z.number().int().min(1);

/** Name of a graph's input or output; null = it has only one, whose name nobody needs to know. */
const tensor = z.string().min(1).nullable();

const inputSchema = z.discriminatedUnion('kind', [
  /** Samples in [-1, 1], shape [batch, samples] or [batch, 1, samples]; the front end is inside the graph. */
  z.strictObject({ kind: z.literal('waveform'), tensor }),
  /** Log-mel features as Kaldi defines them (`audio/fbank.ts`), shape [batch, frames, values]. */
  z
    .strictObject({
      kind: z.literal('fbank'),
      tensor,
      numMelBins: count.max(256),
      frameLengthMs: z.number().min(5).max(100),
      frameShiftMs: z.number().min(1).max(100),
      /** Only whole frames, and no noise added: the other ways of Kaldi are not computed. */
      snipEdges: z.literal(true),
      dither: z.literal(0),
      window: z.enum(FBANK_WINDOWS),
      removeDcOffset: z.boolean(),
      preemphasis: z.number().min(0).max(1),
      lowFreqHz: z.number().min(0),
      highFreqHz: z.number().min(1),
      usePower: z.boolean(),
      useEnergy: z.boolean(),
      rawEnergy: z.boolean(),
      energyFloor: z.number().min(0),
      htkCompat: z.boolean(),
      inputScale: z.enum(['unit', 'int16']),
      meanNormalisation: z.enum(['window', 'none']),
    })
    .refine((input) => input.lowFreqHz < input.highFreqHz, 'lowFreqHz must be less than highFreqHz'),
]);

/** What a model takes and gives, wherever its file comes from. */
export const modelContract = {
  id: z.string().regex(MODEL_ID_PATTERN),
  /** Values per embedding. */
  embeddingSize: count.max(8192),
  sampleRateHz: z.literal(
    MODEL_RATE_HZ,
    `must be ${MODEL_RATE_HZ}, the rate at which speech is detected and embedded; a model of another rate has to resample in its graph`,
  ),
  input: inputSchema,
  /** Shape [batch, embeddingSize]; `unitLength` false = of any length, and scaled to 1 by this service. */
  output: z.strictObject({ tensor, unitLength: z.boolean().default(true) }),
  /** Net speech in one window: the least the model is good for, and what gives the best error rate. */
  window: z
    .strictObject({ minMs: z.number().min(100).max(60_000), preferredMs: z.number().min(100).max(60_000) })
    .refine((window) => window.minMs <= window.preferredMs, 'minMs must not be more than preferredMs'),
  licence: z.string().min(1),
  trainingData: z.array(z.strictObject({ name: z.string().min(1), licence: z.string().min(1) })).min(1),
};

export const manifestSchema = z
  .strictObject({
    formatVersion: z.literal(1),
    ...modelContract,
    /** `model.onnx` */
    model: z.strictObject({ sha256, bytes: count }),
    /**
     * `speech.onnx`: the speech detector that comes with the model. Samples in [-1, 1] at 16 kHz `waveform` [rows, samples] ->
     * probability of speech `speech` [rows, frames], one per 20 ms; absent = the package has none.
     */
    speechDetector: z.strictObject({ sha256, bytes: count }).optional(),
    /** `cohort.f32`: `count` unit embeddings of other speakers, row after row, little-endian float32; null = not made yet. */
    cohort: z
      .strictObject({
        sha256,
        count,
        /** The command that made it, with data by name; absent = not recorded. */
        command: z.string().min(1).optional(),
      })
      .nullable(),
    sourceUrl: z.url().optional(),
    errorRates: z.array(
      z.strictObject({
        data: z.string().min(1),
        probe: z.string().min(1),
        equalErrorRate: z.number().min(0).max(1),
        /** What to run in this repository to get the number; null = reported with the model. */
        command: z.string().min(1).nullable(),
      }),
    ),
    /** What of the above could not be established, in words. */
    unverified: z.array(z.string().min(1)).optional(),
  })
  .superRefine(checkFrontEnd);

export type ModelManifest = z.output<typeof manifestSchema>;
export type ParsedManifest =
  | { readonly kind: 'manifest'; readonly manifest: ModelManifest }
  | { readonly kind: 'invalid'; readonly problem: string };

/** Reads the text of a manifest.json; `problem` names every field that is wrong. */
export function parseManifest(text: string): ParsedManifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { kind: 'invalid', problem: 'is not JSON' };
  }
  const result = manifestSchema.safeParse(json);
  if (result.success) return { kind: 'manifest', manifest: result.data };
  const problems = result.error.issues.map((issue) => `${issue.path.join('.') || '(top level)'}: ${issue.message}`);
  return { kind: 'invalid', problem: problems.join('; ') };
}

/** A front end must be computable at the model's sample rate. */
export function checkFrontEnd(
  model: { readonly sampleRateHz: number; readonly input: ModelManifest['input'] },
  context: z.core.$RefinementCtx,
): void {
  const options = fbankOptions(model.input);
  if (!options) return;
  const issue = (field: string, message: string) =>
    context.addIssue({ code: 'custom', path: ['input', field], message });
  if (options.highFreqHz > model.sampleRateHz / 2) {
    issue('highFreqHz', 'must not be more than half of sampleRateHz');
    return;
  }
  try {
    new Fbank(model.sampleRateHz, options);
  } catch (error) {
    issue('numMelBins', error instanceof RangeError ? error.message : 'cannot be computed');
  }
}

/** How to compute the features of a model; undefined for one that takes the waveform itself. */
export function fbankOptions(input: ModelManifest['input']): FbankOptions | undefined {
  if (input.kind === 'waveform') return undefined;
  const { kind, tensor, snipEdges, dither, ...options } = input;
  return options;
}
