/** What a request says about its body before it is read. */
import type { IncomingMessage } from 'node:http';

export interface MediaType {
  /** Lower case, e.g. `application/json`; empty when not given. */
  readonly type: string;
  /** Names in lower case, values without quotes. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** The parsed `Content-Type`. */
export function mediaTypeOf(req: IncomingMessage): MediaType {
  const [type = '', ...rest] = (req.headers['content-type'] ?? '').split(';');
  const parameters = rest.flatMap((part): [string, string][] => {
    const [name = '', value = ''] = part.split('=', 2);
    return name.trim() === '' ? [] : [[name.trim().toLowerCase(), value.trim().replace(/^"(.*)"$/, '$1')]];
  });
  return { type: type.trim().toLowerCase(), parameters: new Map(parameters) };
}

/** `Content-Length` in bytes; 0 when not given (chunked bodies are counted as they come). */
export function announcedBytes(req: IncomingMessage): number {
  return Number(req.headers['content-length'] ?? 0);
}
