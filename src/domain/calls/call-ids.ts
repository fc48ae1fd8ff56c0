/** Ids derived from a question about a call, so that asking twice, anywhere, cannot make two attempts or two samples. */
import { createHash } from 'node:crypto';
import type { CallKey } from '../ports/call-store.js';

/** One line per question: what it is known by in this process. */
export function questionName({ platform, callId }: CallKey, requestId: string): string {
  return `${platform} ${callId} ${requestId}`;
}

export function callName({ platform, callId }: CallKey): string {
  return `${platform} ${callId}`;
}

/** The attempt id of a question: a UUID of version 8 (RFC 9562, 5.8) made from its SHA-256. */
export function attemptIdOf(call: CallKey, requestId: string): string {
  const digest = createHash('sha256').update(questionName(call, requestId)).digest();
  digest[6] = (digest[6]! & 0x0f) | 0x80;
  digest[8] = (digest[8]! & 0x3f) | 0x80;
  const hex = digest.toString('hex', 0, 16);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
