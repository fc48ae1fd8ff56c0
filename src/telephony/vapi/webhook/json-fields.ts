/**
 * Reading parsed JSON of strangers: own properties only, by path, so that neither its depth nor its keys matter, and texts
 * only up to a length.
 */

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

/** Bytes as JSON; undefined when they are none. Faulty UTF-8 in one text is no reason to lose the rest. */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as unknown;
  } catch {
    // The parser's own message quotes the text.
    return undefined;
  }
}
