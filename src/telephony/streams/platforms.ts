/** The platforms that dial us: one row each. */
import type { StreamPlatform } from '../../domain/calls/calls.js';
import { MediaAdapter } from './media-adapter.js';
import { PLIVO } from './plivo.js';
import type { StreamAdapter } from './stream-events.js';
import { TELNYX } from './telnyx.js';
import { TWILIO } from './twilio.js';
import { VapiTranscriberAdapter } from './vapi-transcriber.js';

export interface StreamEndpoint {
  /** Last segment of the endpoint's path, before the token. */
  readonly segment: string;
  /** Whether upgrades are signed as Twilio signs them. */
  readonly signed: boolean;
  /** Makes the adapter of one connection. */
  readonly adapter: () => StreamAdapter;
}

export const STREAM_ENDPOINTS: Readonly<Record<StreamPlatform, StreamEndpoint>> = {
  twilio: { segment: 'twilio', signed: true, adapter: () => new MediaAdapter(TWILIO) },
  telnyx: { segment: 'telnyx', signed: false, adapter: () => new MediaAdapter(TELNYX) },
  plivo: { segment: 'plivo', signed: false, adapter: () => new MediaAdapter(PLIVO) },
  vapi_transcriber: { segment: 'vapi-transcriber', signed: false, adapter: () => new VapiTranscriberAdapter() },
};

const ROOT = '/api/v1/streams';
const PATH = /^\/api\/v1\/streams\/([a-z-]{1,32})(?:\/([A-Za-z0-9._~-]{1,256}))?\/?$/;

/** A public `http` or `https` address as the `ws` or `wss` one. */
export function webSocketAddress(address: string): string {
  return address.replace(/^http/i, 'ws');
}

/** Where a platform dials; with the token as last segment when there is one. */
export function streamPath(platform: StreamPlatform, token?: string): string {
  const path = `${ROOT}/${STREAM_ENDPOINTS[platform].segment}`;
  return token === undefined ? path : `${path}/${token}`;
}

export type StreamPath =
  /** No business of the streams. */
  | { readonly kind: 'elsewhere' }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'endpoint'; readonly platform: StreamPlatform; readonly token: string | undefined };

/** What the target of a request (path and query) is. */
export function readStreamPath(target: string): StreamPath {
  const path = target.split('?', 1)[0]!;
  if (!path.startsWith(`${ROOT}/`)) return { kind: 'elsewhere' };
  const match = PATH.exec(path);
  const platforms = Object.keys(STREAM_ENDPOINTS) as StreamPlatform[];
  const platform = platforms.find((name) => STREAM_ENDPOINTS[name].segment === match?.[1]);
  return platform === undefined ? { kind: 'unknown' } : { kind: 'endpoint', platform, token: match?.[2] };
}
