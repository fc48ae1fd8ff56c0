/**
 * Composition root and only listener: configuration -> adapters -> use cases -> HTTP, and a shutdown in phases. Every part
 * that was opened is closed again, in reverse order, also when a later part fails to open.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { WorkerLink } from './cluster/worker-link.js';
import { DEVELOPMENT_KEY_FILE } from './config/client-environment.js';
import type { Config } from './config/config.js';
import { ConfigurationError } from './config/environment.js';
import { DatabaseWatch } from './database-watch.js';
import { WorkLimit } from './domain/admission.js';
import { CallService } from './domain/calls/call-service.js';
import { Enrollment } from './domain/enrollment/enroll.js';
import { VoiceAuthError } from './domain/errors.js';
import { type Doorbell, type ErasureBell, NO_DOORBELL } from './domain/ports/doorbell.js';
import type { Calibration } from './domain/scoring/calibration.js';
import { SpeakerScorer } from './domain/scoring/scorer.js';
import { TimerWheel } from './domain/timing/timer-wheel.js';
import { PeopleInMemory } from './domain/users/people-in-memory.js';
import { UserDirectory } from './domain/users/user-directory.js';
import { AttemptRecorder } from './domain/verification/attempt-recorder.js';
import { DriftMonitor } from './domain/verification/drift-monitor.js';
import { Verification } from './domain/verification/verify.js';
import { type OpenEmbedder, openEmbedder } from './embedder/open-embedder.js';
import { createHealthReporter } from './health.js';
import { startHousekeeping } from './housekeeping.js';
import { type ApiKeyRing, apiKeyEntry, createApiKey, parseApiKeyRing } from './http/api-keys.js';
import { createApp } from './http/app.js';
import { addressOfUpgrade } from './http/client-address.js';
import { Connections } from './http/connections.js';
import { applyServerLimits } from './http/server-limits.js';
import { createLogger, type Logger } from './observability/logger.js';
import { Metrics } from './observability/metrics.js';
import { startTracing } from './observability/tracing-bootstrap.js';
import { GuardedFetcher } from './recordings/recording-fetcher.js';
import { WorkerRecordingDecoder } from './recordings/worker-recording-decoder.js';
import { prepareDataFolder, readOrCreateSecret } from './storage/data-folder.js';
import { openStorage } from './storage/open-storage.js';
import { streamInstructions } from './telephony/streams/stream-instructions.js';
import { createStreamServer } from './telephony/streams/stream-server.js';
import { createCallSources } from './telephony/vapi/vapi-call-sources.js';
import { VapiApi } from './telephony/vapi/webhook/vapi-api.js';
import { VapiWebhook } from './telephony/vapi/webhook/vapi-webhook.js';
import { acceptUpgrades } from './upgrades.js';

export interface RunningServer {
  readonly url: string;
  /** The generated key of a server without configured keys. */
  readonly developmentKey: string | undefined;
  /** Stops in phases: no new work, running work within the grace period, the rest is given up, parts closed. */
  close(): Promise<void>;
}

/** After the grace period: how long given-up work may take to record itself, and each part to close. */
const GIVE_UP_MS = 5_000;
const PART_CLOSE_MS = 5_000;
/** No part may hold up the others for longer. */
const PART_LIMIT_MS = 15_000;
const IDLE_SWEEP_MS = 100;
/** Processes of one machine ring at each other about calls. */
const CALLS_TOPIC = 'calls';
/** And about people who were erased. */
const ERASED_TOPIC = 'erased';
/** A decoded recording of five minutes may take 100 MB. */
const MAX_DECODED_RECORDINGS = 8;

/**
 * Starts everything and listens. Rejects with a clear error (and nothing left open) when a part cannot start. With a link,
 * this is one of several server processes, which share the port and the embedded database.
 */
export async function startServer(config: Config, link?: WorkerLink): Promise<RunningServer> {
  const logger = link ? createLogger(config.logLevel).child({ worker: link.id }) : createLogger(config.logLevel);
  const closers: { readonly name: string; readonly close: () => Promise<void> }[] = [];
  const closeParts = async () => {
    for (const { name, close } of closers.splice(0).reverse()) {
      const closing = close().catch((error: unknown) => {
        logger.error({ err: error, part: name }, 'a part did not close cleanly');
      });
      if (!(await within(closing, PART_LIMIT_MS))) logger.error({ part: name }, 'a part did not close in time');
    }
  };
  try {
    if (config.tracing) {
      const stopTracing = await startTracing(config.tracing);
      closers.push({ name: 'tracing', close: () => stopTracing(PART_CLOSE_MS) });
    }
    warnOfDevelopmentSwitches(config, logger);
    const metrics = link?.metrics ?? new Metrics();
    const timers = new TimerWheel();
    // The two slow parts start side by side; what opened is closed again when the other fails.
    const [storageOpening, modelOpening] = await Promise.allSettled([
      openStorage(config.storage, { metrics, logger, database: link?.transactionRunner }),
      openEmbedder(config.embedder, { metrics, logger, timers }),
    ]);
    if (storageOpening.status === 'fulfilled') {
      closers.push({ name: 'storage', close: () => storageOpening.value.close() });
    }
    if (modelOpening.status === 'fulfilled') {
      closers.push({ name: 'inference', close: () => modelOpening.value.drain(PART_CLOSE_MS) });
    }
    const [storage, model] = [opened(storageOpening), opened(modelOpening)];
    const { ring, developmentKey } = await readApiKeys(config);
    const decoder = new WorkerRecordingDecoder(config.recordings);
    closers.push({ name: 'decoder', close: () => decoder.close() });
    const fetcher = new GuardedFetcher(config.outbound);
    closers.push({ name: 'fetcher', close: () => fetcher.close() });

    const giveUp = new AbortController();
    let draining = false;
    const work = new WorkLimit({
      max: config.verification.maxActiveCalls,
      what: 'enrollments and verifications',
      retryAfterSeconds: 5,
      onChange: (active) => metrics.activeCalls.set(active),
    });
    const { manifest, cohort, calibration } = model.package;
    const scorer = new SpeakerScorer(cohort, manifest.embeddingSize, { calibration });
    warnOfOtherDetector(calibration, model, logger);
    const drift = new DriftMonitor({ scorer, metrics });
    const parts = {
      store: storage.store,
      embedder: model.embedder,
      detector: model.detector,
      scorer,
      drift,
      sources: createCallSources({ vapi: config.vapiListen, outbound: config.outbound, metrics, logger }),
      fetcher,
      decoder,
      work,
      recordings: new WorkLimit({ max: MAX_DECODED_RECORDINGS, what: 'recordings', retryAfterSeconds: 2 }),
      metrics,
      logger,
      shutdown: giveUp.signal,
    };
    const verification = new Verification({ ...parts, config: config.verification });
    const recorder = new AttemptRecorder({ ...parts, config: config.verification, modelId: model.embedder.modelId });
    const enrollment = new Enrollment({ ...parts, config: config.enrollment, recorder });
    const calls = new CallService({
      ...parts,
      config: config.verification,
      callsConfig: config.calls,
      callStore: storage.calls,
      enrollment,
      doorbell: link ? doorbellOf(link) : NO_DOORBELL,
      timers,
    });
    closers.push({ name: 'calls', close: () => calls.close() });
    const people = new PeopleInMemory({
      store: storage.store,
      holders: [drift, calls],
      bell: link ? erasureBellOf(link) : NO_DOORBELL,
    });
    const users = new UserDirectory(storage.store, model.embedder.modelId, {
      onErased: (userId) => people.erased(userId),
    });
    const housekeeping = startHousekeeping({
      store: storage.store,
      users,
      people,
      metrics,
      logger,
      attemptRetentionMs: config.storage.attemptRetentionMs,
    });
    closers.push({ name: 'housekeeping', close: () => housekeeping.close() });
    const database = new DatabaseWatch({ store: storage.store, metrics, logger });
    closers.push({ name: 'database_watch', close: async () => database.close() });
    const vapiApi = new VapiApi({ api: config.vapiApi, outbound: config.outbound });
    closers.push({ name: 'vapi_api', close: () => vapiApi.close() });
    const webhook = new VapiWebhook({
      config: config.vapiWebhook,
      calls,
      api: vapiApi,
      metrics,
      logger,
      shutdown: giveUp.signal,
    });
    closers.push({
      name: 'vapi_webhook',
      close: async () => {
        giveUp.abort();
        await webhook.close();
      },
    });
    let url = '';
    const streams = createStreamServer({
      config: config.streams,
      streams: calls,
      metrics,
      logger,
      baseUrl: () => url,
      clientAddress: (request) => addressOfUpgrade(request, config.http.trustProxy),
      limits: { maxFailuresPerMinute: config.http.rateLimitPerMinute },
    });
    const app = createApp({
      config: config.http,
      keys: ring,
      metrics,
      metricsPage: link ? () => link.metricsPage() : undefined,
      logger,
      rateLimits: storage.store,
      enrollment,
      verification,
      users,
      calls,
      streams: calls,
      streamGuide: (platform, token) => streamInstructions({ platform, token, publicUrl: publicUrlOf(config, url) }),
      webhook,
      health: createHealthReporter({
        database,
        backend: storage.backend,
        embedder: () => model.health(),
        activeWork: () => work.active + calls.active,
        workers: link ? () => link.workers() : undefined,
        isDraining: () => draining,
      }),
      isDraining: () => draining,
      timers,
      configuredThreshold: config.verification.threshold,
      maxListenSeconds: config.verification.listenTimeoutMs / 1000,
    });
    const server = createServer(app);
    const connections = new Connections(server);
    applyServerLimits(server, connections);
    acceptUpgrades(server, { streams, connections, metrics });
    server.listen(config.http.port, config.http.host);
    await once(server, 'listening');
    url = listeningUrl(server, config.http.host);
    // Of several processes the first one says it, when all are ready.
    if (!link) logger.info({ event: 'listening', port: (server.address() as AddressInfo).port }, 'listening');
    let closing: Promise<void> | undefined;
    const close = async () => {
      draining = true;
      calls.drain();
      logger.info({ event: 'draining', active: work.active, calls: calls.active }, 'shutting down');
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const sweep = setInterval(() => {
        // A connection kept alive by its client turns idle only after its last answer.
        server.closeIdleConnections();
        // Streams are listened to as long as somebody may wait for an answer.
        server.getConnections((_error, count) => {
          if (count <= streams.connections) void streams.close();
        });
      }, IDLE_SWEEP_MS);
      // Verdicts that were promised to calls come after their requests were answered.
      const finished = closed.then(() => webhook.settled());
      if (!(await within(finished, config.shutdownGraceMs))) {
        giveUp.abort();
        void streams.close();
        if (!(await within(finished, GIVE_UP_MS))) connections.destroyAll();
      }
      clearInterval(sweep);
      await closeParts();
      logger.info({ event: 'stopped' }, 'stopped');
    };
    return {
      url,
      developmentKey,
      close: () => {
        closing ??= close();
        return closing;
      },
    };
  } catch (error) {
    await closeParts();
    throw error;
  }
}

/** Where platforms reach this service. Throws `ValidationError` where only the operator could know. */
function publicUrlOf(config: Config, listeningAt: string): string {
  if (config.streams.publicUrl !== undefined) return config.streams.publicUrl;
  // Without keys this is a development server, and platforms are simulators beside it.
  if (!config.http.apiKeys) return listeningAt;
  throw new VoiceAuthError('ValidationError', 'Streams need PUBLIC_URL in the configuration of the service');
}

/** The configured API keys, else the development key in the data folder, made on first use. */
export async function readApiKeys(
  config: Config,
): Promise<{ readonly ring: ApiKeyRing; readonly developmentKey: string | undefined }> {
  const configured = config.http.apiKeys;
  if (configured) return { ring: keyRing(configured), developmentKey: undefined };
  // Kept in the data folder, so that the command line finds it and restarts do not change it.
  await prepareDataFolder(config.storage.dataDir);
  const path = join(config.storage.dataDir, DEVELOPMENT_KEY_FILE);
  const developmentKey = await readOrCreateSecret(path, () => createApiKey('dev', ['admin']).key);
  return { ring: keyRing([apiKeyEntry(developmentKey, ['admin'])]), developmentKey };
}

function keyRing(entries: readonly string[]): ApiKeyRing {
  const result = parseApiKeyRing(entries);
  if (result.kind === 'ring') return result.ring;
  throw new ConfigurationError(result.problems.map((problem) => `API_KEYS: ${problem}`));
}

function doorbellOf(link: WorkerLink): Doorbell {
  return {
    ring: () => link.ring(CALLS_TOPIC, ''),
    onRing: (listener) => link.onRing(CALLS_TOPIC, () => listener()),
  };
}

function erasureBellOf(link: WorkerLink): ErasureBell {
  return {
    ring: (userId) => link.ring(ERASED_TOPIC, userId),
    onRing: (listener) => link.onRing(ERASED_TOPIC, listener),
  };
}

function opened<T>(result: PromiseSettledResult<T>): T {
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}

function warnOfDevelopmentSwitches(config: Config, logger: Logger): void {
  if (config.outbound.allowPrivateNetwork) {
    logger.warn(
      { event: 'private_network' },
      'ALLOW_PRIVATE_NETWORK IS ON: any address may be dialled. Never in production.',
    );
  }
  if (!config.http.apiKeys) {
    logger.warn({ event: 'no_api_keys' }, 'no API_KEYS configured: listening on loopback only, with a development key');
  }
}

/** What a score is worth was measured with one detector's idea of speech. */
function warnOfOtherDetector({ speechDetector: fittedWith }: Calibration, model: OpenEmbedder, logger: Logger): void {
  if (fittedWith === undefined || fittedWith === model.speechDetectorId) return;
  logger.warn(
    { event: 'other_speech_detector', fittedWith, running: model.speechDetectorId },
    'the calibration was fitted with another speech detector: run voice-auth calibrate on calls, or set SPEECH_DETECTOR',
  );
}

function listeningUrl(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo;
  const shown = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `http://${shown.includes(':') ? `[${shown}]` : shown}:${port}`;
}

async function within(work: Promise<void>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  const inTime = await Promise.race([work.then(() => true), late]);
  clearTimeout(timer);
  return inTime;
}
