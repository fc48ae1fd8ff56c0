/**
 * Re-encryption: every template that an older key of the ring has encrypted is encrypted anew with the first, so that the older
 * key can be given up. What a template is bound to stays as it is. Person by person: interrupted, it goes on where it was.
 */
import { z } from 'zod';
import { VoiceAuthError } from '../domain/errors.js';
import { bytes } from './auth-rows.js';
import { toBytea } from './bytea.js';
import type { DatabaseClient } from './database-client.js';
import type { TemplateCipher, TemplateContext } from './template-cipher.js';

/** How many templates a key has encrypted. */
export interface KeyUse {
  readonly keyId: string;
  readonly voiceprints: number;
  readonly samples: number;
}

export interface KeyRotation {
  /** The key that encrypts: the first of the ring. */
  readonly keyId: string;
  /** Encrypted anew; with `dryRun`, what would be. */
  readonly voiceprints: number;
  readonly samples: number;
  /** User ids of templates that cannot be read with their key: they stay as they are. */
  readonly unreadable: readonly string[];
  /** Keys of the ring that no template needs any more. */
  readonly droppable: readonly string[];
}

export interface KeyRotationOptions {
  /** Reads and decrypts everything, and changes nothing. */
  readonly dryRun?: boolean;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** People per call: their templates are about half a megabyte on the wire. */
const PAGE = 50;

const keyIdsRow = z.array(z.object({ key_id: z.string(), voiceprints: z.number().int(), samples: z.number().int() }));
const template = { model_id: z.string(), key_id: z.string(), template: bytes };
const pageRow = z.object({
  people: z.array(
    z.object({
      user_id: z.string(),
      voiceprint: z.object({ ...template, version: z.number().int().positive() }).nullable(),
      samples: z.array(z.object({ ...template, id: z.string() })),
    }),
  ),
  more: z.boolean(),
});
const putBackRow = z.object({ voiceprints: z.number().int(), samples: z.number().int() });
type Person = z.output<typeof pageRow>['people'][number];

/** Which keys the stored templates are encrypted with. Throws `DatabaseUnavailable`. */
export async function readKeyUse(database: DatabaseClient): Promise<readonly KeyUse[]> {
  const rows = await database.call('va_key_ids', {}, keyIdsRow);
  return rows.map(({ key_id, voiceprints, samples }) => ({ keyId: key_id, voiceprints, samples }));
}

/** Throws `DatabaseUnavailable`, and the signal's reason when aborted. */
export async function reencryptTemplates(
  database: DatabaseClient,
  cipher: TemplateCipher,
  { dryRun = false, onProgress, signal }: KeyRotationOptions,
): Promise<KeyRotation> {
  const others = (await readKeyUse(database)).filter(({ keyId }) => keyId !== cipher.keyId);
  const total = others.reduce((sum, { voiceprints, samples }) => sum + voiceprints + samples, 0);
  const done = { voiceprints: 0, samples: 0 };
  const unreadable: string[] = [];
  let seen = 0;
  for await (const person of peopleOfOtherKeys(database, cipher.keyId)) {
    signal?.throwIfAborted();
    const anew = encryptAnew(person, cipher);
    if (!anew) unreadable.push(person.user_id);
    else {
      const put = dryRun
        ? { voiceprints: anew.p_voiceprint ? 1 : 0, samples: anew.p_samples.length }
        : await database.call('va_put_back_templates', anew, putBackRow);
      done.voiceprints += put.voiceprints;
      done.samples += put.samples;
    }
    seen += (person.voiceprint ? 1 : 0) + person.samples.length;
    onProgress?.(Math.min(seen, total), total);
  }
  const used = new Set((await readKeyUse(database)).map(({ keyId }) => keyId));
  const droppable = cipher.keyIds.filter((keyId) => keyId !== cipher.keyId && !used.has(keyId));
  return { keyId: cipher.keyId, ...done, unreadable, droppable };
}

async function* peopleOfOtherKeys(database: DatabaseClient, keyId: string): AsyncGenerator<Person> {
  let after: string | undefined;
  for (;;) {
    const args = { p_key_id: keyId, p_limit: PAGE, ...(after === undefined ? {} : { p_after: after }) };
    const { people, more } = await database.call('va_templates_of_other_keys', args, pageRow);
    yield* people;
    after = people.at(-1)?.user_id;
    if (!more || after === undefined) return;
  }
}

/** The person's templates as `va_put_back_templates` takes them; undefined when one of them cannot be read. */
function encryptAnew({ user_id: userId, voiceprint, samples }: Person, cipher: TemplateCipher) {
  const anew = (envelope: Buffer, context: TemplateContext) =>
    toBytea(cipher.encrypt(cipher.decrypt(envelope, context), context));
  try {
    return {
      p_user_id: userId,
      p_key_id: cipher.keyId,
      p_voiceprint: voiceprint && {
        version: voiceprint.version,
        key_id: voiceprint.key_id,
        template: anew(voiceprint.template, {
          kind: 'voiceprint',
          userId,
          modelId: voiceprint.model_id,
          version: voiceprint.version,
        }),
      },
      p_samples: samples.map((sample) => ({
        id: sample.id,
        key_id: sample.key_id,
        template: anew(sample.template, { kind: 'sample', userId, modelId: sample.model_id, sampleId: sample.id }),
      })),
    };
  } catch (error) {
    if (error instanceof VoiceAuthError) return undefined;
    throw error;
  }
}
