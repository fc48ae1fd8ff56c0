/**
 * Published models that can be fetched: `models/registry/<id>.json`, one file each. An entry says everything a package's
 * manifest says, where the file lies, and for each fact whether it could be established; nothing in it is guessed.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { checkFrontEnd, MODEL_ID_PATTERN, type ModelManifest, modelContract } from '../embedder/manifest.js';
import { ModelPullError } from './model-pull-error.js';

const text = z.string().min(1);

const entrySchema = z
  .strictObject({
    formatVersion: z.literal(1),
    name: text,
    ...modelContract,
    file: z.strictObject({
      url: z.url({ protocol: /^https$/ }),
      /** The host of the URL and those it redirects to; `*.example.com` = any name below. No other is dialled. */
      hosts: z.array(text).min(1),
      /** Null = not published: what comes first is pinned. */
      bytes: z.number().int().min(1).nullable(),
      sha256: z
        .string()
        .regex(/^[0-9a-f]{64}$/)
        .nullable(),
      /** More is not taken, whatever the server says. */
      maxBytes: z.number().int().min(1),
    }),
    parameters: z.number().int().min(1).nullable(),
    /** As published, in the words of the source. */
    publishedErrorRates: z
      .array(
        z.strictObject({ data: text, conditions: text, equalErrorRate: z.number().min(0).max(1), source: z.url() }),
      )
      .min(1),
    /** Where which facts come from. */
    sources: z.array(z.strictObject({ facts: text, url: z.url() })).min(1),
    /** What could not be established, and what that means. */
    unverified: z.array(text),
  })
  .superRefine(checkFrontEnd)
  .refine(
    ({ file }) => file.bytes === null || file.bytes <= file.maxBytes,
    'file.bytes must not be more than maxBytes',
  );

export type RegistryEntry = z.output<typeof entrySchema>;

/** Every entry of the folder, in the order of their ids. Throws `ModelPullError` for one that is not what it must be. */
export async function readRegistry(registryDir: string): Promise<readonly RegistryEntry[]> {
  const names = await readdir(registryDir).catch(() => []);
  const ids = names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length));
  return Promise.all(ids.sort().map((id) => readEntry(registryDir, id)));
}

/** The entry of an id. Throws `ModelPullError` that names those there are. */
export async function findEntry(registryDir: string, id: string): Promise<RegistryEntry> {
  const entries = await readRegistry(registryDir);
  const found = entries.find((entry) => entry.id === id);
  if (found) return found;
  const known = entries.map((entry) => entry.id).join(', ');
  throw new ModelPullError('unknown_model', `There is no model "${id}" to pull; there are ${known || 'none'}`);
}

/** The manifest of a package made from the entry and the file that came. */
export function packageManifest(
  entry: RegistryEntry,
  file: { readonly sha256: string; readonly bytes: number },
): ModelManifest {
  const { formatVersion, id, embeddingSize, sampleRateHz, input, output, window, licence, trainingData } = entry;
  return {
    formatVersion,
    id,
    embeddingSize,
    sampleRateHz,
    input,
    output,
    window,
    model: { sha256: file.sha256, bytes: file.bytes },
    cohort: null,
    licence,
    sourceUrl: entry.file.url,
    trainingData,
    errorRates: entry.publishedErrorRates.map(({ data, conditions, equalErrorRate }) => ({
      data,
      probe: `whole recordings; ${conditions}`,
      equalErrorRate,
      command: null,
    })),
    unverified: entry.unverified,
  };
}

async function readEntry(registryDir: string, id: string): Promise<RegistryEntry> {
  const fail = (problem: string) => new ModelPullError('bad_registry', `The registry entry ${id}.json ${problem}`);
  if (!MODEL_ID_PATTERN.test(id)) throw fail('is not named like a model id');
  let json: unknown;
  try {
    json = JSON.parse(await readFile(join(registryDir, `${id}.json`), 'utf8'));
  } catch {
    throw fail('is not JSON');
  }
  const parsed = entrySchema.safeParse(json);
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) => `${issue.path.join('.') || '(top level)'}: ${issue.message}`);
    throw fail(`is not valid: ${issues.join('; ')}`);
  }
  if (parsed.data.id !== id) throw fail(`is of model "${parsed.data.id}"`);
  return parsed.data;
}
