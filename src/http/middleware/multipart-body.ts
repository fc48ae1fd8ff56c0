/**
 * Reads multipart uploads into memory: one file named `audio` and a few short text fields. What all uploads together may
 * hold is bounded, and what those of one key may; a body that is too long is answered at once instead of being read to its end,
 * and one that stands still is given up.
 */
import type { Request, RequestHandler } from 'express';
import multer from 'multer';
import { VoiceAuthError, validationError } from '../../domain/errors.js';
import type { ScheduledTimer, TimerWheel } from '../../domain/timing/timer-wheel.js';
import { stateOf } from '../request-state.js';
import { announcedBytes, mediaTypeOf } from './body-headers.js';
import { type RoomAnswer, SharedRoom } from './shared-room.js';

/** Memory for uploads being received or worked on, all requests together. */
const UPLOAD_MEMORY_BYTES = 256 * 1024 * 1024;
const MIN_UPLOADS = 2;
/** Of the uploads at once, how many may be those of one key; one always may. */
const KEY_SHARE = 1 / 4;
/** Without a single byte. */
const STALLED_MS = 10_000;
/** For part headers, boundaries and text fields. */
const ENVELOPE_BYTES = 64 * 1024;
const MAX_FIELDS = 8;
const MAX_FIELD_BYTES = 1024;
/** Every piece of a chunked body costs memory and time however short it is: more and shorter ones are meant badly. */
const FREE_PIECES = 1024;
const MIN_MEAN_PIECE_BYTES = 64;

/** The field of a form that holds the recording. */
export const FILE_FIELD = 'audio';

const BUSY: Readonly<Record<Exclude<RoomAnswer, 'taken'>, string>> = {
  full: 'Too many uploads at once; try again',
  share_used_up: 'Too many uploads with this key at once; try again',
};

export interface MultipartBodyOptions {
  readonly maxFileBytes: number;
  readonly timers: TimerWheel;
}

/**
 * Sets `req.body` to the text fields and the request's upload to the file, for who has shown a key. Share one instance: it
 * counts uploads.
 */
export function multipartBody({ maxFileBytes, timers }: MultipartBodyOptions): RequestHandler {
  const maxUploads = Math.max(MIN_UPLOADS, Math.floor(UPLOAD_MEMORY_BYTES / maxFileBytes));
  const places = new SharedRoom({ total: maxUploads, share: Math.ceil(maxUploads * KEY_SHARE) });
  const parse = multer({
    storage: multer.memoryStorage(),
    limits: {
      fileSize: maxFileBytes,
      files: 1,
      fields: MAX_FIELDS,
      parts: MAX_FIELDS + 2,
      fieldSize: MAX_FIELD_BYTES,
      fieldNameSize: 64,
      fieldNestingDepth: 0,
      headerPairs: 32,
    },
  }).single(FILE_FIELD);

  return (req, res, next) => {
    if (mediaTypeOf(req).type !== 'multipart/form-data') {
      throw new VoiceAuthError('UnsupportedMediaType', 'Send the body as multipart/form-data');
    }
    const maxBytes = maxFileBytes + ENVELOPE_BYTES;
    if (announcedBytes(req) > maxBytes) throw tooLarge(maxFileBytes);
    const key = stateOf(req).actor ?? '';
    const answer = places.take(key, 1);
    if (answer !== 'taken') throw new VoiceAuthError('Busy', BUSY[answer], { retryAfterSeconds: 1 });
    res.once('close', () => {
      timers.cancel(stall);
      places.giveBack(key, 1);
    });

    let settled = false;
    let stall: ScheduledTimer | undefined;
    const settle = (error?: VoiceAuthError) => {
      if (settled) return;
      settled = true;
      timers.cancel(stall);
      next(error);
    };
    const giveUp = (error: VoiceAuthError) => {
      req.unpipe();
      req.resume();
      settle(error);
    };
    const awaitMore = () => {
      timers.cancel(stall);
      stall = timers.schedule(STALLED_MS, () => giveUp(stoodStill()));
    };
    awaitMore();
    let received = 0;
    let pieces = 0;
    req.on('data', (chunk: Buffer) => {
      received += chunk.length;
      pieces += 1;
      if (settled) return;
      awaitMore();
      if (received > maxBytes) giveUp(tooLarge(maxFileBytes));
      else if (pieces > FREE_PIECES + received / MIN_MEAN_PIECE_BYTES) {
        giveUp(validationError([{ path: '', message: 'the body comes in too many tiny pieces' }]));
      }
    });
    parse(req, res, (error: unknown) => settle(error === undefined ? takeFile(req) : uploadError(error, maxFileBytes)));
  };
}

function takeFile(req: Request): VoiceAuthError | undefined {
  if (!req.file || req.file.size === 0) {
    return validationError([{ path: FILE_FIELD, message: 'a file part that is not empty is required' }]);
  }
  stateOf(req).upload = req.file.buffer;
  return undefined;
}

/** The parser's messages are not passed on: some quote field or file names. */
function uploadError(error: unknown, maxFileBytes: number): VoiceAuthError {
  if (!(error instanceof multer.MulterError)) {
    return validationError([{ path: '', message: 'the body is not valid multipart/form-data' }]);
  }
  switch (error.code) {
    case 'LIMIT_FILE_SIZE':
      return tooLarge(maxFileBytes);
    case 'LIMIT_PART_COUNT':
    case 'LIMIT_FIELD_COUNT':
    case 'LIMIT_FIELD_KEY':
    case 'LIMIT_FIELD_VALUE':
      return new VoiceAuthError('PayloadTooLarge', 'Too many or too long text fields');
    case 'LIMIT_FILE_COUNT':
    case 'LIMIT_UNEXPECTED_FILE':
      return validationError([{ path: FILE_FIELD, message: 'send exactly one file, in this field' }]);
    default:
      return validationError([{ path: '', message: 'the body has a part that is not understood' }]);
  }
}

function stoodStill(): VoiceAuthError {
  return validationError([{ path: '', message: `the body stood still for ${STALLED_MS / 1000} s` }]);
}

function tooLarge(maxFileBytes: number): VoiceAuthError {
  return new VoiceAuthError('PayloadTooLarge', `A recording may have ${maxFileBytes} bytes at most`);
}
