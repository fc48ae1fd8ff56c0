import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createEncryptionKeyEntry,
  TemplateCipher,
  type TemplateContext,
} from '../../../src/storage/template-cipher.js';

const cipher = new TemplateCipher([createEncryptionKeyEntry()]);
const voiceprint: TemplateContext = { kind: 'voiceprint', userId: 'a-user', modelId: 'a-model', version: 7 };
const embedding = Float32Array.of(0.25, -1, 3.5e-12, 1);

const anyEmbedding = fc.float32Array({ minLength: 1, maxLength: 300, noNaN: true });
const anyContext: fc.Arbitrary<TemplateContext> = fc.oneof(
  fc.record({
    kind: fc.constant('voiceprint' as const),
    userId: fc.uuid(),
    modelId: fc.string({ maxLength: 20 }),
    version: fc.integer({ min: 1 }),
  }),
  fc.record({
    kind: fc.constant('sample' as const),
    userId: fc.uuid(),
    modelId: fc.string({ maxLength: 20 }),
    sampleId: fc.uuid(),
  }),
);

describe('template cipher', () => {
  it('gives back every embedding bit for bit', () => {
    fc.assert(
      fc.property(anyEmbedding, anyContext, (values, context) => {
        expect(cipher.decrypt(cipher.encrypt(values, context), context)).toEqual(values);
      }),
    );
  });

  it('refuses an envelope with any one bit flipped, and any shorter one', () => {
    const envelope = cipher.encrypt(embedding, voiceprint);
    for (let bit = 0; bit < envelope.length * 8; bit++) {
      const altered = Buffer.from(envelope);
      altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(() => cipher.decrypt(altered, voiceprint), `bit ${bit}`).toThrow('cannot be read');
    }
    for (let length = 0; length < envelope.length; length++) {
      expect(() => cipher.decrypt(envelope.subarray(0, length), voiceprint)).toThrow('cannot be read');
    }
  });

  it('refuses arbitrary bytes with its own error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(() => cipher.decrypt(bytes, voiceprint)).toThrow('A stored voice template cannot be read');
      }),
    );
  });

  it('refuses a template in any place but its own', () => {
    fc.assert(
      fc.property(anyContext, anyContext, (own, other) => {
        fc.pre(JSON.stringify(own) !== JSON.stringify(other));
        expect(() => cipher.decrypt(cipher.encrypt(embedding, own), other)).toThrow('cannot be read');
      }),
    );
    const swapped: TemplateContext[] = [
      { ...voiceprint, userId: 'b-user' },
      { ...voiceprint, modelId: 'b-model' },
      { ...voiceprint, version: 8 },
      { kind: 'sample', userId: 'a-user', modelId: 'a-model', sampleId: '7' },
    ];
    for (const context of swapped) {
      expect(() => cipher.decrypt(cipher.encrypt(embedding, voiceprint), context)).toThrow('cannot be read');
    }
  });

  it('takes ids for the same in any spelling, as the database does', () => {
    const id = '0A1B2C3D-0000-4000-8000-00000000000F';
    const contexts = (spelled: string): TemplateContext[] => [
      { ...voiceprint, userId: spelled },
      { kind: 'sample', userId: spelled, modelId: 'a-model', sampleId: spelled },
    ];
    const lower = contexts(id.toLowerCase());
    contexts(id).forEach((context, index) => {
      expect(cipher.decrypt(cipher.encrypt(embedding, context), lower[index]!)).toEqual(embedding);
    });
  });

  it('encrypts with the first key and decrypts with all', () => {
    const [first, second] = [createEncryptionKeyEntry(), createEncryptionKeyEntry()];
    const old = new TemplateCipher([first]).encrypt(embedding, voiceprint);
    const rotated = new TemplateCipher([second, first]);
    expect(rotated.keyId).toBe(second.split(':')[0]);
    expect(rotated.decrypt(old, voiceprint)).toEqual(embedding);
    const fresh = rotated.encrypt(embedding, voiceprint);
    expect(new TemplateCipher([second]).decrypt(fresh, voiceprint)).toEqual(embedding);
    expect(() => new TemplateCipher([second]).decrypt(old, voiceprint)).toThrow('not in the key ring');
  });

  it('never encrypts the same way twice', () => {
    expect(cipher.encrypt(embedding, voiceprint).equals(cipher.encrypt(embedding, voiceprint))).toBe(false);
  });

  it('derives one stable key per purpose', () => {
    const entry = createEncryptionKeyEntry();
    const [one, other] = [new TemplateCipher([entry]), new TemplateCipher([entry])];
    expect(one.deriveKey('a')).toEqual(other.deriveKey('a'));
    expect(one.deriveKey('a')).not.toEqual(one.deriveKey('b'));
    expect(one.deriveKey('a')).toHaveLength(32);
  });

  it('refuses a bad key ring without quoting it', () => {
    const good = createEncryptionKeyEntry();
    const secret = randomBytes(32).toString('base64');
    const bad = [
      [],
      [''],
      [secret],
      [`:${secret}`],
      [good, `x:${secret.slice(4)}`],
      [`sp ace:${secret}`],
      [good, good],
    ];
    for (const entries of bad) {
      const failure = (() => {
        try {
          return new TemplateCipher(entries);
        } catch (error) {
          return error;
        }
      })();
      expect(failure).toMatchObject({ name: 'StorageError' });
      expect(String(failure)).not.toContain(secret.slice(4, 20));
    }
  });
});
