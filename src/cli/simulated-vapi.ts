/** A whole VAPI call: the listen socket with its audio, the webhooks, the tool calls, and what comes late. */
import { randomUUID } from 'node:crypto';
import { type ControlServer, startControlServer } from '../telephony/simulator/control-server.js';
import { type ListenSimulator, startListenSimulator } from '../telephony/simulator/listen-server.js';
import { type SimulatedReply, SimulatedVapiCall } from '../telephony/simulator/vapi-platform.js';
import type { WireVariant } from '../telephony/simulator/variants.js';
import type { WebhookCredentials, WebhookVariant } from '../telephony/simulator/webhook-variants.js';
import type { Json } from './client.js';
import { CommandError } from './command-error.js';
import {
  asObject,
  type CallAnswer,
  type CallPlan,
  type PlayedCall,
  parsed,
  secondsSince,
  type Tool,
  untilAsked,
} from './simulated-call.js';

export interface VapiPlan extends CallPlan {
  readonly variant: Partial<WireVariant>;
  readonly webhookVariant: Partial<WebhookVariant>;
  readonly credentials: WebhookCredentials;
}

const WEBHOOK_PATH = '/vapi/webhook';
/** Longest wait for a late verdict after the caller has fallen silent. */
const LATE_GRACE_MS = 5_000;
const LATE_PREFIX = 'Late result of verify_caller: ';

/** Plays the call. Throws `CommandError` when the server does not take it. */
export async function playVapiCall(plan: VapiPlan): Promise<PlayedCall> {
  const callId = plan.callId ?? randomUUID();
  const script = { ...plan.audio, variant: { ...plan.variant, speed: plan.speed } };
  const simulator = await startListenSimulator({ call: (id) => (id === callId ? script : undefined) });
  const control = await startControlServer();
  try {
    return await play(plan, { callId, simulator, control });
  } finally {
    await control.close();
    await simulator.close();
  }
}

interface Stage {
  readonly callId: string;
  readonly simulator: ListenSimulator;
  readonly control: ControlServer;
}

async function play(plan: VapiPlan, { callId, simulator, control }: Stage): Promise<PlayedCall> {
  const { client, tell } = plan;
  const startedMs = performance.now();
  const call = new SimulatedVapiCall({
    webhookUrl: client.url + WEBHOOK_PATH,
    callId,
    callerNumber: plan.from,
    listenUrl: simulator.url(callId),
    controlUrl: control.url,
    variant: plan.webhookVariant,
    credentials: plan.credentials,
  });
  tell(`Call ${callId} from ${plan.from}: in progress`);
  await delivered(client.url, call.status('in-progress'));
  await untilAsked(plan);
  const answers: CallAnswer[] = [];
  for (const tool of plan.tools) {
    tell(`Asking ${tool} after ${secondsSince(startedMs).toFixed(1)} s`);
    const answer = await ask(plan, call, tool);
    answers.push(answer);
    plan.onAnswer(answer);
  }
  if (plan.webhookVariant.monitor !== 'none' && simulator.stats(callId).connections === 0) {
    tell(
      'The server did not connect to the listen URL of the call: on this machine it needs ALLOW_PRIVATE_NETWORK=true.',
    );
  }
  if (promisesMore(answers.at(-1))) {
    tell('Waiting for the verdict that follows ...');
    const late = await lateVerdict(plan, control, startedMs);
    if (late) {
      answers.push(late);
      plan.onAnswer(late);
    } else {
      tell('It did not come before the call was over.');
    }
  }
  await delivered(client.url, call.endOfCallReport());
  tell('The call is over.');
  return { callId, answers };
}

async function ask(plan: VapiPlan, call: SimulatedVapiCall, tool: Tool): Promise<CallAnswer> {
  const askedMs = performance.now();
  const reply = await delivered(plan.client.url, call.callTools([{ name: tool, arguments: argumentsOf(plan, tool) }]));
  const seconds = secondsSince(askedMs);
  const body = asObject(reply.body);
  const first = asObject(Array.isArray(body?.results) ? body.results[0] : body);
  const text = first?.result ?? first?.error;
  if (typeof text !== 'string') throw new CommandError('The reply holds no result for the tool call');
  return { tool, seconds, text, answer: parsed(text) };
}

function argumentsOf({ user, threshold, consent }: VapiPlan, tool: Tool): Json {
  if (tool === 'call_status') return {};
  return {
    ...(user === undefined ? {} : { userId: user }),
    ...(tool === 'verify_caller' && threshold !== undefined ? { threshold } : {}),
    ...(tool === 'enroll_caller' && consent ? { consent: true } : {}),
  };
}

/** The reply to the last delivery of an event. */
async function delivered(server: string, replies: Promise<readonly SimulatedReply[]>): Promise<SimulatedReply> {
  const reply = (
    await replies.catch((error: unknown) => {
      const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
      throw new CommandError(`No answer from ${server}${cause}. Is the server running? Start it with "npm start".`);
    })
  ).at(-1);
  if (reply?.status === 200) return reply;
  const body = asObject(reply?.body);
  const said = typeof body?.message === 'string' ? `: ${body.message}` : '';
  const status = reply?.status ?? 0;
  const hint =
    status === 401
      ? '. Give --secret, --bearer or --hmac as VAPI_WEBHOOK_SECRET, VAPI_WEBHOOK_TOKEN or VAPI_WEBHOOK_HMAC_SECRET of the ' +
        'server; with --hmac-variant also the matching VAPI_WEBHOOK_HMAC_* settings there'
      : status === 403
        ? '. Set VAPI_WEBHOOK_SECRET where the server runs'
        : '';
  throw new CommandError(`The server answered the webhook with ${status}${said}${hint}`, body);
}

function promisesMore(answer: CallAnswer | undefined): boolean {
  const json = asObject(answer?.answer);
  return json ? json.verdict_follows === true : (answer?.text.includes('the verdict follows') ?? false);
}

async function lateVerdict(plan: VapiPlan, control: ControlServer, startedMs: number): Promise<CallAnswer | undefined> {
  const { caller, sampleRateHz } = plan.audio;
  const waitedMs = performance.now();
  const overMs = startedMs + (caller.length * 1000) / sampleRateHz / plan.speed;
  const message = control.received[0] ?? (await control.next(Math.max(0, overMs - waitedMs) + LATE_GRACE_MS));
  const body = asObject(message);
  if (!body) return undefined;
  const content = String(asObject(body.message)?.content ?? body.content);
  const answer = body.type === 'say' ? undefined : parsed(content.replace(LATE_PREFIX, ''));
  const seconds = secondsSince(waitedMs);
  return { tool: 'late_verdict', seconds, text: content, answer };
}
