/**
 * The memory of running calls on PostgreSQL: every method is one call of a database function. Tokens are stored hashed, what
 * was asked as a keyed digest: it names people and numbers, which a plain one would let anybody try out.
 */
import { createHash, createHmac } from 'node:crypto';
import { z } from 'zod';
import type { CallPlatform, CallStatus } from '../domain/calls/calls.js';
import type {
  CallAsked,
  CallAsking,
  CallHold,
  CallKey,
  CallProgress,
  CallStore,
  PendingQuestion,
  StoredAnswer,
} from '../domain/ports/call-store.js';
import { toBytea } from './bytea.js';
import {
  askedRow,
  callStatusRow,
  expectedRow,
  holdRow,
  keyRows,
  pollRow,
  redeemedRow,
  requestRow,
  userIdRows,
} from './call-rows.js';
import type { DatabaseClient } from './database-client.js';
import type { TemplateCipher } from './template-cipher.js';

export class SupabaseCallStore implements CallStore {
  readonly #database: DatabaseClient;
  readonly #fingerprintKey: Uint8Array;

  constructor(database: DatabaseClient, cipher: TemplateCipher) {
    this.#database = database;
    this.#fingerprintKey = cipher.deriveKey('question-fingerprints');
  }

  beginCall(call: CallKey, hold: { readonly owner: string; readonly leaseMs: number }): Promise<CallHold> {
    const args = { ...keyArgs(call), p_owner: hold.owner, p_lease_ms: Math.round(hold.leaseMs) };
    return this.#database.call('va_call_begin', args, holdRow);
  }

  askCall(asking: CallAsking): Promise<CallAsked | undefined> {
    return this.#database.call(
      'va_call_ask',
      {
        ...keyArgs(asking),
        p_request_id: asking.requestId,
        p_kind: asking.kind,
        p_fingerprint: createHmac('sha256', this.#fingerprintKey).update(asking.fingerprint).digest('base64url'),
        p_user_id: asking.args.userId ?? null,
        p_args: asking.args,
        p_deadline_ms: Math.max(1, Math.round(asking.deadlineMs)),
        p_asker: asking.asker,
        p_may_listen: asking.mayListen,
        p_lease_ms: Math.round(asking.leaseMs),
      },
      askedRow,
    );
  }

  callRequest(
    call: CallKey,
    requestId: string,
    asker: string,
  ): Promise<{ readonly answer: StoredAnswer | undefined; readonly alive: boolean }> {
    const args = { ...keyArgs(call), p_request_id: requestId, p_asker: asker };
    return this.#database.call('va_call_request', args, requestRow);
  }

  async answerCall(call: CallKey, requestId: string, answer: StoredAnswer): Promise<void> {
    const userId = answer.kind !== 'error' && 'userId' in answer.answer ? answer.answer.userId : null;
    const args = { ...keyArgs(call), p_request_id: requestId, p_answer: answer, p_user_id: userId };
    await this.#database.call('va_call_answer', args, z.boolean());
  }

  async withdrawQuestion(call: CallKey, requestId: string, asker: string): Promise<void> {
    const args = { ...keyArgs(call), p_request_id: requestId, p_asker: asker };
    await this.#database.call('va_call_withdraw', args, z.boolean());
  }

  pollCalls(
    owner: string,
  ): Promise<{ readonly questions: readonly PendingQuestion[]; readonly ended: readonly CallKey[] }> {
    return this.#database.call('va_call_poll', { p_owner: owner }, pollRow);
  }

  renewCalls(owner: string, leaseMs: number, calls: readonly CallProgress[]): Promise<readonly CallKey[]> {
    const rows = calls.map(({ platform, callId, state, netSpeechMs, looks, claimed }) => ({
      platform,
      call_id: callId,
      state,
      net_speech_ms: Math.round(netSpeechMs),
      looks,
      claimed,
    }));
    const args = { p_owner: owner, p_lease_ms: Math.round(leaseMs), p_calls: rows };
    return this.#database.call('va_call_renew', args, keyRows);
  }

  async endCall(call: CallKey): Promise<void> {
    await this.#database.call('va_call_end', keyArgs(call), z.boolean());
  }

  async releaseCalls(owner: string, call?: CallKey): Promise<void> {
    const args = { p_owner: owner, p_platform: call?.platform ?? null, p_call_id: call?.callId ?? null };
    await this.#database.call('va_call_release', args, z.boolean());
  }

  async callStatus(call: CallKey): Promise<Omit<CallStatus, 'platform' | 'callId'> | undefined> {
    return (await this.#database.call('va_call_status', keyArgs(call), callStatusRow)) ?? undefined;
  }

  expectStream(
    stream: CallKey & { readonly token: string; readonly ttlMs: number; readonly userId: string | undefined },
  ): Promise<{ readonly expiresAt: Date }> {
    const args = {
      ...keyArgs(stream),
      p_token_hash: toBytea(hashOf(stream.token)),
      p_ttl_ms: Math.round(stream.ttlMs),
      p_user_id: stream.userId ?? null,
    };
    return this.#database.call('va_stream_expect', args, expectedRow);
  }

  async redeemStream(
    stream: { readonly platform: CallPlatform; readonly token: string },
    hold: { readonly owner: string; readonly leaseMs: number },
  ): Promise<{ readonly callId: string; readonly userId: string | undefined } | undefined> {
    const args = {
      p_platform: stream.platform,
      p_token_hash: toBytea(hashOf(stream.token)),
      p_owner: hold.owner,
      p_lease_ms: Math.round(hold.leaseMs),
    };
    return (await this.#database.call('va_stream_redeem', args, redeemedRow)) ?? undefined;
  }

  usersByPhone(phone: string): Promise<readonly string[]> {
    return this.#database.call('va_users_by_phone', { p_phone: phone }, userIdRows);
  }
}

function keyArgs({ platform, callId }: CallKey): { p_platform: string; p_call_id: string } {
  return { p_platform: platform, p_call_id: callId };
}

/** A token has 256 random bits, so a plain hash gives nothing to guess. */
function hashOf(token: string): Uint8Array {
  return createHash('sha256').update(token, 'utf8').digest();
}
