/** What a call object of VAPI says, wherever it comes from: a webhook or the API. Its URLs are secrets. */
import { isWellFormedId } from '../../../observability/correlation.js';
import { fieldOf, textOf } from '../../wire-json.js';

/** The parts of a call that an event may tell or leave out. */
export interface CallDetails {
  /** E.164; a claim of the network. */
  readonly callerNumber: string | undefined;
  readonly listenUrl: string | undefined;
  readonly controlUrl: string | undefined;
}

export interface WireCall extends CallDetails {
  readonly callId: string;
}

/** Which call a message is about. */
export type CallReference =
  | { readonly kind: 'call'; readonly call: WireCall }
  /** No id, or one that may not be used: too long, or with characters (or a phone number) that may not be logged. */
  | { readonly kind: 'missing' }
  | { readonly kind: 'unusable' };

const MAX_URL_LENGTH = 2_048;
const MAX_NUMBER_LENGTH = 64;
/** Ids that are shorter than correlation ids must be; they cannot hold a phone number. */
const SHORT_ID = /^(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9._:-]{0,6}$/;
const E164 = /^\+[1-9]\d{6,14}$/;

/** The call of a webhook message: `message.call`, and the customer at the root of the message when the call has none. */
export function callOfMessage(message: unknown): CallReference {
  const id = fieldOf(message, 'call', 'id');
  if (id === undefined || id === null || id === '') return { kind: 'missing' };
  if (typeof id !== 'string' || !isCallId(id)) return { kind: 'unusable' };
  const details = callDetails(fieldOf(message, 'call'));
  const callerNumber = details.callerNumber ?? phoneNumber(fieldOf(message, 'customer', 'number'));
  return { kind: 'call', call: { ...details, callId: id, callerNumber } };
}

/** Number and URLs of a call object; none of them is always there. */
export function callDetails(call: unknown): CallDetails {
  return {
    callerNumber: phoneNumber(fieldOf(call, 'customer', 'number')),
    listenUrl: textOf(call, MAX_URL_LENGTH, 'monitor', 'listenUrl'),
    controlUrl: textOf(call, MAX_URL_LENGTH, 'monitor', 'controlUrl'),
  };
}

/** Whether an id of the wire may name a call: 1 to 128 visible characters that are safe in logs. */
export function isCallId(id: string): boolean {
  return isWellFormedId(id) || SHORT_ID.test(id);
}

/** E.164 when `value` is such a number, however it is punctuated; SIP addresses, `anonymous` and the like are none. */
function phoneNumber(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > MAX_NUMBER_LENGTH) return undefined;
  const compact = value.replaceAll(/[\s().-]/g, '');
  return E164.test(compact) ? compact : undefined;
}
