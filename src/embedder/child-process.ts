/**
 * One inference child as the server sees it: forked, loaded, given one request at a time, and gone exactly once. A child
 * that misbehaves in any way (hangs, closes its channel, cannot be written to) is killed, so that all faults look alike.
 */
import { type ChildProcess, fork } from 'node:child_process';
import type { ChildMessage, LoadRequest, RunRequest } from './inference-protocol.js';

export interface ChildEvents {
  onReady(): void;
  onAnswer(answer: Extract<ChildMessage, { kind: 'done' | 'fault' }>): void;
  onGone(reason: string): void;
}

export interface ChildOptions {
  readonly module: URL;
  readonly load: LoadRequest;
  readonly startTimeoutMs: number;
}

export class InferenceChildProcess {
  private readonly process: ChildProcess | undefined;
  private readonly startTimer: NodeJS.Timeout | undefined;
  private reason: string | undefined;
  private gone = false;
  private released = false;

  constructor(
    options: ChildOptions,
    private readonly events: ChildEvents,
  ) {
    let child: ChildProcess;
    try {
      // No environment but this: the child needs none of the service's secrets, and onnxruntime would report its use to
      // its maker and leave files in the temporary folder. No inherited flags: it needs no loader or tracer.
      child = fork(options.module, [], {
        serialization: 'advanced',
        execArgv: [],
        env: { ORT_DISABLE_TELEMETRY: '1' },
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      });
    } catch {
      setImmediate(() => this.leave('the process cannot be started'));
      return;
    }
    this.process = child;
    child.on('message', (message) => this.receive(message as ChildMessage));
    child.on('error', () => {
      if (child.pid === undefined) this.leave('the process cannot be started');
      else this.kill('the process cannot be reached');
    });
    child.on('disconnect', () => {
      if (!this.released) this.kill('the channel was closed');
    });
    child.on('exit', (code, signal) => this.leave(signal ? `signal ${signal}` : `exit code ${code}`));
    this.startTimer = setTimeout(() => this.kill('not ready in time'), options.startTimeoutMs);
    this.send(options.load);
  }

  get pid(): number | undefined {
    return this.process?.pid;
  }

  send(message: LoadRequest | RunRequest): void {
    this.process?.send(message, (error) => {
      if (error) this.kill('the process cannot be written to');
    });
  }

  /** Asks the child to exit. Nothing is heard of what it is doing any more. */
  release(): void {
    this.released = true;
    if (this.process?.connected) this.process.disconnect();
  }

  /** Ends the process at once; `onGone` follows with this reason. */
  kill(reason: string): void {
    this.reason ??= reason;
    this.process?.kill('SIGKILL');
  }

  private receive(message: ChildMessage): void {
    if (this.gone) return;
    if (message.kind === 'ready') {
      clearTimeout(this.startTimer);
      this.events.onReady();
    } else if (message.kind === 'failed') {
      this.kill(message.reason);
    } else {
      this.events.onAnswer(message);
    }
  }

  private leave(reason: string): void {
    if (this.gone) return;
    this.gone = true;
    clearTimeout(this.startTimer);
    this.events.onGone(this.reason ?? reason);
  }
}
