/** What all simulated calls of the command line have in common: what is played, what is asked, and how an answer reads. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CallAudio } from '../telephony/simulator/wire-audio.js';
import type { ApiClient, Json } from './client.js';

/** The tools of an agent. On platforms without tools, the API requests that stand for them. */
export const TOOLS = ['verify_caller', 'enroll_caller', 'call_status'] as const;
export type Tool = (typeof TOOLS)[number];

export interface CallPlan {
  readonly client: ApiClient;
  readonly callId: string | undefined;
  readonly audio: CallAudio;
  /** 2 = twice as fast as real time. */
  readonly speed: number;
  /** Called one after the other. */
  readonly tools: readonly Tool[];
  /** Into the call, in its own time. */
  readonly askAfterMs: number;
  readonly user: string | undefined;
  /** E.164. */
  readonly from: string;
  readonly threshold: number | undefined;
  readonly consent: boolean;
  /** Says what happens, for people. */
  readonly tell: (text: string) => void;
  /** Gets each answer as it comes. */
  readonly onAnswer: (answer: CallAnswer) => void;
}

export interface CallAnswer {
  readonly tool: Tool | 'late_verdict';
  readonly seconds: number;
  /** For people. */
  readonly text: string;
  /** For machines: what came, parsed where it was JSON; undefined for what was said to the caller. */
  readonly answer: unknown;
}

export interface PlayedCall {
  readonly callId: string;
  readonly answers: readonly CallAnswer[];
}

/** What the first word of an answer means for the exit code; everything else is an error. */
const EXIT_CODES: Readonly<Record<string, number>> = {
  verified: 0,
  accept: 0,
  enrolled: 0,
  connecting: 0,
  listening: 0,
  ended: 0,
  lost: 0,
  not_verified: 2,
  locked_out: 2,
  reject: 2,
  inconclusive: 3,
  unknown_caller: 3,
  ambiguous_caller: 3,
  consent_required: 3,
  not_enrolled: 3,
  unknown_call: 3,
};

/** 0, 2 or 3 as `verify` has them, of a result in text or JSON; 1 for errors and anything else. */
export function exitCodeOf({ answer }: Pick<CallAnswer, 'answer'>): number {
  const json = asObject(answer);
  const word = json ? (json.decision ?? json.status ?? json.state) : /^\w+/.exec(String(answer))?.[0];
  return EXIT_CODES[String(word)] ?? 1;
}

/** JSON as its value, any other text as it is. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

export function asObject(value: unknown): Json | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
}

/** Resolves when the call has gone on for so long. */
export async function untilAsked({ askAfterMs, speed }: CallPlan): Promise<void> {
  await sleep(askAfterMs / speed);
}

/** To the millisecond. */
export function secondsSince(startMs: number): number {
  return Math.round(performance.now() - startMs) / 1000;
}

/** How a call stands, in one line. */
export function describeCall(status: Json): string {
  const claimed = status.claimed === true ? 'the claimed person is known' : 'nobody is claimed yet';
  return (
    `${status.state}: ${Number(status.net_speech_seconds).toFixed(1)} s of the caller's speech heard, ` +
    `${status.looks} comparison(s) made, ${claimed}`
  );
}
