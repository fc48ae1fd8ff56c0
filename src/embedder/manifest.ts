/**
 * What a model package says about itself (`models/<id>/manifest.json`). Preprocessing travels with the model: a field that
 * this version does not know is an error, because ignoring it could silently produce embeddings of something else.
 */
import { z } from 'zod';

export const MODEL_ID_PATTERN = /^[a-z0-9][a-z0-9._-]*$/;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lowercase hexadecimal digits');
const count = z.number().int().min(1);

const inputSchema = z.discriminatedUnion('kind', [
  /** Samples in [-1, 1], shape [batch, samples]; the front end is inside the graph. */
  z.strictObject({ kind: z.literal('waveform'), tensor: z.string().min(1) }),
  /** Mel filter-bank frames. Loose, because this version names the kind only to refuse it with a reason. */
  z.looseObject({ kind: z.literal('fbank') }),
]);

export const manifestSchema = z.strictObject({
  formatVersion: z.literal(1),
  id: z.string().regex(MODEL_ID_PATTERN),
  /** Values per embedding. */
  embeddingSize: count.max(8192),
  sampleRateHz: z.number().int().min(8000).max(48_000),
  input: inputSchema,
  /** Shape [batch, embeddingSize], unit length. */
  output: z.strictObject({ tensor: z.string().min(1) }),
  /** Net speech in one window: the least the model is good for, and what gives the best error rate. */
  window: z
    .strictObject({ minMs: z.number().min(100).max(60_000), preferredMs: z.number().min(100).max(60_000) })
    .refine((window) => window.minMs <= window.preferredMs, 'minMs must not be more than preferredMs'),
  /** `model.onnx` */
  model: z.strictObject({ sha256, bytes: count }),
  /** `cohort.f32`: `count` unit embeddings of other speakers, row after row, little-endian float32. */
  cohort: z.strictObject({ sha256, count }),
  licence: z.string().min(1),
  sourceUrl: z.url().optional(),
  trainingData: z.array(z.strictObject({ name: z.string().min(1), licence: z.string().min(1) })).min(1),
  errorRates: z.array(
    z.strictObject({
      data: z.string().min(1),
      probe: z.string().min(1),
      equalErrorRate: z.number().min(0).max(1),
      /** What to run in this repository to get the number; null = reported with the model. */
      command: z.string().min(1).nullable(),
    }),
  ),
});

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
