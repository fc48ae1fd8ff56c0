/** The parsed, cross-checked and frozen configuration, in one slice per room. */
import { availableParallelism } from 'node:os';
import { isAbsolute, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LogLevel } from '../observability/logger.js';
import { ConfigurationError, ENVIRONMENT, type Environment, parseEnvironment, type Variable } from './environment.js';

export interface HttpConfig {
  readonly host: string;
  readonly port: number;
  /** `id:scope+scope:sha256` entries; undefined = none configured. */
  readonly apiKeys: readonly string[] | undefined;
  readonly metricsPublic: boolean;
  readonly corsOrigins: readonly string[];
  readonly trustProxy: number;
  readonly rateLimitPerMinute: number;
  readonly userRateLimitPerMinute: number;
  readonly maxUploadBytes: number;
}

export interface StorageConfig {
  readonly supabase: { readonly url: string; readonly key: string } | undefined;
  readonly dataDir: string;
  readonly timeoutMs: number;
  /** `id:base64` entries; undefined = use (or create) the key file in the data folder. */
  readonly encryptionKeys: readonly string[] | undefined;
  /** Attempts older than this are removed; undefined = kept. */
  readonly attemptRetentionMs?: number | undefined;
}

export interface EmbedderConfig {
  readonly modelsDir: string;
  readonly modelId: string;
  /** `auto` = the model package's own detector if it has one, Silero's otherwise. */
  readonly speechDetector: 'auto' | 'silero';
  readonly children: number;
  readonly maxWaiting: number;
  readonly queueTimeoutMs: number;
}

export interface VerificationConfig {
  readonly threshold: number;
  readonly minSpeechMs: number;
  readonly maxSpeechMs: number;
  readonly listenTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly maxFailedAttempts: number;
  readonly lockoutMs: number;
  readonly maxActiveCalls: number;
}

export interface EnrollmentConfig {
  readonly minSpeechMs: number;
  readonly maxSpeechMs: number;
  /** Never below the threshold of a verification. */
  readonly matchThreshold: number;
  readonly listenTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

export interface OutboundConfig {
  readonly listenHosts: readonly string[];
  readonly audioHosts: readonly string[];
  readonly controlHosts: readonly string[];
  readonly allowPrivateNetwork: boolean;
  readonly downloadTimeoutMs: number;
  readonly maxDownloadBytes: number;
}

export interface RecordingsConfig {
  readonly maxDurationMs: number;
  /** Folders in which an `ffmpeg` is looked for, like `PATH`. */
  readonly programSearchPath: string;
}

export interface VapiListenConfig {
  /** Undefined = by start frame or measurement. */
  readonly sampleRateHz: number | undefined;
  readonly channels: 1 | 2 | undefined;
  readonly callerChannel: 0 | 1;
  readonly monoIsCaller: boolean;
  readonly bearerToken: string | undefined;
}

/** How a webhook shows that it comes from VAPI; any one of the ways that are configured will do. */
export interface VapiWebhookConfig {
  /** Accepted values of X-Vapi-Secret. */
  readonly secrets: readonly string[];
  readonly bearerTokens: readonly string[];
  readonly hmac: WebhookHmacConfig | undefined;
  /** No way is configured and this is a development server on loopback: what programs on this machine send is believed. */
  readonly unauthenticated: boolean;
  /** Host name of `PUBLIC_URL`, under which a development server is meant to be reached, too. */
  readonly publicHost: string | undefined;
  /** When the tool call does not say. */
  readonly toolTimeoutMs: number;
  readonly resultFormat: 'text' | 'json';
  readonly lateVerdict: 'off' | 'message' | 'say';
}

export interface WebhookHmacConfig {
  readonly secrets: readonly string[];
  readonly algorithm: 'sha256' | 'sha1' | 'sha512';
  /** Header names are lower case. */
  readonly signatureHeader: string;
  readonly timestampHeader: string;
  /** With `{body}` and, for a replay window, `{timestamp}`. */
  readonly payload: string;
  readonly encoding: 'hex' | 'base64';
  readonly prefix: string;
  readonly toleranceMs: number;
}

/** VAPI's own API, for what its webhooks leave out. */
export interface VapiApiConfig {
  readonly url: string;
  /** Undefined = the API is not used. */
  readonly privateKey: string | undefined;
}

export interface StreamsConfig {
  /** Without a trailing slash; undefined = development: the address the server listens on. */
  readonly publicUrl: string | undefined;
  /** Undefined = signatures of Twilio are not checked, if `allowUnsigned`; else its streams are refused. */
  readonly twilioAuthTokens: readonly string[] | undefined;
  readonly allowUnsigned: boolean;
}

export interface CallsConfig {
  readonly maxSessions: number;
  readonly maxCallMs: number;
  readonly leaseMs: number;
  readonly streamTokenMs: number;
  /** How long before a question about the call the caller may have said what is accepted or enrolled. */
  readonly acceptFreshMs: number;
  /** An event of a call may make a user known by the caller's number, which is a claim. */
  readonly enrollNewNumbers: boolean;
}

export interface Config {
  /** Server processes on this machine. */
  readonly workers: number;
  readonly logLevel: LogLevel;
  readonly shutdownGraceMs: number;
  readonly http: HttpConfig;
  readonly storage: StorageConfig;
  readonly embedder: EmbedderConfig;
  readonly verification: VerificationConfig;
  readonly enrollment: EnrollmentConfig;
  readonly outbound: OutboundConfig;
  readonly recordings: RecordingsConfig;
  readonly vapiListen: VapiListenConfig;
  readonly vapiWebhook: VapiWebhookConfig;
  readonly vapiApi: VapiApiConfig;
  readonly streams: StreamsConfig;
  readonly calls: CallsConfig;
  readonly tracing: { readonly endpoint: string; readonly serviceName: string } | undefined;
}

/** The package's own folder, where `models/` and `supabase/` lie. */
export const PACKAGE_ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Where the published models that can be pulled are described. */
export const REGISTRY_DIR = resolve(PACKAGE_ROOT, 'models', 'registry');

const LOOPBACK_HOSTS = ['127.0.0.1', '::1', '[::1]', 'localhost'];

/** Reads and checks the environment. Throws `ConfigurationError` listing everything that is wrong. */
export function loadConfig(source: Readonly<Record<string, string | undefined>> = process.env): Config {
  const env = parseEnvironment(source);
  const problems = crossCheck(env);
  if (problems.length > 0) throw new ConfigurationError(problems);
  const listenTimeoutMs = env.WEBSOCKET_TIMEOUT * 1000;
  const connectTimeoutMs = Math.min(env.LISTEN_CONNECT_TIMEOUT * 1000, listenTimeoutMs);
  const maxSpeechMs = env.MAX_AUDIO_DURATION * 1000;
  const config: Config = {
    workers: env.WORKERS,
    logLevel: env.LOG_LEVEL,
    shutdownGraceMs: env.SHUTDOWN_GRACE_SECONDS * 1000,
    http: {
      host: env.HOST ?? (env.API_KEYS ? '0.0.0.0' : '127.0.0.1'),
      port: env.PORT,
      apiKeys: env.API_KEYS,
      metricsPublic: env.METRICS_PUBLIC,
      corsOrigins: env.CORS_ORIGINS,
      trustProxy: env.TRUST_PROXY,
      rateLimitPerMinute: env.RATE_LIMIT_PER_MINUTE,
      userRateLimitPerMinute: env.USER_RATE_LIMIT_PER_MINUTE,
      maxUploadBytes: env.MAX_UPLOAD_BYTES,
    },
    storage: {
      supabase: supabaseAccess(env),
      dataDir: isAbsolute(env.DATA_DIR) ? env.DATA_DIR : resolve(env.DATA_DIR),
      timeoutMs: env.DATABASE_TIMEOUT * 1000,
      encryptionKeys: env.EMBEDDING_ENCRYPTION_KEYS,
      attemptRetentionMs:
        env.ATTEMPT_RETENTION_DAYS === undefined ? undefined : env.ATTEMPT_RETENTION_DAYS * 86_400_000,
    },
    embedder: {
      modelsDir: env.MODELS_DIR ? resolve(env.MODELS_DIR) : resolve(PACKAGE_ROOT, 'models'),
      modelId: env.MODEL_ID,
      speechDetector: env.SPEECH_DETECTOR,
      children: env.INFERENCE_CHILDREN ?? Math.min(8, Math.max(1, Math.floor(availableParallelism() / env.WORKERS))),
      maxWaiting: env.INFERENCE_QUEUE,
      queueTimeoutMs: env.INFERENCE_QUEUE_TIMEOUT_MS,
    },
    verification: {
      threshold: env.VOICE_THRESHOLD,
      minSpeechMs: env.MIN_SPEECH_MS,
      maxSpeechMs,
      listenTimeoutMs,
      connectTimeoutMs,
      maxFailedAttempts: env.MAX_FAILED_ATTEMPTS,
      lockoutMs: env.LOCKOUT_MINUTES * 60_000,
      maxActiveCalls: env.MAX_ACTIVE_CALLS,
    },
    enrollment: {
      minSpeechMs: env.ENROLL_MIN_SPEECH_MS,
      maxSpeechMs,
      matchThreshold: env.ENROLL_MATCH_THRESHOLD ?? env.VOICE_THRESHOLD,
      listenTimeoutMs,
      connectTimeoutMs,
    },
    outbound: {
      listenHosts: env.LISTEN_HOSTS,
      audioHosts: env.AUDIO_HOSTS,
      controlHosts: env.VAPI_CONTROL_HOSTS,
      allowPrivateNetwork: env.ALLOW_PRIVATE_NETWORK,
      downloadTimeoutMs: env.AUDIO_DOWNLOAD_TIMEOUT * 1000,
      maxDownloadBytes: env.MAX_UPLOAD_BYTES,
    },
    recordings: { maxDurationMs: env.MAX_RECORDING_SECONDS * 1000, programSearchPath: source.PATH ?? '' },
    vapiListen: {
      sampleRateHz: env.LISTEN_SAMPLE_RATE === 'auto' ? undefined : Number(env.LISTEN_SAMPLE_RATE),
      channels: env.LISTEN_CHANNELS === 'auto' ? undefined : env.LISTEN_CHANNELS === '1' ? 1 : 2,
      callerChannel: env.LISTEN_CALLER_CHANNEL === '1' ? 1 : 0,
      monoIsCaller: env.LISTEN_MONO_IS_CALLER,
      bearerToken: env.VAPI_PUBLIC_KEY,
    },
    vapiWebhook: {
      secrets: env.VAPI_WEBHOOK_SECRET ?? [],
      bearerTokens: env.VAPI_WEBHOOK_TOKEN ?? [],
      hmac: webhookHmac(env),
      unauthenticated: !hasWebhookSecret(env) && !env.API_KEYS,
      publicHost: env.PUBLIC_URL && new URL(env.PUBLIC_URL).hostname,
      toolTimeoutMs: env.VAPI_TOOL_TIMEOUT * 1000,
      resultFormat: env.VAPI_RESULT_FORMAT,
      lateVerdict: env.VAPI_LATE_VERDICT,
    },
    vapiApi: { url: env.VAPI_API_URL, privateKey: env.VAPI_PRIVATE_KEY },
    streams: {
      publicUrl: env.PUBLIC_URL,
      twilioAuthTokens: env.TWILIO_AUTH_TOKEN,
      allowUnsigned: !env.API_KEYS,
    },
    calls: {
      maxSessions: env.MAX_CALL_SESSIONS,
      maxCallMs: env.MAX_CALL_MINUTES * 60_000,
      leaseMs: env.CALL_LEASE_SECONDS * 1000,
      streamTokenMs: env.STREAM_TOKEN_SECONDS * 1000,
      acceptFreshMs: env.CALL_ACCEPT_FRESH_SECONDS * 1000,
      enrollNewNumbers: env.CALL_ENROLL_NEW_NUMBERS,
    },
    tracing: env.OTEL_EXPORTER_OTLP_ENDPOINT
      ? { endpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT, serviceName: env.OTEL_SERVICE_NAME }
      : undefined,
  };
  return deepFreeze(config);
}

function crossCheck(env: Environment): string[] {
  const problems: string[] = [];
  const production = env.NODE_ENV === 'production';
  if (production && !env.API_KEYS) {
    problems.push('API_KEYS: required with NODE_ENV=production (make one with `voice-auth keys create`)');
  }
  if (!env.API_KEYS && env.HOST && !LOOPBACK_HOSTS.includes(env.HOST)) {
    problems.push('HOST: without API_KEYS the service only listens on loopback (127.0.0.1, ::1 or localhost)');
  }
  if (production && env.ALLOW_PRIVATE_NETWORK) {
    problems.push('ALLOW_PRIVATE_NETWORK: not allowed with NODE_ENV=production');
  }
  if (env.SUPABASE_URL && !env.SUPABASE_SERVICE_ROLE_KEY) {
    if (!env.SUPABASE_ANON_KEY) problems.push('SUPABASE_SERVICE_ROLE_KEY: required with SUPABASE_URL');
    else if (!env.ALLOW_ANON_KEY) {
      problems.push(
        'SUPABASE_SERVICE_ROLE_KEY: SUPABASE_ANON_KEY alone is not enough, because row-level security gives the anon ' +
          'role nothing; set the service-role key (or ALLOW_ANON_KEY=true if you have granted the functions to anon)',
      );
    }
  }
  if (production && env.PUBLIC_URL && !isSecure(env.PUBLIC_URL)) {
    problems.push('PUBLIC_URL: must be https with NODE_ENV=production');
  }
  if (!isSecure(env.VAPI_API_URL)) {
    problems.push('VAPI_API_URL: must be https (http only for a loopback address): the key travels with every request');
  }
  if (env.SUPABASE_URL && !isSecure(env.SUPABASE_URL)) {
    problems.push('SUPABASE_URL: must be https (http only for a loopback address): the key travels with every request');
  }
  if (!env.SUPABASE_URL && (env.SUPABASE_SERVICE_ROLE_KEY || env.SUPABASE_ANON_KEY)) {
    problems.push('SUPABASE_URL: required with a Supabase key');
  }
  if (env.SUPABASE_URL && !env.EMBEDDING_ENCRYPTION_KEYS) {
    problems.push('EMBEDDING_ENCRYPTION_KEYS: required with SUPABASE_URL (make one with `voice-auth keys encryption`)');
  }
  if (env.MIN_SPEECH_MS > env.MAX_AUDIO_DURATION * 1000) {
    problems.push('MIN_SPEECH_MS: must not be more than MAX_AUDIO_DURATION');
  }
  if (env.ENROLL_MIN_SPEECH_MS > env.MAX_AUDIO_DURATION * 1000) {
    problems.push('ENROLL_MIN_SPEECH_MS: must not be more than MAX_AUDIO_DURATION');
  }
  // Whoever is added to a voiceprint is accepted from then on: that must not be easier than to be accepted.
  if (env.ENROLL_MATCH_THRESHOLD !== undefined && env.ENROLL_MATCH_THRESHOLD < env.VOICE_THRESHOLD) {
    problems.push(
      `ENROLL_MATCH_THRESHOLD: must not be below VOICE_THRESHOLD (${env.VOICE_THRESHOLD}); unset, it is that`,
    );
  }
  return problems;
}

function hasWebhookSecret(env: Environment): boolean {
  return [env.VAPI_WEBHOOK_SECRET, env.VAPI_WEBHOOK_TOKEN, env.VAPI_WEBHOOK_HMAC_SECRET].some(Boolean);
}

function webhookHmac(env: Environment): WebhookHmacConfig | undefined {
  if (!env.VAPI_WEBHOOK_HMAC_SECRET) return undefined;
  return {
    secrets: env.VAPI_WEBHOOK_HMAC_SECRET,
    algorithm: env.VAPI_WEBHOOK_HMAC_ALGORITHM,
    signatureHeader: env.VAPI_WEBHOOK_HMAC_HEADER,
    timestampHeader: env.VAPI_WEBHOOK_HMAC_TIMESTAMP_HEADER,
    payload: env.VAPI_WEBHOOK_HMAC_PAYLOAD,
    encoding: env.VAPI_WEBHOOK_HMAC_ENCODING,
    prefix: env.VAPI_WEBHOOK_HMAC_PREFIX,
    toleranceMs: env.VAPI_WEBHOOK_TOLERANCE * 1000,
  };
}

function isSecure(text: string): boolean {
  const url = new URL(text);
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK_HOSTS.includes(url.hostname));
}

function supabaseAccess(env: Environment): StorageConfig['supabase'] {
  const key = env.SUPABASE_SERVICE_ROLE_KEY ?? env.SUPABASE_ANON_KEY;
  return env.SUPABASE_URL && key ? { url: env.SUPABASE_URL, key } : undefined;
}

function deepFreeze<T extends object>(value: T): T {
  for (const child of Object.values(value)) {
    if (typeof child === 'object' && child !== null) deepFreeze(child);
  }
  return Object.freeze(value);
}

export interface Setting {
  readonly name: string;
  readonly value: string;
  readonly source: 'environment' | 'default' | 'unset';
  readonly description: string;
}

/** Every setting as it stands, for people: secrets only as `(set)`. */
export function describeEnvironment(
  source: Readonly<Record<string, string | undefined>> = process.env,
): readonly Setting[] {
  const values: Readonly<Record<string, unknown>> = parseEnvironment(source);
  return Object.entries<Variable>(ENVIRONMENT).map(([name, { description, secret }]) => {
    const value = values[name];
    const shown = value === undefined ? '' : Array.isArray(value) ? value.join(',') : String(value);
    const from = source[name]?.trim() ? 'environment' : value === undefined ? 'unset' : 'default';
    return { name, value: secret && value !== undefined ? '(set)' : shown, source: from, description };
  });
}
