/**
 * Encrypts embeddings before they reach any database (AES-256-GCM, NIST SP 800-38D, 96-bit random nonces). Whom and what
 * a template belongs to is authenticated with it, so one that was altered, or put where another person's, model's, version's
 * or sample's belongs, does not decrypt. A row of before that is put back as a whole, version and all, does: nothing outside
 * the database says which is the present one.
 *
 * Envelope: format byte (1) | length of key id (1) | key id | nonce (12) | ciphertext | tag (16). The header is
 * authenticated too. The plain text is the embedding as little-endian float32.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { fromFloat32Bytes, toFloat32Bytes } from '../audio/float32-bytes.js';
import { VoiceAuthError } from '../domain/errors.js';
import { StorageError } from './storage-error.js';

/** What a template is bound to. */
export type TemplateContext =
  | { readonly kind: 'voiceprint'; readonly userId: string; readonly modelId: string; readonly version: number }
  | { readonly kind: 'sample'; readonly userId: string; readonly modelId: string; readonly sampleId: string };

const FORMAT = 1;
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ENTRY = /^([A-Za-z0-9._-]{1,64}):([A-Za-z0-9+/]{43}=)$/;

/** A key ring entry `id:base64(32 bytes)` with a fresh random key and an id of its own. */
export function createEncryptionKeyEntry(): string {
  return `k${randomBytes(4).toString('hex')}:${randomBytes(KEY_BYTES).toString('base64')}`;
}

export class TemplateCipher {
  readonly #keys: ReadonlyMap<string, Uint8Array>;
  readonly #keyId: string;

  /**
   * `entries` are `id:base64(32 bytes)`: the first encrypts, all decrypt. Throws `StorageError` (which names the entry by
   * its position only) when the ring is empty, an entry is malformed or two share an id.
   */
  constructor(entries: readonly string[]) {
    const keys = new Map<string, Uint8Array>();
    for (const [index, entry] of entries.entries()) {
      const [, id, base64] = KEY_ENTRY.exec(entry) ?? [];
      if (!id || !base64) {
        throw new StorageError(`Encryption key ${index + 1}: must be <id>:<32 bytes in base64>`);
      }
      if (keys.has(id)) throw new StorageError(`Encryption key ${index + 1}: its id is already used in the key ring`);
      keys.set(id, Buffer.from(base64, 'base64'));
    }
    const first = keys.keys().next().value;
    if (first === undefined) throw new StorageError('The encryption key ring is empty');
    this.#keys = keys;
    this.#keyId = first;
  }

  /** Id of the key that encrypts. */
  get keyId(): string {
    return this.#keyId;
  }

  /** Ids of all keys of the ring, in its order. */
  get keyIds(): readonly string[] {
    return [...this.#keys.keys()];
  }

  /** The envelope of `embedding`, bound to `context`. */
  encrypt(embedding: Float32Array, context: TemplateContext): Buffer {
    const id = Buffer.from(this.#keyId, 'ascii');
    const header = Buffer.concat([Buffer.from([FORMAT, id.length]), id]);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key(this.#keyId), nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(additionalData(header, context));
    const encrypted = [cipher.update(toFloat32Bytes(embedding)), cipher.final()];
    return Buffer.concat([header, nonce, ...encrypted, cipher.getAuthTag()]);
  }

  /**
   * The embedding in `envelope`. Throws `InternalError` when the envelope was altered, belongs to another context, or was
   * encrypted with a key that is not in the ring: a template that cannot be read is a fault, never "not enrolled".
   */
  decrypt(envelope: Uint8Array, context: TemplateContext): Float32Array {
    const bytes = Buffer.from(envelope.buffer, envelope.byteOffset, envelope.byteLength);
    const headerBytes = 2 + (bytes[1] ?? 0);
    const payloadAt = headerBytes + NONCE_BYTES;
    if (bytes[0] !== FORMAT || bytes.length < payloadAt + TAG_BYTES) throw undecryptable('it is damaged');
    const header = bytes.subarray(0, headerBytes);
    const keyId = header.toString('latin1', 2);
    const key = this.#keys.get(keyId);
    if (!key) throw undecryptable('the key it was encrypted with is not in the key ring');
    const nonce = bytes.subarray(headerBytes, payloadAt);
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(additionalData(header, context));
    decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
    try {
      const plain = [decipher.update(bytes.subarray(payloadAt, bytes.length - TAG_BYTES)), decipher.final()];
      return toEmbedding(Buffer.concat(plain));
    } catch (error) {
      if (error instanceof VoiceAuthError) throw error;
      throw undecryptable('it was altered, or belongs to another user, model or version');
    }
  }

  /** A key for another purpose, derived from the ring's first (HKDF-SHA-256, RFC 5869). */
  deriveKey(purpose: string): Uint8Array {
    return new Uint8Array(hkdfSync('sha256', this.#key(this.#keyId), '', `voice-auth/${purpose}`, KEY_BYTES));
  }

  #key(id: string): Uint8Array {
    const key = this.#keys.get(id);
    if (!key) throw new StorageError('The encryption key ring is empty');
    return key;
  }
}

function additionalData(header: Buffer, context: TemplateContext): Buffer {
  const bound = context.kind === 'voiceprint' ? String(context.version) : context.sampleId.toLowerCase();
  // A JSON array: no field can run into the next. Ids are lower-cased as the database returns them.
  const fields = [context.kind, context.userId.toLowerCase(), context.modelId, bound];
  return Buffer.concat([header, Buffer.from(JSON.stringify(fields), 'utf8')]);
}

function toEmbedding(bytes: Buffer): Float32Array {
  if (bytes.length === 0 || bytes.length % 4 !== 0) throw undecryptable('it is not an embedding');
  return fromFloat32Bytes(bytes);
}

function undecryptable(why: string): VoiceAuthError {
  return new VoiceAuthError('InternalError', `A stored voice template cannot be read: ${why}`);
}
