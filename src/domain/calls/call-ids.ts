/** Names of calls and questions, and ids that a question gives its answer, so that asked twice it is answered once. */
import { createHash } from 'node:crypto';
import type { CallKey } from '../ports/call-store.js';

/** What a question is known by in this process. */
export function questionName({ platform, callId }: CallKey, requestId: string): string {
  return `${platform} ${callId} ${requestId}`;
}

export function callName({ platform, callId }: CallKey): string {
  return `${platform} ${callId}`;
}

/** What is asked, so that two questions with one id can be told apart. */
export function fingerprintOf(facts: Readonly<Record<string, string | number | boolean | undefined>>): string {
  const sorted = Object.entries(facts).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(sorted)).digest('base64url');
}

/** The id of the user that an enrollment with this attempt id makes: a UUID of version 8 (RFC 9562, 5.8). */
export function newUserIdOf(attemptId: string): string {
  const digest = createHash('sha256').update(`user ${attemptId}`).digest();
  digest[6] = (digest[6]! & 0x0f) | 0x80;
  digest[8] = (digest[8]! & 0x3f) | 0x80;
  const hex = digest.toString('hex', 0, 16);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
