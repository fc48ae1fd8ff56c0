/** A server process on a fresh data folder, with its API client: for end-to-end tests, benchmarks and trials. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient } from '../../src/cli/client.js';
import { type ServerProcess, startServerProcess } from '../../src/cli/server-process.js';
import { DEVELOPMENT_KEY_FILE } from '../../src/config/client-environment.js';
import { builtModule } from './built.js';
import { requirePrivate } from './privacy.js';
import { startTraceCollector } from './trace-collector.js';

export interface LocalService {
  readonly server: ServerProcess;
  readonly client: ApiClient;
  readonly apiKey: string;
  readonly dataDir: string;
  /** Traces received so far; empty when the service is not watched. */
  traces(): string;
  /** Stops the server, removes its data folder, and (when watched) fails if its logs or traces gave something away. */
  close(signal?: NodeJS.Signals): Promise<void>;
}

export interface LocalServiceOptions {
  /** Kept after `close`; default: a temporary folder of its own. */
  readonly dataDir?: string;
  /** Collects traces and searches logs and traces for secrets, numbers, URLs, audio and embeddings. Default true. */
  readonly watched?: boolean;
  /** Further texts that must not appear in logs or traces. */
  readonly secrets?: readonly string[];
  /** Options of Node itself for the server process. */
  readonly nodeOptions?: readonly string[];
}

/** Starts the built server with development switches and no rate limits; `environment` overrides and adds. */
export async function startLocalService(
  environment: Readonly<Record<string, string>> = {},
  options: LocalServiceOptions = {},
): Promise<LocalService> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'voice-auth-')));
  const collector = options.watched === false ? undefined : await startTraceCollector();
  const starting = startServerProcess({
    mainModule: builtModule('cli/main.js'),
    nodeOptions: options.nodeOptions ?? [],
    environment: {
      DATA_DIR: dataDir,
      ALLOW_PRIVATE_NETWORK: 'true',
      RATE_LIMIT_PER_MINUTE: '0',
      USER_RATE_LIMIT_PER_MINUTE: '0',
      SHUTDOWN_GRACE_SECONDS: '1',
      ...(collector ? { LOG_LEVEL: 'trace', OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint } : {}),
      ...environment,
    },
  });
  const server = await starting.catch(async (error: unknown) => {
    await collector?.close();
    throw error;
  });
  const apiKey = environment.API_KEYS ? '' : (await readFile(join(dataDir, DEVELOPMENT_KEY_FILE), 'utf8')).trim();
  return {
    server,
    client: new ApiClient({ server: server.url, apiKey }),
    apiKey,
    dataDir,
    traces: () => collector?.text() ?? '',
    close: async (signal) => {
      await server.stop(signal);
      await collector?.close();
      const secrets = [apiKey, ...(options.secrets ?? [])].filter((secret) => secret !== '');
      if (!options.dataDir) await rm(dataDir, { recursive: true, force: true });
      if (collector) requirePrivate({ logs: server.output(), traces: collector.text() }, secrets);
    },
  };
}

/** A page over a connection of its own, so that it is the next worker's turn. */
export async function fetchText(service: LocalService, path: string): Promise<string> {
  const headers = { connection: 'close', authorization: `Bearer ${service.apiKey}` };
  return (await fetch(`${service.server.url}${path}`, { headers })).text();
}

/** The sum of a metric's samples whose labels contain `labels` (e.g. `decision="accept"`), from a /metrics page. */
export function metricSum(page: string, name: string, labels = ''): number {
  return page
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => line.includes(labels))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** Runs `work` on every item, at most `limit` at a time, in order of the items. */
export async function eachLimited<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = items.values();
  const lane = async () => {
    for (const item of waiting) await work(item);
  };
  await Promise.all(Array.from({ length: limit }, lane));
}
