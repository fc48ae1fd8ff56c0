/**
 * Arguments of tool calls. A language model has written them, so blank texts count as not given, but whatever else is not
 * what it should be is refused: a guess here would be a guess about whose voice is meant.
 */
import { validationError } from '../../../domain/errors.js';
import type { ToolArguments } from './tool-call-list.js';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const NUMBER = /^\d?\.?\d{1,10}$/;
const REFERENCE = /^[^\p{Cc}\p{Cs}]{1,200}$/u;

/** The person meant, lower case; undefined = not said. Throws `ValidationError`. */
export function userIdIn(args: ToolArguments): string | undefined {
  const given = ['userId', 'user_id'].map((name) => args.get(name)).filter(isGiven);
  const ids = new Set(given.map((id) => (typeof id === 'string' ? id.trim().toLowerCase() : '')));
  const [id] = ids;
  if (id === undefined) return undefined;
  if (ids.size > 1 || !UUID.test(id)) throw validationError([{ path: 'userId', message: 'must be one UUID' }]);
  return id;
}

/** The threshold asked for; undefined = not said. Throws `ValidationError`. */
export function thresholdIn(args: ToolArguments): number | undefined {
  const given = args.get('threshold');
  if (!isGiven(given)) return undefined;
  const threshold = typeof given === 'string' && NUMBER.test(given.trim()) ? Number(given) : given;
  if (typeof threshold === 'number' && threshold > 0 && threshold < 1) return threshold;
  throw validationError([{ path: 'threshold', message: 'must be a number between 0 and 1' }]);
}

/** Whether consent was given in so many words. */
export function hasConsent(args: ToolArguments): boolean {
  const consent = args.get('consent');
  return consent === true || (typeof consent === 'string' && /^\s*(true|yes)\s*$/i.test(consent));
}

/** Where the consent is on file; undefined = not said. Throws `ValidationError`. */
export function consentReferenceIn(args: ToolArguments): string | undefined {
  const given = args.get('consentReference') ?? args.get('consent_reference');
  if (!isGiven(given)) return undefined;
  if (typeof given === 'string' && REFERENCE.test(given.trim())) return given.trim();
  throw validationError([{ path: 'consentReference', message: 'must be a line of 200 characters at most' }]);
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null && !(typeof value === 'string' && value.trim() === '');
}
