/** A call of a platform that dials us: the expected stream, its audio, and the API requests about it. */
import type { StreamPlatform } from '../domain/calls/calls.js';
import { type StreamCall, type StreamCallEnd, startStreamCall } from '../telephony/simulator/stream-caller.js';
import type { StreamVariant } from '../telephony/simulator/stream-variants.js';
import type { Json } from './client.js';
import { CommandError } from './command-error.js';
import {
  type CallAnswer,
  type CallPlan,
  describeCall,
  type PlayedCall,
  secondsSince,
  type Tool,
  untilAsked,
} from './simulated-call.js';
import { describeResult } from './verify.js';

export interface StreamPlan extends CallPlan {
  readonly platform: StreamPlatform;
  readonly variant: Partial<StreamVariant>;
  /** Signs as Twilio does. */
  readonly authToken: string | undefined;
}

const REFUSALS: Readonly<Record<number, string>> = {
  401: 'the signature is missing: give --auth-token as TWILIO_AUTH_TOKEN of the server',
  403: 'the signature is wrong, or the server has no TWILIO_AUTH_TOKEN: compare it with --auth-token, and look at PUBLIC_URL',
  404: 'there is no such endpoint',
  503: 'the server is busy or shutting down',
};
const CLOSE_CODES: Readonly<Record<number, string>> = {
  1002: 'the start message or the audio before it was not understood',
  1008: 'the token was not accepted',
  1013: 'the server is busy',
};

/** Plays the call. Throws `CommandError` when the server does not take it. */
export async function playStreamCall(plan: StreamPlan): Promise<PlayedCall> {
  const { client, platform, tell } = plan;
  if (plan.user === undefined && plan.tools.some((tool) => tool !== 'call_status')) {
    throw new CommandError(`Over ${platform}, verify_caller and enroll_caller need --user`);
  }
  // Only who is enrolled already can be announced.
  const announced = plan.tools.includes('enroll_caller') ? undefined : plan.user;
  const ticket = await client.post('/api/v1/streams', {
    platform,
    ...(plan.callId ? { callId: plan.callId } : {}),
    ...(announced === undefined ? { phone: plan.from } : { userId: announced }),
  });
  const callId = String(ticket.call_id);
  tell(`Expected: the platform is to dial ${String(ticket.url).replace(String(ticket.token), '<token>')}`);
  const call = startStreamCall({
    platform,
    serviceUrl: client.url,
    token: String(ticket.token),
    audio: plan.audio,
    variant: { ...plan.variant, speed: plan.speed },
    // Twilio signs the URL it was given, whatever address it leads to.
    ...(plan.authToken
      ? { twilio: { authToken: plan.authToken, publicUrl: new URL(String(ticket.url)).origin.replace(/^ws/, 'http') } }
      : {}),
  });
  try {
    await Promise.race([untilAsked(plan), refusal(call)]);
    const answers: CallAnswer[] = [];
    for (const tool of plan.tools) {
      tell(`Asking ${tool} after ${(plan.askAfterMs / 1000).toFixed(1)} s of the call ${callId}`);
      const answer = await Promise.race([ask(plan, callId, tool), refusal(call)]);
      answers.push(answer);
      plan.onAnswer(answer);
    }
    return { callId, answers };
  } finally {
    call.hangUp();
    await call.ended;
    tell(`The call is over, after ${call.audioSent} pieces of audio.`);
  }
}

async function ask(plan: StreamPlan, id: string, tool: Tool): Promise<CallAnswer> {
  const { client, platform, user } = plan;
  const askedMs = performance.now();
  const answered = (answer: Json, text: string) => ({
    tool,
    seconds: secondsSince(askedMs),
    text,
    answer,
  });
  const call = { platform, id };
  if (tool === 'call_status') {
    const status = await client.get(`/api/v1/calls/${platform}/${encodeURIComponent(id)}`);
    return answered(status, describeCall(status));
  }
  if (tool === 'enroll_caller') {
    if (!plan.consent)
      throw new CommandError('enroll_caller needs --consent: nobody is enrolled without having agreed');
    const consentReference = `${platform}:${id}`;
    const enrolled = await client.post('/api/v1/enroll-user', {
      userId: user,
      phone: plan.from,
      call,
      consentReference,
    });
    const { samples, net_speech_seconds } = enrolled;
    return answered(
      enrolled,
      `enrolled: ${samples} sample(s), ${Number(net_speech_seconds).toFixed(1)} s of speech in this one`,
    );
  }
  const threshold = plan.threshold === undefined ? {} : { threshold: plan.threshold };
  const verified = await client.post('/api/v1/verify-password', { userId: user, call, ...threshold });
  return answered(verified, describeResult(verified));
}

/** Rejects when the server does not take the stream; never resolves. A call that simply ends is no reason. */
async function refusal(call: StreamCall): Promise<never> {
  const end: StreamCallEnd = await call.ended;
  if (end.kind === 'unreachable') throw new CommandError('The server cannot be reached by WebSocket');
  if (end.kind === 'refused') {
    throw new CommandError(
      `The server refused the stream with ${end.status}: ${REFUSALS[end.status] ?? 'see its log'}`,
    );
  }
  if (end.code in CLOSE_CODES) {
    throw new CommandError(`The server closed the stream with ${end.code}: ${CLOSE_CODES[end.code]}`);
  }
  return new Promise(() => undefined);
}
