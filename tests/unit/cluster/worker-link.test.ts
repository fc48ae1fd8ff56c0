/** The worker's end of the channel: rings, the common metrics page, and what does not belong there. */
import { describe, expect, it, vi } from 'vitest';
import { parseWorkerMessage, type WorkerMessage } from '../../../src/cluster/messages.js';
import { PrimaryLink } from '../../../src/cluster/worker-link.js';
import { createLogger } from '../../../src/observability/logger.js';
import { eventually } from '../../support/eventually.js';

function link(onDrain: () => void = () => undefined) {
  const sent: WorkerMessage[] = [];
  const logger = createLogger('silent');
  const warned = vi.spyOn(logger, 'warn');
  const failed = vi.spyOn(logger, 'error');
  const options = { id: 3, databaseTimeoutMs: 1000, logger, send: (message: WorkerMessage) => void sent.push(message) };
  return { link: new PrimaryLink(options, onDrain), sent, warned, failed };
}

describe('worker link', () => {
  it('hears the rings of others for its topics only', () => {
    const { link: worker, sent } = link();
    const heard: string[] = [];
    worker.onRing('call', (payload) => heard.push(`a:${payload}`));
    worker.onRing('call', (payload) => heard.push(`b:${payload}`));
    worker.receive({ kind: 'ring', topic: 'call', payload: '1' });
    worker.receive({ kind: 'ring', topic: 'other', payload: '2' });
    expect(heard).toEqual(['a:1', 'b:1']);
    worker.ring('call', '3');
    expect(sent).toEqual([{ kind: 'ring', topic: 'call', payload: '3' }]);
  });

  it('gets the page of all processes from the primary, or says that it did not come', async () => {
    const { link: worker, sent } = link();
    const page = worker.metricsPage();
    expect(sent).toEqual([{ kind: 'page', id: 1 }]);
    worker.receive({ kind: 'page', id: 1, page: 'all of them' });
    expect(await page).toBe('all of them');
    const unanswered = worker.metricsPage();
    worker.lose();
    await expect(unanswered).rejects.toMatchObject({ code: 'Timeout' });
  });

  it('reports its own metrics in a form that passes the door', async () => {
    const { link: worker, sent } = link();
    worker.metrics.lockouts.inc(4);
    worker.metrics.score.observe({ decision: 'accept' }, 0.9);
    worker.receive({ kind: 'read', id: 5 });
    await eventually(() => expect(sent).toHaveLength(1));
    expect(parseWorkerMessage(sent[0])).toMatchObject({ kind: 'reading', id: 5 });
    expect(JSON.stringify(sent)).toContain('voice_auth_lockouts_total');
  });

  it('lives on when its own metrics cannot be read', async () => {
    const { link: worker, sent, failed } = link();
    vi.spyOn(worker.metrics.registry, 'getMetricsAsJSON').mockRejectedValueOnce(new Error('no reading'));
    worker.receive({ kind: 'read', id: 5 });
    await eventually(() => expect(failed).toHaveBeenCalledOnce());
    expect(sent).toEqual([]);
  });

  it('knows how many workers there are, and when to end', () => {
    const drained = vi.fn();
    const { link: worker } = link(drained);
    worker.receive({ kind: 'workers', configured: 4, ready: 3 });
    expect(worker.workers()).toEqual({ configured: 4, ready: 3 });
    worker.receive({ kind: 'drain' });
    expect(drained).toHaveBeenCalledOnce();
  });

  it.each([
    [undefined],
    ['drain'],
    [{ kind: 'unknown' }],
    [{ kind: 'rows', id: 0, rows: [] }],
    [{ kind: 'rows', id: 1, rows: [1] }],
    [{ kind: 'drain', surprise: true }],
    [{ kind: 'ring', topic: '', payload: '' }],
  ])('ignores what the primary never sends: %j', (message) => {
    const { link: worker, warned } = link();
    worker.receive(message);
    expect(warned).toHaveBeenCalledOnce();
  });
});

describe('messages of workers', () => {
  const metric = { name: 'm', type: 'gauge', aggregator: 'sum', help: '', values: [{ value: Number.NaN, labels: {} }] };

  it('are let in as they are meant to be', () => {
    for (const message of [
      { kind: 'ready', url: 'http://127.0.0.1:1' },
      { kind: 'transaction', id: 1, statements: [{ sql: 'select 1' }, { sql: 'select $1', params: [null] }] },
      { kind: 'reading', id: 1, reading: [metric] },
    ]) {
      expect(parseWorkerMessage(message)).toEqual(message);
    }
  });

  it.each([
    [{ kind: 'transaction', id: 1, statements: [{ sql: 1 }] }],
    [{ kind: 'transaction', id: 1, statements: [{ sql: 'x', params: [{}] }] }],
    [{ kind: 'reading', id: 1, reading: [{ ...metric, aggregator: 'mode' }] }],
    [{ kind: 'reading', id: 1, reading: [{ ...metric, values: [{ value: '1', labels: {} }] }] }],
    [{ kind: 'ring', topic: 'x', payload: 'y'.repeat(4097) }],
  ])('are refused otherwise: %j', (message) => {
    expect(parseWorkerMessage(message)).toBeUndefined();
  });
});
