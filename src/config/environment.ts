/**
 * The environment variables of the service: one schema, validated once at start, every error reported together. This is
 * the only room that knows their names; `.env.example` is checked against `ENVIRONMENT` by a test.
 */
import { distance } from 'fastest-levenshtein';
import { z } from 'zod';
import { LOG_LEVELS } from '../observability/logger.js';
import { DEFAULT_DATA_DIR } from './client-environment.js';

const flag = z
  .enum(['true', 'false', '1', '0', 'yes', 'no'])
  .transform((value) => value === 'true' || value === '1' || value === 'yes');
const list = z.string().transform((value) =>
  value
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
);
/** A list of secrets: nothing but commas is the same as unset. */
const secretList = list.transform((items) => (items.length > 0 ? items : undefined));
/** What clients send is easily put where its hash belongs. */
const keyEntryList = secretList.refine((items) => !items?.some((item) => item.startsWith('vak_')), {
  error: 'wants the entry that `voice-auth keys create` prints, not the key (vak_...)',
});
const supabaseKey = z.string().min(20, { error: 'must be the whole key, which has 20 characters or more' }).optional();
/** Compared with what browsers send, character by character: anything else would silently match nobody. */
const originList = list.refine((items) => items.every(isOrigin), {
  error:
    'must be origins as browsers send them, e.g. https://app.example.com: no path or slash behind it, no default port',
});
/** An address that paths are appended to, without the slash that they begin with. */
const baseUrl = z
  .url({ protocol: /^https?$/, abort: true })
  .regex(/^\w+:\/*[^/?#@]+(?:\/[^?#]*)?$/, { error: 'must not have a query, a fragment, a user name or a password' })
  .transform((url) => url.replace(/\/+$/, ''));
const headerName = z
  .string()
  .regex(/^[A-Za-z0-9-]{1,64}$/)
  .toLowerCase();
const integer = (min: number, max: number) => {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.coerce.number({ error }).int({ error }).min(min, { error }).max(max, { error });
};
const number = (min: number, max: number) => {
  const error = `must be a number from ${min} to ${max}`;
  return z.coerce.number({ error }).min(min, { error }).max(max, { error });
};

export interface Variable {
  readonly schema: z.ZodType;
  readonly description: string;
  /** Printed as `(set)` instead of its value. */
  readonly secret?: true;
}

function variable<S extends z.ZodType>(schema: S, description: string) {
  return { schema, description };
}

function secret<S extends z.ZodType>(schema: S, description: string) {
  return { schema, description, secret: true as const };
}

/** Every variable the service reads, in the order in which `voice-auth config` prints them. */
export const ENVIRONMENT = {
  NODE_ENV: variable(
    z.enum(['development', 'production', 'test']).default('development'),
    '`production` insists on API keys and refuses development switches',
  ),
  HOST: variable(
    z.string().min(1).optional(),
    'Address to listen on; default 0.0.0.0 with API keys, 127.0.0.1 without',
  ),
  PORT: variable(integer(0, 65_535).default(8000), 'Port to listen on; 0 picks a free one'),
  LOG_LEVEL: variable(z.enum(LOG_LEVELS).default('info'), 'trace, debug, info, warn, error, fatal or silent'),
  API_KEYS: secret(
    keyEntryList.optional(),
    'Comma-separated `id:scope+scope:sha256` entries made by `voice-auth keys create` (scopes: enroll, verify, read, admin)',
  ),
  METRICS_PUBLIC: variable(flag.default(true), 'Serve /metrics without an API key (otherwise scope `read`)'),
  CORS_ORIGINS: variable(
    originList.default([]),
    'Origins that browsers may call from, e.g. https://app.example.com; * = any; empty = CORS off',
  ),
  TRUST_PROXY: variable(
    integer(0, 10).default(0),
    'Number of reverse proxies in front (their X-Forwarded-For is believed)',
  ),
  RATE_LIMIT_PER_MINUTE: variable(
    integer(0, 1_000_000).default(100),
    'Requests per minute and client address, and media streams that fail; 0 = off',
  ),
  USER_RATE_LIMIT_PER_MINUTE: variable(
    integer(0, 1_000_000).default(10),
    'Enrollments and verifications per minute and user; 0 = off',
  ),
  MAX_UPLOAD_BYTES: variable(
    integer(10_000, 200_000_000).default(10_000_000),
    'Largest recording accepted, uploaded or downloaded',
  ),
  MAX_RECORDING_SECONDS: variable(integer(5, 3600).default(300), 'Longest recording accepted, decoded'),
  WORKERS: variable(
    integer(1, 64).default(1),
    'Server processes on this machine, which share its port; limits on calls and inference processes are per process',
  ),
  MAX_ACTIVE_CALLS: variable(
    integer(1, 10_000).default(200),
    'Enrollments and verifications in progress at once; more answer 503',
  ),
  MAX_CALL_SESSIONS: variable(integer(1, 10_000).default(300), 'Calls listened to from their start; more answer 503'),
  MAX_CALL_MINUTES: variable(number(1, 1440).default(240), 'A call session that nobody has ended is given up then'),
  CALL_LEASE_SECONDS: variable(
    number(1, 300).default(10),
    'A process that has been silent for so long has lost its calls: the next event of a call moves it to another process',
  ),
  SHUTDOWN_GRACE_SECONDS: variable(
    number(0, 600).default(25),
    'On SIGTERM, how long running verifications may take to finish',
  ),
  CALL_ACCEPT_FRESH_SECONDS: variable(
    number(10, 3600).default(60),
    'How long before a question the caller may have said what is accepted or enrolled (10 or more: agents ask seconds after the last word)',
  ),
  CALL_ENROLL_NEW_NUMBERS: variable(
    flag.default(false),
    "enroll_caller may register the caller's number, and make a new user of a caller who names none; numbers can be forged",
  ),
  SUPABASE_URL: variable(baseUrl.optional(), 'Supabase project; unset = embedded PostgreSQL in DATA_DIR'),
  SUPABASE_SERVICE_ROLE_KEY: secret(supabaseKey, 'Service-role key of the Supabase project'),
  SUPABASE_ANON_KEY: secret(supabaseKey, 'Not enough on its own: row-level security hides everything'),
  ALLOW_ANON_KEY: variable(
    flag.default(false),
    'Use SUPABASE_ANON_KEY all the same (you have granted the functions to anon yourself)',
  ),
  DATABASE_TIMEOUT: variable(number(0.2, 60).default(5), 'Seconds after which a database call has failed'),
  DATA_DIR: variable(
    z.string().min(1).default(DEFAULT_DATA_DIR),
    'Folder of the embedded database, its encryption key and the development API key',
  ),
  ATTEMPT_RETENTION_DAYS: variable(
    integer(1, 36_500).optional(),
    'Recorded attempts are removed after so many days; unset = kept',
  ),
  EMBEDDING_ENCRYPTION_KEYS: secret(
    secretList.optional(),
    'Key ring `id:base64(32 bytes)`, comma-separated: the first encrypts, all decrypt; required with Supabase',
  ),
  MODELS_DIR: variable(z.string().min(1).optional(), 'Folder with model packages; default: the ones shipped'),
  MODEL_ID: variable(
    z
      .string()
      .regex(/^[a-z0-9][a-z0-9._-]*$/)
      .default('phone-resnet-192-v4'),
    'Model package to use',
  ),
  SPEECH_DETECTOR: variable(
    z.enum(['auto', 'silero']).default('auto'),
    "auto: the model package's own speech detector where it has one, else Silero VAD; silero: always Silero VAD",
  ),
  INFERENCE_CHILDREN: variable(integer(1, 64).optional(), 'Inference processes; default: one per core, at most 8'),
  INFERENCE_QUEUE: variable(integer(1, 10_000).default(1024), 'Inference requests that may wait; more answer 503'),
  INFERENCE_QUEUE_TIMEOUT_MS: variable(integer(50, 60_000).default(5000), 'Longest wait of an inference request'),
  VOICE_THRESHOLD: variable(
    number(0.3, 0.9999).default(0.82),
    'Score needed to accept; the false-match rate it stands for is (1 - score)^3',
  ),
  MIN_SPEECH_MS: variable(integer(1500, 60_000).default(2000), 'Net caller speech needed before any accept or reject'),
  MAX_AUDIO_DURATION: variable(
    number(3, 300).default(30),
    'Seconds of net caller speech used at most; a live call is compared every second up to 29.5 s of it, and once more at its end',
  ),
  WEBSOCKET_TIMEOUT: variable(number(1, 600).default(65), 'Seconds a verification listens at most'),
  ENROLL_MIN_SPEECH_MS: variable(integer(2000, 60_000).default(5000), 'Net speech needed in one enrollment sample'),
  ENROLL_MATCH_THRESHOLD: variable(
    number(0.3, 0.9999).optional(),
    'Score a further sample needs to be added to a voiceprint, VOICE_THRESHOLD or more; unset = VOICE_THRESHOLD',
  ),
  MAX_FAILED_ATTEMPTS: variable(
    integer(1, 100).default(5),
    'Failed attempts in a row that lock a user: rejects, further enrollment samples that do not match, and comparisons without a match on audio too poor to decide from',
  ),
  LOCKOUT_MINUTES: variable(number(0.01, 10_080).default(15), 'How long a user stays locked'),
  LISTEN_HOSTS: variable(list.default(['*.vapi.ai']), 'Hosts that listen URLs may name (`*.` = any subdomain)'),
  AUDIO_HOSTS: variable(list.default([]), 'Hosts that audio URLs may name; empty = any public host'),
  ALLOW_PRIVATE_NETWORK: variable(
    flag.default(false),
    'Development only: also dial private addresses, any host, http and ws; refused in production',
  ),
  AUDIO_DOWNLOAD_TIMEOUT: variable(number(1, 120).default(15), 'Seconds a download may take'),
  LISTEN_CONNECT_TIMEOUT: variable(number(0.5, 60).default(10), 'Seconds to go on trying to connect to a listen URL'),
  LISTEN_SAMPLE_RATE: variable(
    z.enum(['auto', '8000', '16000', '24000', '32000']).default('auto'),
    'Sample rate of listen sockets; auto = start frame, else measured',
  ),
  LISTEN_CHANNELS: variable(
    z.enum(['auto', '1', '2']).default('auto'),
    'Channels of listen sockets; auto = start frame, else measured',
  ),
  LISTEN_CALLER_CHANNEL: variable(z.enum(['0', '1']).default('0'), 'Channel of the caller in a stereo listen stream'),
  LISTEN_MONO_IS_CALLER: variable(
    flag.default(false),
    'A mono listen stream holds the caller only (otherwise it is treated as mixed and never accepted)',
  ),
  VAPI_PUBLIC_KEY: secret(
    z.string().min(1).optional(),
    'Sent as bearer token when listening, for assistants with listenAuthenticationEnabled',
  ),
  VAPI_PRIVATE_KEY: secret(
    z.string().min(1).optional(),
    'Asks VAPI for the listen URL of a call whose events do not carry it; unset = such calls are not listened to',
  ),
  VAPI_API_URL: variable(baseUrl.default('https://api.vapi.ai'), 'Where VAPI answers for VAPI_PRIVATE_KEY'),
  VAPI_WEBHOOK_SECRET: secret(
    secretList.optional(),
    'Webhooks with one of these in X-Vapi-Secret are believed (comma-separated, for rotation)',
  ),
  VAPI_WEBHOOK_TOKEN: secret(
    secretList.optional(),
    'Webhooks with one of these as bearer token are believed (comma-separated, for rotation)',
  ),
  VAPI_WEBHOOK_HMAC_SECRET: secret(
    secretList.optional(),
    'Webhooks signed with one of these are believed (comma-separated, for rotation)',
  ),
  VAPI_WEBHOOK_HMAC_ALGORITHM: variable(
    z.enum(['sha256', 'sha1', 'sha512']).default('sha256'),
    'Hash of the signature: sha256, sha1 or sha512',
  ),
  VAPI_WEBHOOK_HMAC_HEADER: variable(headerName.default('x-signature'), 'Header with the signature'),
  VAPI_WEBHOOK_HMAC_TIMESTAMP_HEADER: variable(
    headerName.default('x-timestamp'),
    'Header with the time of signing, in seconds, milliseconds or ISO 8601',
  ),
  VAPI_WEBHOOK_HMAC_PAYLOAD: variable(
    z
      .string()
      .regex(/\{body\}/)
      .default('{timestamp}.{body}'),
    'What is signed; {body} and {timestamp} stand for themselves. Without {timestamp} an old webhook can be sent again',
  ),
  VAPI_WEBHOOK_HMAC_ENCODING: variable(z.enum(['hex', 'base64']).default('hex'), 'Of the signature: hex or base64'),
  VAPI_WEBHOOK_HMAC_PREFIX: variable(
    z.string().max(32).default(''),
    'Text before the signature in its header, e.g. `sha256=`',
  ),
  VAPI_WEBHOOK_TOLERANCE: variable(
    integer(5, 3600).default(300),
    'Seconds that a signed webhook may be old (or early)',
  ),
  VAPI_TOOL_TIMEOUT: variable(
    number(2, 300).default(20),
    'Seconds in which VAPI wants a tool call answered, when the call does not say (server.timeoutSeconds)',
  ),
  VAPI_RESULT_FORMAT: variable(
    z.enum(['text', 'json']).default('text'),
    'Results of tool calls: text for a language model, or compact JSON',
  ),
  VAPI_LATE_VERDICT: variable(
    z.enum(['off', 'message', 'say']).default('off'),
    'When a tool call had to be answered before a decision: go on listening and tell the call later, as a system message or spoken',
  ),
  VAPI_CONTROL_HOSTS: variable(
    list.default(['*.vapi.ai']),
    'Hosts that control URLs (for late verdicts) may name (`*.` = any subdomain)',
  ),
  PUBLIC_URL: variable(
    baseUrl.optional(),
    'Where the internet reaches this service, e.g. https://auth.example.com; needed for media streams',
  ),
  TWILIO_AUTH_TOKEN: secret(
    secretList.optional(),
    'Checks the signature of Twilio media streams (comma-separated, for rotation); without it they are refused wherever API_KEYS is set',
  ),
  STREAM_TOKEN_SECONDS: variable(
    integer(10, 86_400).default(300),
    'How long the token of an expected media stream may wait for its stream',
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: variable(
    z.url({ protocol: /^https?$/ }).optional(),
    'OTLP/HTTP endpoint for traces; unset = tracing off',
  ),
  OTEL_SERVICE_NAME: variable(z.string().min(1).default('voice-auth'), 'Service name on traces'),
} as const;

function isOrigin(text: string): boolean {
  if (text === '*' || text === 'null') return true;
  if (text.includes('*') || !URL.canParse(text)) return false;
  const { origin } = new URL(text);
  // Of apps and browser extensions URL knows no origin.
  return origin === 'null' ? /^[a-z][a-z0-9+.-]*:\/\/[^/?#@]+$/.test(text) : origin === text;
}

/** Variables of the command line, which the service does not read. */
const OTHERS: readonly string[] = ['VOICE_AUTH_URL', 'VOICE_AUTH_API_KEY'];

type Variables = typeof ENVIRONMENT;
export type EnvironmentName = keyof Variables;
export type Environment = { readonly [K in EnvironmentName]: z.output<Variables[K]['schema']> };

/** All that is wrong with the configuration, at once. */
export class ConfigurationError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`Configuration is not usable:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
    this.name = 'ConfigurationError';
    this.problems = problems;
  }
}

/** Parses every variable, trimmed; an empty one counts as unset. Throws `ConfigurationError` with all problems (never values). */
export function parseEnvironment(source: Readonly<Record<string, string | undefined>>): Environment {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, { schema }] of Object.entries<Variable>(ENVIRONMENT)) {
    // Trimmed, because a blank would be read as the number 0: a threshold that accepts everybody.
    const raw = source[name]?.trim();
    const result = schema.safeParse(raw === '' ? undefined : raw);
    if (result.success) values[name] = result.data;
    else problems.push(`${name}: ${result.error.issues.map((issue) => issue.message).join(', ')}`);
  }
  if (problems.length > 0) throw new ConfigurationError(problems);
  return values as Environment;
}

export interface Misspelling {
  readonly name: string;
  readonly meant: EnvironmentName;
}

/**
 * Variables that are set, unknown here and one or two letters off a known one: they do nothing, and whoever set them believes otherwise.
 * One letter (Levenshtein) up to 11 letters, two in longer names; names of fewer than 7 letters resemble too much that is not ours.
 */
export function misspelledVariables(
  source: Readonly<Record<string, string | undefined>> = process.env,
): readonly Misspelling[] {
  const known = Object.keys(ENVIRONMENT) as EnvironmentName[];
  return Object.keys(source)
    .filter((name) => !Object.hasOwn(ENVIRONMENT, name) && !OTHERS.includes(name) && source[name] !== undefined)
    .flatMap((name) => {
      const candidates = known
        .filter((one) => one.length >= 7)
        .map((meant) => ({ name, meant, letters: distance(name.toUpperCase(), meant) }))
        .filter(({ meant, letters }) => letters <= (meant.length < 12 ? 1 : 2))
        .sort((a, b) => a.letters - b.letters);
      return candidates.slice(0, 1).map(({ meant }) => ({ name, meant }));
    });
}
