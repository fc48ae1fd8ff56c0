/**
 * API keys: who may call, and for what. Only hashes are configured, so a leaked configuration opens nothing; a key has 256
 * random bits, so one plain SHA-256 is enough (there is nothing to guess).
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { type FieldIssue, validationError } from '../domain/errors.js';

export const SCOPES = ['enroll', 'verify', 'read', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

/** The holder of a key, as far as it is known. */
export interface ApiKeyHolder {
  readonly id: string;
  readonly scopes: ReadonlySet<Scope>;
}

export type ApiKeyRingResult =
  | { readonly kind: 'ring'; readonly ring: ApiKeyRing }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

interface Entry extends ApiKeyHolder {
  readonly hash: Buffer;
}

/** No underscore: it separates id and secret, and may occur in the secret. */
const ID = /^[A-Za-z0-9][A-Za-z0-9-]{0,31}$/;
const KEY = /^vak_([A-Za-z0-9][A-Za-z0-9-]{0,31})_[A-Za-z0-9_-]{43}$/;
const HASH = /^[0-9a-f]{64}$/;
const SECRET_BYTES = 32;
const NO_HASH = Buffer.alloc(32);

/** The keys the service knows. */
export class ApiKeyRing {
  private readonly entries: ReadonlyMap<string, Entry>;

  constructor(entries: readonly Entry[]) {
    this.entries = new Map(entries.map((entry) => [entry.id, entry]));
  }

  /** The holder of `key`, or undefined when it is not one of ours. Time does not depend on how much of a hash agrees. */
  identify(key: string): ApiKeyHolder | undefined {
    const id = KEY.exec(key)?.[1];
    if (id === undefined) return undefined;
    const entry = this.entries.get(id);
    const equal = timingSafeEqual(sha256(key), entry?.hash ?? NO_HASH);
    return equal ? entry : undefined;
  }
}

/** Whether the holder may do what needs `scope`; `admin` may do everything. */
export function mayDo(holder: ApiKeyHolder, scope: Scope): boolean {
  return holder.scopes.has(scope) || holder.scopes.has('admin');
}

/** Reads `id:scope+scope:sha256hex` entries. Problems are reported all at once and name entries by position, never by value. */
export function parseApiKeyRing(texts: readonly string[]): ApiKeyRingResult {
  const problems: string[] = [];
  const entries: Entry[] = [];
  const ids = new Set<string>();
  for (const [index, text] of texts.entries()) {
    const where = `entry ${index + 1}`;
    const [id = '', scopeText = '', hash = '', ...rest] = text.split(':');
    const scopes = scopeText.split('+');
    if (rest.length > 0 || hash === '') {
      problems.push(`${where}: must look like id:scope+scope:sha256`);
      continue;
    }
    if (!ID.test(id)) problems.push(`${where}: the id must be 1 to 32 letters, digits or hyphens`);
    else if (ids.has(id)) problems.push(`${where}: another entry has the same id`);
    if (!scopes.every(isScope)) problems.push(`${where}: scopes must be of ${SCOPES.join(', ')}, joined by +`);
    if (!HASH.test(hash)) problems.push(`${where}: the hash must be 64 lower-case hexadecimal digits`);
    ids.add(id);
    entries.push({ id, scopes: new Set(scopes.filter(isScope)), hash: Buffer.from(hash, 'hex') });
  }
  return problems.length > 0 ? { kind: 'problems', problems } : { kind: 'ring', ring: new ApiKeyRing(entries) };
}

/** Makes a key: `key` goes to its holder and is shown once, `entry` into the configuration. Throws `ValidationError`. */
export function createApiKey(
  id: string,
  scopes: readonly Scope[],
): { readonly key: string; readonly entry: string; readonly holder: ApiKeyHolder } {
  const issues: FieldIssue[] = [];
  if (!ID.test(id)) issues.push({ path: 'id', message: 'must be 1 to 32 letters, digits or hyphens' });
  if (scopes.length === 0 || !scopes.every(isScope)) {
    issues.push({ path: 'scopes', message: `at least one of ${SCOPES.join(', ')}` });
  }
  if (issues.length > 0) throw validationError(issues);
  const unique = new Set(scopes);
  const key = `vak_${id}_${randomBytes(SECRET_BYTES).toString('base64url')}`;
  return {
    key,
    entry: apiKeyEntry(key, [...unique]),
    holder: { id, scopes: unique },
  };
}

/** The configuration entry of a key that exists already. Throws `ValidationError` when it does not look like one. */
export function apiKeyEntry(key: string, scopes: readonly Scope[]): string {
  const id = KEY.exec(key)?.[1];
  if (id === undefined) throw validationError([{ path: 'key', message: 'is not an API key' }]);
  return `${id}:${scopes.join('+')}:${sha256(key).toString('hex')}`;
}

function isScope(text: string): text is Scope {
  return (SCOPES as readonly string[]).includes(text);
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text, 'utf8').digest();
}
