/** Everybody's voiceprint and samples of one model, decrypted page after page, for a calibration from what is recorded. */
import { z } from 'zod';
import { bytes } from './auth-rows.js';
import type { DatabaseClient } from './database-client.js';
import type { TemplateCipher } from './template-cipher.js';

/** What is recorded of one person: embeddings of unit length, without any name. */
export interface StoredVoice {
  readonly voiceprint: Float32Array;
  readonly samples: readonly { readonly embedding: Float32Array; readonly netSpeechMs: number }[];
}

/** People per call: their templates are about half a megabyte on the wire. */
const PAGE = 50;

const pageRow = z.object({
  voices: z.array(
    z.object({
      user_id: z.string(),
      version: z.number().int().positive(),
      template: bytes,
      samples: z.array(z.object({ id: z.string(), template: bytes, net_speech_ms: z.number() })),
    }),
  ),
  more: z.boolean(),
});

/**
 * All people with a voiceprint of the model, in no order that says who they are. Throws `DatabaseUnavailable`, and `InternalError`
 * when a template cannot be read with the key ring.
 */
export async function* readRecordedVoices(
  database: DatabaseClient,
  cipher: TemplateCipher,
  modelId: string,
): AsyncGenerator<StoredVoice> {
  let after: string | undefined;
  for (;;) {
    const args = { p_model_id: modelId, p_limit: PAGE, ...(after === undefined ? {} : { p_after: after }) };
    const { voices, more } = await database.call('va_recorded_voices', args, pageRow);
    for (const { user_id: userId, version, template, samples } of voices) {
      yield {
        voiceprint: cipher.decrypt(template, { kind: 'voiceprint', userId, modelId, version }),
        samples: samples.map((sample) => ({
          embedding: cipher.decrypt(sample.template, { kind: 'sample', userId, modelId, sampleId: sample.id }),
          netSpeechMs: sample.net_speech_ms,
        })),
      };
    }
    after = voices.at(-1)?.user_id;
    if (!more || after === undefined) return;
  }
}
