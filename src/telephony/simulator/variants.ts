/**
 * Everything a listen socket has been seen or said to do, as options of the simulator, and one named example of each. All
 * times are audio time: at `speed` 4 they pass four times as fast.
 */
import { type FieldIssue, validationError } from '../../domain/errors.js';
import type { Pacing } from './schedule.js';

export interface WireVariant extends Pacing {
  readonly sampleRateHz: 8_000 | 16_000 | 24_000 | 32_000;
  /** `mono_mixed` carries caller + agent, `mono_caller` the caller only, `stereo` both, interleaved. */
  readonly layout: 'mono_mixed' | 'mono_caller' | 'stereo';
  /** Stereo channel of the caller; the agent has the other. */
  readonly callerChannel: 0 | 1;
  /** The caller's channel carries digital silence although the caller speaks. */
  readonly callerSilent: boolean;
  /** When the format is announced: at once, after `lateStartFrameMs`, or never. */
  readonly startFrame: 'first' | 'late' | 'none';
  readonly lateStartFrameMs: number;
  readonly frameMs: number;
  /** Text frames among the audio: JSON events, text that is no JSON, or none. */
  readonly text: 'none' | 'events' | 'garbage';
  /** Cuts the byte stream at odd places, so that frames split samples and sample pairs. */
  readonly oddBytes: boolean;
  /** How many connections of a call are refused before one is let in, and how. */
  readonly refuseFirst: number;
  readonly refuseWith: 404 | 409 | 425 | 503 | 'reset';
  /** Connections without this bearer token get 401; undefined = open to all. */
  readonly bearerToken: string | undefined;
  /** Cuts the connection without a close frame; undefined = no. */
  readonly abruptCloseAtMs: number | undefined;
  /** Closes with a close frame before the audio ends; undefined = no. */
  readonly closeAtMs: number | undefined;
  /** What follows the last audio: a close frame, nothing on an open connection, or silence until the listener leaves. */
  readonly afterEnd: 'close' | 'stay_open' | 'silence';
}

/** The documented behaviour: 16 kHz stereo in 20 ms frames, caller on channel 0, announced by a start frame. */
export const DEFAULT_VARIANT: WireVariant = {
  sampleRateHz: 16_000,
  layout: 'stereo',
  callerChannel: 0,
  callerSilent: false,
  startFrame: 'first',
  lateStartFrameMs: 500,
  frameMs: 20,
  text: 'none',
  oddBytes: false,
  backlogMs: 0,
  stallAtMs: undefined,
  stallMs: 1_000,
  refuseFirst: 0,
  refuseWith: 404,
  bearerToken: undefined,
  abruptCloseAtMs: undefined,
  closeAtMs: undefined,
  afterEnd: 'close',
  speed: 1,
};

export interface NamedVariant {
  readonly description: string;
  readonly options: Partial<WireVariant>;
}

/** One example of every behaviour, by the name that command lines and tests use. */
export const VARIANTS = {
  documented: { description: 'start frame, 16 kHz stereo, caller on channel 0', options: {} },
  'no-start-frame': { description: '16 kHz stereo that nobody announces', options: { startFrame: 'none' } },
  'late-start-frame': { description: 'the start frame comes half a second late', options: { startFrame: 'late' } },
  'stereo-8k': { description: '8 kHz stereo', options: { sampleRateHz: 8_000 } },
  'stereo-24k': { description: '24 kHz stereo', options: { sampleRateHz: 24_000 } },
  'stereo-32k': { description: '32 kHz stereo', options: { sampleRateHz: 32_000 } },
  'caller-on-channel-1': { description: 'caller on channel 1, agent on channel 0', options: { callerChannel: 1 } },
  'silent-caller': { description: "the caller's channel is silent", options: { callerSilent: true } },
  'mono-mixed': { description: 'caller and agent in one channel', options: { layout: 'mono_mixed' } },
  'mono-caller': { description: 'one channel with the caller only', options: { layout: 'mono_caller' } },
  'mono-8k': { description: '8 kHz mono, caller only', options: { layout: 'mono_caller', sampleRateHz: 8_000 } },
  'mono-24k': { description: '24 kHz mono, caller only', options: { layout: 'mono_caller', sampleRateHz: 24_000 } },
  'mono-32k': { description: '32 kHz mono, caller only', options: { layout: 'mono_caller', sampleRateHz: 32_000 } },
  'json-events': { description: 'transcripts and other JSON among the audio', options: { text: 'events' } },
  'garbage-text': { description: 'text frames that are no JSON', options: { text: 'garbage' } },
  'odd-bytes': { description: 'frames that split samples and sample pairs', options: { oddBytes: true } },
  'tiny-frames': { description: '10 ms frames', options: { frameMs: 10 } },
  'huge-frames': { description: '500 ms frames', options: { frameMs: 500 } },
  backlog: { description: 'two seconds of audio in a burst on connecting', options: { backlogMs: 2_000 } },
  stall: { description: 'no audio for a second, then all of it', options: { stallAtMs: 1_000 } },
  'early-refusal': { description: 'HTTP 404 to the first three connections', options: { refuseFirst: 3 } },
  unavailable: { description: 'HTTP 503 to the first two', options: { refuseFirst: 2, refuseWith: 503 } },
  'connection-reset': { description: 'resets the first two', options: { refuseFirst: 2, refuseWith: 'reset' } },
  'abrupt-close': { description: 'cut off after 1.5 s, no close frame', options: { abruptCloseAtMs: 1_500 } },
  'early-close': { description: 'closed after 1.5 s with a close frame', options: { closeAtMs: 1_500 } },
  'stays-open': { description: 'nothing more, but open, after the audio', options: { afterEnd: 'stay_open' } },
  'silence-after-end': { description: 'silence after the audio', options: { afterEnd: 'silence' } },
} as const satisfies Readonly<Record<string, NamedVariant>>;

export type VariantName = keyof typeof VARIANTS;

/** Defaults filled in and checked. Throws `ValidationError` naming every option that is out of range. */
export function wireVariant(options: Partial<WireVariant>): WireVariant {
  const variant: WireVariant = { ...DEFAULT_VARIANT, ...options };
  const issues: FieldIssue[] = [];
  const check = (path: keyof WireVariant, ok: boolean, message: string) => {
    if (!ok) issues.push({ path, message });
  };
  const time = (path: keyof WireVariant, value: number | undefined) =>
    check(path, value === undefined || (value >= 0 && value <= 3_600_000), 'must be 0 to 3600000 ms');
  check(
    'sampleRateHz',
    [8_000, 16_000, 24_000, 32_000].includes(variant.sampleRateHz),
    'must be 8000, 16000, 24000 or 32000',
  );
  check(
    'layout',
    ['mono_mixed', 'mono_caller', 'stereo'].includes(variant.layout),
    'must be mono_mixed, mono_caller or stereo',
  );
  check('callerChannel', variant.callerChannel === 0 || variant.callerChannel === 1, 'must be 0 or 1');
  check('startFrame', ['first', 'late', 'none'].includes(variant.startFrame), 'must be first, late or none');
  check('frameMs', variant.frameMs >= 5 && variant.frameMs <= 1_000, 'must be 5 to 1000 ms');
  check('text', ['none', 'events', 'garbage'].includes(variant.text), 'must be none, events or garbage');
  check(
    'refuseFirst',
    Number.isInteger(variant.refuseFirst) && variant.refuseFirst >= 0,
    'must be a whole number from 0',
  );
  check(
    'refuseWith',
    [404, 409, 425, 503, 'reset'].includes(variant.refuseWith),
    'must be 404, 409, 425, 503 or reset',
  );
  check(
    'afterEnd',
    ['close', 'stay_open', 'silence'].includes(variant.afterEnd),
    'must be close, stay_open or silence',
  );
  check('speed', variant.speed > 0, 'must be more than 0');
  time('lateStartFrameMs', variant.lateStartFrameMs);
  time('backlogMs', variant.backlogMs);
  time('stallAtMs', variant.stallAtMs);
  time('stallMs', variant.stallMs);
  time('abruptCloseAtMs', variant.abruptCloseAtMs);
  time('closeAtMs', variant.closeAtMs);
  if (issues.length > 0) throw validationError(issues);
  return variant;
}
