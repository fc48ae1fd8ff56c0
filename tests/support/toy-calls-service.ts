/** Call services over one store, each standing for a process of its own, with toy models and calls that a test plays. */
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { CallsConfig } from '../../src/config/config.js';
import { CallService, type CallServiceDeps } from '../../src/domain/calls/call-service.js';
import type { CallFacts, CallVerificationQuestion } from '../../src/domain/calls/calls.js';
import type { AuthStore } from '../../src/domain/ports/auth-store.js';
import type { CallStore } from '../../src/domain/ports/call-store.js';
import { TimerWheel } from '../../src/domain/timing/timer-wheel.js';
import { ToyCall } from './toy-calls.js';
import { settled } from './toy-models.js';
import { ToyService } from './toy-service.js';

const CALLS: CallsConfig = {
  maxSessions: 4,
  maxCallMs: 3_600_000,
  leaseMs: 60_000,
  streamTokenMs: 60_000,
  enrollNewNumbers: true,
  acceptFreshMs: 60_000,
};

export interface ToyProcessOptions {
  readonly calls?: Partial<CallsConfig>;
  readonly parts?: Partial<CallServiceDeps>;
}

export class ToyProcess {
  readonly toys: ToyService;
  readonly service: CallService;
  /** Calls dialled so far, newest last. */
  readonly dialled: ToyCall[] = [];
  /** What the next dials find; without one a call that connects at once. */
  readonly next: ToyCall[] = [];
  /** Told when this process rings at the others. */
  onRing: () => void = () => undefined;
  private rung: () => void = () => undefined;

  constructor(store: AuthStore, callStore: CallStore, options: ToyProcessOptions = {}) {
    this.toys = new ToyService(store);
    const { embedder, detector, enrollment, metrics, shutdown, logger } = this.toys;
    this.service = new CallService({
      config: this.toys.verificationConfig,
      callsConfig: { ...CALLS, ...options.calls },
      store,
      callStore,
      sources: {
        vapiListen: () => {
          const call = this.next.shift() ?? new ToyCall();
          return {
            open: (sink, open) => {
              const dialled = call.sink ? (this.next.shift() ?? new ToyCall()) : call;
              this.dialled.push(dialled);
              return dialled.open(sink, open);
            },
          };
        },
      },
      embedder,
      detector,
      scorer: this.toys.scorer,
      enrollment,
      doorbell: {
        ring: () => this.onRing(),
        onRing: (listener) => {
          this.rung = listener;
        },
      },
      timers: new TimerWheel({ resolutionMs: 5 }),
      metrics,
      logger,
      shutdown: shutdown.signal,
      ...options.parts,
    });
  }

  get call(): ToyCall {
    const call = this.dialled.at(-1);
    if (!call) throw new Error('no call was dialled');
    return call;
  }

  ringHere(): void {
    this.rung();
  }
}

/** Two processes that ring at each other. */
export function neighbours(one: ToyProcess, two: ToyProcess): void {
  one.onRing = () => two.ringHere();
  two.onRing = () => one.ringHere();
}

export function factsOf(changes: Partial<CallFacts> = {}): CallFacts {
  return {
    platform: 'vapi',
    callId: `toy-call-${randomUUID()}`,
    callerNumber: undefined,
    listenUrl: 'wss://calls.example/secret-call/listen',
    correlationId: `call-${randomUUID()}`,
    ...changes,
  };
}

/** The newest call of a process, once it has dialled so many and can be played into. */
export async function dialled(process: ToyProcess, count = 1): Promise<ToyCall> {
  await expect.poll(() => process.dialled.length).toBe(count);
  await settled();
  return process.call;
}

/** A call that has begun and been dialled. */
export async function openCall(
  process: ToyProcess,
  facts: Partial<CallFacts> = {},
): Promise<{ readonly call: CallFacts; readonly audio: ToyCall }> {
  const call = factsOf(facts);
  const before = process.dialled.length;
  await process.service.begin(call);
  return { call, audio: await dialled(process, before + 1) };
}

export function questionOf(call: CallFacts, changes: Partial<CallVerificationQuestion> = {}): CallVerificationQuestion {
  return {
    call,
    requestId: 'tool-1',
    deadlineMs: 20_000,
    signal: new AbortController().signal,
    userId: undefined,
    threshold: undefined,
    ...changes,
  };
}
