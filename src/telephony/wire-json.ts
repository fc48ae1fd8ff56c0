/**
 * Reading JSON of strangers: own properties only, by path, so that neither its depth nor its keys matter, and texts only up to
 * a length. Media frames, of which there are fifty a second and call, are read one known key after the other instead.
 */

export type JsonObject = Readonly<Record<string, unknown>>;

const NOTHING: JsonObject = {};
/** Allowed before JSON by nobody, and sent all the same. */
const BYTE_ORDER_MARK = 0xfeff;

/** Bytes or text as JSON; undefined when they are none. Faulty UTF-8 in one text is no reason to lose the rest. */
export function parseJson(wire: Uint8Array | string): unknown {
  const text =
    typeof wire === 'string' ? wire : Buffer.from(wire.buffer, wire.byteOffset, wire.byteLength).toString('utf8');
  try {
    return JSON.parse(text.charCodeAt(0) === BYTE_ORDER_MARK ? text.slice(1) : text) as unknown;
  } catch {
    // The parser's own message quotes the text.
    return undefined;
  }
}

/** Whether it is an object, and no list. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value if it is an object, else an empty one. */
export function objectIn(value: unknown): JsonObject {
  return isObject(value) ? value : NOTHING;
}

/** The value at `path`, or undefined where it leads nowhere. */
export function fieldOf(value: unknown, ...path: readonly string[]): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, key)) return undefined;
    current = (current as Readonly<Record<string, unknown>>)[key];
  }
  return current;
}

/** A text of 1 to `maxLength` characters at `path`; anything else is undefined. */
export function textOf(value: unknown, maxLength: number, ...path: readonly string[]): string | undefined {
  const found = fieldOf(value, ...path);
  return typeof found === 'string' && found !== '' && found.length <= maxLength ? found : undefined;
}

/** The list at `path`; empty when there is none. */
export function listOf(value: unknown, ...path: readonly string[]): readonly unknown[] {
  const found = fieldOf(value, ...path);
  return Array.isArray(found) ? found : [];
}
