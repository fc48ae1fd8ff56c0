/** Configuration of outgoing connections for tests: the strict defaults of the service, or overrides. */
import type { OutboundConfig } from '../../src/config/config.js';

export function outboundConfig(overrides: Partial<OutboundConfig> = {}): OutboundConfig {
  return {
    listenHosts: ['*.vapi.ai'],
    audioHosts: [],
    controlHosts: [],
    allowPrivateNetwork: false,
    downloadTimeoutMs: 10_000,
    maxDownloadBytes: 1_000_000,
    ...overrides,
  };
}
