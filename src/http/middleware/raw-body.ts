/**
 * Reads bodies that are handed over as they are. Some come from strangers, since a signature can only be checked when the body
 * is there, so what all of them together may hold while they come is bounded, and what those of one address may; they have to
 * come soon. Who has shown by headers where they come from has memory of their own; a stranger's body is in it from when it is
 * all there, for the check of its signature, and while a genuine one is worked on.
 */
import type { Request, RequestHandler } from 'express';
import { VoiceAuthError } from '../../domain/errors.js';
import type { TimerWheel } from '../../domain/timing/timer-wheel.js';
import { addressOf } from '../client-address.js';
import { stateOf } from '../request-state.js';
import type { AuthenticationFailures } from './authentication.js';
import { readBody } from './read-body.js';
import { type RoomAnswer, SharedRoom } from './shared-room.js';

/** Of bodies being received or worked on; so much for strangers, and so much for the others. */
const MEMORY_BYTES = 64 * 1024 * 1024;
/** Of the memory for strangers, how much one address may hold. */
const ADDRESS_SHARE = 1 / 4;
/** From the headers of a stranger to the end of the body. */
const UNPROVEN_BODY_MS = 10_000;

const BUSY: Readonly<Record<Exclude<RoomAnswer, 'taken'>, string>> = {
  full: 'Too much is being received at once; try again',
  share_used_up: 'Too much is being received from this address at once; try again',
};

export interface RawBodyOptions {
  readonly failures: AuthenticationFailures;
  readonly timers: TimerWheel;
  readonly memoryBytes?: number;
}

/** Makes, for each limit, the middleware that sets the request's upload to the body. They share their memory. */
export function rawBody(options: RawBodyOptions): (maxBytes: number) => RequestHandler {
  const total = options.memoryBytes ?? MEMORY_BYTES;
  const ofStrangers = new SharedRoom({ total, share: Math.ceil(total * ADDRESS_SHARE) });
  const ofOthers = new SharedRoom({ total, share: total });
  return (maxBytes) => async (req, res, next) => {
    const state = stateOf(req);
    const address = addressOf(req);
    let room = state.unproven ? ofStrangers : ofOthers;
    let own = 0;
    let closed = false;
    const take = (length: number) => {
      const answer = room.take(address, length);
      if (answer !== 'taken') throw new VoiceAuthError('Busy', BUSY[answer], { retryAfterSeconds: 1 });
      own += length;
    };
    const giveBack = () => {
      room.giveBack(address, own);
      own = 0;
    };
    res.once('close', () => {
      closed = true;
      giveBack();
    });
    const onBytes = (length: number) => {
      if (!closed) take(length);
    };
    try {
      state.upload = state.unproven
        ? await readUnproven(req, maxBytes, { ...options, address, onBytes })
        : await readBody(req, maxBytes, { onBytes });
    } catch (error) {
      giveBack();
      throw error;
    }
    if (state.unproven && !closed) {
      // What is all there is judged at once, and a genuine one may be worked on for long: that is none of the strangers' room.
      const length = own;
      giveBack();
      room = ofOthers;
      take(length);
    }
    next();
  };
}

interface UnprovenOptions extends RawBodyOptions {
  readonly address: string;
  readonly onBytes: (length: number) => void;
}

/** A body that does not come to its end was never meant to show anything: it fails like one with a wrong signature. */
async function readUnproven(
  req: Request,
  maxBytes: number,
  { failures, timers, address, onBytes }: UnprovenOptions,
): Promise<Buffer> {
  const late = new AbortController();
  const timer = timers.schedule(UNPROVEN_BODY_MS, () =>
    late.abort(failures.unfinished(address, 'The signed body did not come in time')),
  );
  try {
    return await readBody(req, maxBytes, { onBytes, signal: late.signal });
  } catch (error) {
    const brokenOff = error instanceof VoiceAuthError && error.code === 'ValidationError';
    throw brokenOff ? failures.unfinished(address, error.message) : error;
  } finally {
    timers.cancel(timer);
  }
}
