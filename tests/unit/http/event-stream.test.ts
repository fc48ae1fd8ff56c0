import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EventStream } from '../../../src/http/event-stream.js';

/** The part of a server response that the stream uses, with a reader that can stop reading. */
class Response extends Writable {
  headersSent = false;
  status = 0;
  text = '';
  private release: (() => void) | undefined;

  constructor(private readonly reading: boolean) {
    super({ highWaterMark: 64 });
  }

  writeHead(status: number): void {
    this.status = status;
    this.headersSent = true;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    if (this.reading) done();
    else this.release = done;
  }

  read(): void {
    const release = this.release;
    this.release = undefined;
    release?.();
  }
}

function open(reading = true): { res: Response; stream: EventStream } {
  const res = new Response(reading);
  return { res, stream: new EventStream(res as unknown as ServerResponse) };
}

describe('EventStream', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it('sends nothing before the first event, so that errors keep their status', () => {
    const { res, stream } = open();
    vi.advanceTimersByTime(9_999);
    expect(stream.started).toBe(false);
    // Somebody answers with an error instead.
    res.end('answered');
    vi.advanceTimersByTime(60_000);
    stream.progress({ looks: 1 });
    stream.finish('result', {});
    expect(res.headersSent).toBe(false);
    expect(res.text).toBe('answered');
  });

  it('keeps the connection alive with comments until the end', () => {
    const { res, stream } = open();
    vi.advanceTimersByTime(20_000);
    expect(res.status).toBe(200);
    expect(res.text).toBe(': waiting\n\n: waiting\n\n');
    stream.finish('result', { success: true });
    vi.advanceTimersByTime(60_000);
    expect(res.text).toBe(': waiting\n\n: waiting\n\nevent: result\ndata: {"success":true}\n\n');
    expect(vi.getTimerCount()).toBe(0);
  });

  it('keeps every event on one line of data and ends once', () => {
    const { res, stream } = open();
    stream.progress({ text: 'a\nb\r\n\ndata: c' });
    stream.finish('error', { error: 'Busy' });
    stream.finish('result', { success: true });
    stream.progress({ late: true });
    expect(res.text.split('\n\n')).toEqual([
      'event: progress\ndata: {"text":"a\\nb\\r\\n\\ndata: c"}',
      'event: error\ndata: {"error":"Busy"}',
      '',
    ]);
    expect(res.writableEnded).toBe(true);
  });

  it('drops progress, but not the result, for a reader that does not keep up', () => {
    const { res, stream } = open(false);
    for (let looks = 0; looks < 1000; looks++) stream.progress({ looks });
    expect(res.writableLength).toBeLessThan(500);
    stream.finish('result', { success: false });
    for (let i = 0; i < 1000; i++) res.read();
    expect(res.text).toContain('"looks":0');
    expect(res.text).not.toContain('"looks":999');
    expect(res.text).toContain('event: result');
  });

  it('forgets a client that has gone', () => {
    const { res, stream } = open();
    stream.progress({ looks: 1 });
    res.destroy();
    vi.runAllTicks();
    stream.progress({ looks: 2 });
    stream.finish('result', {});
    expect(res.text).not.toContain('"looks":2');
  });
});

describe('EventStream on a real socket', () => {
  it('delivers the first event at once, with the headers of an event stream', async () => {
    let stream: EventStream | undefined;
    const server = createServer((_req, res) => {
      stream = new EventStream(res);
      stream.progress({ looks: 1 });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        get({ host: '127.0.0.1', port }, resolve).on('error', reject);
      });
      expect(response.headers['content-type']).toBe('text/event-stream; charset=utf-8');
      let text = '';
      for await (const chunk of response) {
        text += String(chunk);
        if (text.includes('"looks":1')) stream?.finish('result', { ok: true });
      }
      expect(text).toBe('event: progress\ndata: {"looks":1}\n\nevent: result\ndata: {"ok":true}\n\n');
    } finally {
      server.close();
    }
  });
});
