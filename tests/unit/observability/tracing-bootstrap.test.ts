import { trace } from '@opentelemetry/api';
import { describe, expect, it } from 'vitest';
import { withSpan } from '../../../src/observability/tracing.js';
import { startTracing } from '../../../src/observability/tracing-bootstrap.js';
import { startTraceCollector } from '../../support/trace-collector.js';

describe('startTracing', () => {
  it('sends spans to the endpoint, and nothing about the machine or the command line', async () => {
    const collector = await startTraceCollector();
    const stop = await startTracing({ endpoint: `${collector.endpoint}/`, serviceName: 'voice-auth-test' });
    await withSpan('verification', {}, async () => undefined);
    await stop(5000);
    const text = collector.text();
    expect(text).toContain('verification');
    expect(text).toContain('voice-auth-test');
    expect(text).not.toMatch(/process\.(command|owner|executable)|host\.(id|name)/);
    expect(text).not.toContain(process.cwd());
    await collector.close();
    trace.disable();
  });

  it('stops in time when nobody takes the spans', async () => {
    const stop = await startTracing({ endpoint: 'http://127.0.0.1:9/v1/traces', serviceName: 'voice-auth-test' });
    trace.getTracer('test').startSpan('verification').end();
    await stop(50);
    trace.disable();
  });
});
