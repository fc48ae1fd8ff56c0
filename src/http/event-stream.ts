/**
 * Server-sent events for live verifications: `progress` while listening, then one `result` or `error`. The response starts
 * with the first event, so that an error before it keeps its HTTP status. Progress is dropped, never queued, when the
 * client reads too slowly.
 */
import type { ServerResponse } from 'node:http';

const HEARTBEAT_MS = 10_000;

export class EventStream {
  private readonly heartbeat: NodeJS.Timeout;
  private ended = false;

  /** Sends nothing yet; the first comment goes out after `heartbeatMs` without an event. */
  constructor(
    private readonly res: ServerResponse,
    options: { readonly heartbeatMs?: number } = {},
  ) {
    this.heartbeat = setInterval(() => this.write(': waiting\n\n'), options.heartbeatMs ?? HEARTBEAT_MS);
    this.heartbeat.unref();
    res.once('close', () => this.stop());
  }

  /** Whether the status line has been sent. */
  get started(): boolean {
    return this.res.headersSent;
  }

  /** Sends a `progress` event, or drops it when earlier ones are still unsent. */
  progress(data: unknown): void {
    if (this.started && this.res.writableNeedDrain) return;
    this.write(frame('progress', data));
  }

  /** Sends the last event and ends the response. */
  finish(event: 'result' | 'error', data: unknown): void {
    if (this.ended) return;
    this.write(frame(event, data));
    this.stop();
    this.res.end();
  }

  private stop(): void {
    this.ended = true;
    clearInterval(this.heartbeat);
  }

  private write(text: string): void {
    // Somebody else may have answered, or the client may have left.
    if (this.ended || this.res.writableEnded || this.res.destroyed) return;
    if (!this.started) {
      this.res.writeHead(200, {
        'Content-Type': 'text/event-stream; charset=utf-8',
        // Reverse proxies (nginx and its kin) would otherwise hold events back.
        'X-Accel-Buffering': 'no',
      });
    }
    this.res.write(text);
  }
}

/** JSON has no raw line breaks, so one `data:` line always is enough. */
function frame(event: string, data: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
