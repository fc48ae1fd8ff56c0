/**
 * A server process configured as in production (keys with one scope each, no private network, all limits on), and requests
 * to it. Every request comes from a client address of its own, except where the limits are the matter.
 */
import { readFileSync } from 'node:fs';
import { createApiKey, type Scope } from '../../src/http/api-keys.js';
import { type Ask, exchange, form, type Reply } from './http-exchange.js';
import { type LocalService, startLocalService } from './local-service.js';

export interface KeyedAsk extends Ask {
  /** Scope of the key that is sent; default none. */
  readonly key?: Scope;
  /** Address the request seems to come from. */
  readonly client?: string;
}

export interface ScopedKeys {
  /** One key per scope. */
  readonly keys: Readonly<Record<Scope, string>>;
  /** The same, as they stand in the configuration. */
  readonly entries: Readonly<Record<Scope, string>>;
}

export interface ProductionService extends LocalService {
  ask(request: KeyedAsk): Promise<Reply>;
  /** Posts a value as JSON, or text and bytes as they are. */
  askJson(path: string, body: unknown, key: Scope): Promise<Reply>;
}

export interface ProductionServiceOptions {
  /** Overrides and adds. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Must not appear in logs and traces, and neither must the keys. */
  readonly secrets: readonly string[];
}

/** Makes a key for every scope. */
export function createScopedKeys(): ScopedKeys {
  const made = (['enroll', 'verify', 'read', 'admin'] as const).map((scope) => ({
    scope,
    ...createApiKey(`${scope}-key`, [scope]),
  }));
  return {
    keys: Object.fromEntries(made.map(({ scope, key }) => [scope, key])) as Record<Scope, string>,
    entries: Object.fromEntries(made.map(({ scope, entry }) => [scope, entry])) as Record<Scope, string>,
  };
}

/** Starts the server with these keys. */
export async function startProductionService(
  { keys, entries }: ScopedKeys,
  { environment, secrets }: ProductionServiceOptions,
): Promise<ProductionService> {
  const service = await startLocalService(
    {
      NODE_ENV: 'production',
      HOST: '127.0.0.1',
      API_KEYS: Object.values(entries).join(','),
      ALLOW_PRIVATE_NETWORK: 'false',
      METRICS_PUBLIC: 'false',
      TRUST_PROXY: '1',
      RATE_LIMIT_PER_MINUTE: '100',
      USER_RATE_LIMIT_PER_MINUTE: '10',
      ...environment,
    },
    { secrets: [...secrets, ...Object.values(keys)] },
  );
  let clients = 0;
  const ask = ({ key, client, headers, ...rest }: KeyedAsk): Promise<Reply> => {
    clients += 1;
    return exchange(service.server.url, {
      ...rest,
      headers: {
        'x-forwarded-for': client ?? `198.18.${clients >> 8}.${clients & 255}`,
        ...(key === undefined ? {} : { authorization: `Bearer ${keys[key]}` }),
        ...headers,
      },
    });
  };
  const askJson = (path: string, body: unknown, key: Scope): Promise<Reply> => {
    const text = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
    return ask({ path, key, headers: { 'content-type': 'application/json' }, body: text });
  };
  return { ...service, ask, askJson };
}

/** The upload of a fixture voice as part of a request. */
export function voiceUpload(userId: string, voice: string, phone?: string): Pick<KeyedAsk, 'headers' | 'body'> {
  const value = readFileSync(new URL(`../fixtures/voices/${voice}.wav`, import.meta.url));
  return form([
    { name: 'user_id', value: userId },
    ...(phone === undefined ? [] : [{ name: 'phone', value: phone }]),
    { name: 'audio', filename: 'a.wav', value },
  ]);
}
