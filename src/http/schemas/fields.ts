/** Building blocks of request and reply schemas, and how their issues are worded: never with a word of the input. */
import { z } from 'zod';
import { CALL_PLATFORMS } from '../../domain/calls/calls.js';
import { ERROR_CODES, type FieldIssue } from '../../domain/errors.js';
import { isWellFormedId } from '../../observability/correlation.js';

/** How long a question about a running call waits for speech unless it says otherwise. */
export const CALL_WAIT_SECONDS = 20;

/** Limits that come from configuration. */
export interface ApiLimits {
  /** A request may ask for a stricter threshold, never for a laxer one. */
  readonly configuredThreshold: number;
  readonly maxListenSeconds: number;
}

const MAX_URL_LENGTH = 2048;

/** Wording for a field that is missing or not what `message` says. */
export function wording(message: string) {
  return { error: (issue: { readonly input?: unknown }) => (issue.input === undefined ? 'is required' : message) };
}

/** Any UUID. Lower case afterwards, so that one person has one spelling (and one rate limit). */
export const userId = z
  .guid(wording('must be a UUID'))
  .toLowerCase()
  .meta({ description: 'The person, as you know them', example: '3f1c7a52-8c1e-4a57-9d0e-2b7a4c6d8e90' });

export const phone = z
  .string(wording('must be a string'))
  .regex(/^\+[1-9]\d{6,14}$/, { error: 'must be an E.164 number such as +14155550123' })
  .meta({ description: 'Phone number in E.164' });

export const audioUrl = z
  .url({ protocol: /^https?$/, error: 'must be an https URL' })
  .max(MAX_URL_LENGTH, { error: `may have ${MAX_URL_LENGTH} characters at most` })
  .meta({ description: 'Where to download a recording: WAV, MP3, FLAC, Ogg or WebM' });

export const listenUrl = z
  .url({ protocol: /^wss?$/, error: 'must be a wss URL' })
  .max(MAX_URL_LENGTH, { error: `may have ${MAX_URL_LENGTH} characters at most` })
  .meta({ description: 'Live audio of a call: `call.monitor.listenUrl` of VAPI' });

/** Free text that may be stored: no control characters, no halves of surrogate pairs. */
export const consentReference = z
  .string({ error: 'must be a string' })
  .min(1, { error: 'must not be empty' })
  .max(200, { error: 'may have 200 characters at most' })
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, { error: 'must not hold control characters' })
  .meta({ description: 'Where the consent of the person is on file' });

const REPLACE_MODEL = {
  description:
    'Replace a voiceprint that another model has made, instead of answering 409; the key needs the scope `admin`. ' +
    'The sample is compared with nothing: make sure otherwise whose voice it is',
};

export const replaceModel = z.boolean({ error: 'must be true or false' }).meta(REPLACE_MODEL);

/** `replaceModel` as a text field of a form. */
export const replaceModelField = z
  .enum(['true', 'false'], { error: 'must be true or false' })
  .transform((value) => value === 'true')
  .meta(REPLACE_MODEL);

export const channel = z
  .union([z.literal(0), z.literal(1)], { error: 'must be 0 or 1' })
  .meta({ description: 'Which channel of a stereo recording is the caller' });

/** `channel` as a text field of a form. */
export const channelField = z
  .enum(['0', '1'], { error: 'must be 0 or 1' })
  .transform((value): 0 | 1 => (value === '0' ? 0 : 1))
  .meta({ description: 'Which channel of a stereo recording is the caller' });

export const correlationId = z.string().meta({ description: 'Same as the header X-Correlation-ID' });

export const callId = z
  .string(wording('must be a string'))
  .refine(isWellFormedId, {
    error: 'must be 8 to 128 letters, digits or . _ : -, and not look like a phone number',
  })
  .meta({ description: "The call's id, as the platform or the expected stream names it" });

export const callPlatform = z
  .enum(CALL_PLATFORMS, { error: `must be one of ${CALL_PLATFORMS.join(', ')}` })
  .meta({ description: 'Where the audio of the call comes from' });

/** A running call that is listened to already. */
export const runningCall = z.strictObject({ platform: callPlatform, id: callId }).meta({ id: 'RunningCall' });

/** Seconds to listen to a call. */
export function maxSeconds(limits: ApiLimits) {
  const message = `must be 1 to ${limits.maxListenSeconds} seconds`;
  return z
    .number({ error: message })
    .min(1, { error: message })
    .max(limits.maxListenSeconds, { error: message })
    .meta({ description: 'Listen this long at most; with listenUrl or call' });
}

/** In the API document: exactly one source of audio. */
export const ONE_SOURCE = [{ required: ['audioUrl'] }, { required: ['listenUrl'] }, { required: ['call'] }];

/** Exactly one source, and only the options that go with it. */
export function checkSource(
  body: {
    readonly audioUrl?: string | undefined;
    readonly listenUrl?: string | undefined;
    readonly call?: z.output<typeof runningCall> | undefined;
    readonly channel?: 0 | 1 | undefined;
    readonly maxSeconds?: number | undefined;
  },
  context: z.core.$RefinementCtx,
): void {
  const issue = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
  if ([body.audioUrl, body.listenUrl, body.call].filter((source) => source !== undefined).length !== 1) {
    issue('audioUrl', 'exactly one of audioUrl, listenUrl and call is required');
    return;
  }
  if (body.audioUrl === undefined && body.channel !== undefined) issue('channel', 'goes with audioUrl only');
  if (body.audioUrl !== undefined && body.maxSeconds !== undefined) {
    issue('maxSeconds', 'goes with listenUrl or call only');
  }
}

/** What every error answer looks like. */
export const errorReply = z
  .strictObject({
    error: z.enum(ERROR_CODES).meta({ description: 'Stable code' }),
    message: z.string(),
    correlation_id: correlationId,
    timestamp: z.iso.datetime(),
    details: z.unknown().optional().meta({ description: 'Facts for machines, e.g. the offending fields' }),
  })
  .meta({ id: 'Error' });

/**
 * Zod's issues as ours. Unknown fields are not named, since their names are input, too; those that `schema` knows in their
 * place are.
 */
export function fieldIssues(error: z.ZodError, schema: z.ZodType): FieldIssue[] {
  return error.issues.map((issue) => ({
    path: issue.path.map(String).join('.'),
    message: issue.code === 'unrecognized_keys' ? unknownFields(fieldsAt(schema, issue.path)) : issue.message,
  }));
}

function unknownFields(known: readonly string[]): string {
  const message = 'unknown fields are not accepted';
  return known.length === 0 ? message : `${message}; known here: ${known.join(', ')}`;
}

/** Names of the fields that objects at `path` may have. */
function fieldsAt(schema: z.ZodType | undefined, path: readonly PropertyKey[]): string[] {
  if (schema instanceof z.ZodOptional) return fieldsAt(schema.unwrap() as z.ZodType, path);
  if (schema instanceof z.ZodPipe) return fieldsAt(schema.in as z.ZodType, path);
  if (!(schema instanceof z.ZodObject)) return [];
  const [first, ...rest] = path;
  return first === undefined ? Object.keys(schema.shape) : fieldsAt(schema.shape[String(first)], rest);
}
