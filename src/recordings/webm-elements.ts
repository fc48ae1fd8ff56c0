/**
 * Reader for the part of WebM / Matroska (RFC 8794, RFC 9559) that holds audio packets. It walks the elements flat, into
 * every parent that matters, so parents of unknown length (live recordings by browsers) need no special care, and every
 * step moves forward, whatever sizes the bytes claim.
 */

export type WebmItem =
  | { readonly kind: 'track'; readonly track: WebmTrack }
  /** One frame of a track, as a view of the input; `laced` = several frames packed together. */
  | { readonly kind: 'block'; readonly trackNumber: number; readonly laced: boolean; readonly payload: Uint8Array }
  /** Time at the end of the block before that is padding, in ns. */
  | { readonly kind: 'padding'; readonly durationNs: number };

export interface WebmTrack {
  readonly number: number;
  readonly audio: boolean;
  readonly codecId: string;
  readonly codecPrivate: Uint8Array | undefined;
}

const ID = {
  ebml: 0x1a45dfa3,
  segment: 0x18538067,
  tracks: 0x1654ae6b,
  trackEntry: 0xae,
  trackNumber: 0xd7,
  trackType: 0x83,
  codecId: 0x86,
  codecPrivate: 0x63a2,
  cluster: 0x1f43b675,
  simpleBlock: 0xa3,
  blockGroup: 0xa0,
  block: 0xa1,
  discardPadding: 0x75a2,
} as const;

const PARENTS: ReadonlySet<number> = new Set([ID.segment, ID.tracks, ID.trackEntry, ID.cluster, ID.blockGroup]);
const TRACK_TYPE_AUDIO = 2;
const LACING_FLAGS = 0x06;
const MAX_TEXT_BYTES = 64;

/** True when the bytes begin with an EBML header. */
export function isEbml(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && readUnsigned(bytes.subarray(0, 4)) === ID.ebml;
}

/** Tracks and blocks in file order, up to the first element that is cut off or makes no sense. */
export function* readWebm(bytes: Uint8Array): Generator<WebmItem> {
  let entry: { -readonly [K in keyof WebmTrack]: WebmTrack[K] } | undefined;
  for (const { id, body } of readElements(bytes)) {
    if (entry !== undefined && (id === ID.trackEntry || id === ID.cluster)) {
      yield { kind: 'track', track: entry };
      entry = undefined;
    }
    if (id === ID.trackEntry) entry = { number: 0, audio: false, codecId: '', codecPrivate: undefined };
    else if (id === ID.simpleBlock || id === ID.block) {
      const block = readBlock(body);
      if (block !== undefined) yield block;
    } else if (id === ID.discardPadding) yield { kind: 'padding', durationNs: readSigned(body) };
    else if (entry !== undefined) {
      if (id === ID.trackNumber) entry.number = readUnsigned(body);
      else if (id === ID.trackType) entry.audio = readUnsigned(body) === TRACK_TYPE_AUDIO;
      else if (id === ID.codecId) entry.codecId = readText(body);
      else if (id === ID.codecPrivate) entry.codecPrivate = body;
    }
  }
}

/** Every element, parents without their bodies (their children follow), all others with it. */
function* readElements(bytes: Uint8Array): Generator<{ readonly id: number; readonly body: Uint8Array }> {
  let at = 0;
  while (at < bytes.length) {
    const idLength = vintLength(bytes[at]!);
    if (idLength > 4 || at + idLength >= bytes.length) return;
    const id = readUnsigned(bytes.subarray(at, at + idLength));
    at += idLength;
    const sizeLength = vintLength(bytes[at]!);
    if (sizeLength > 8 || at + sizeLength > bytes.length) return;
    const size = readVint(bytes.subarray(at, at + sizeLength));
    at += sizeLength;
    if (PARENTS.has(id)) {
      yield { id, body: bytes.subarray(at, at) };
      continue;
    }
    if (size === undefined || size > bytes.length - at) return;
    yield { id, body: bytes.subarray(at, at + size) };
    at += size;
  }
}

/** Track number (a vint), 16-bit time, flags, frame (RFC 9559 section 10). */
function readBlock(body: Uint8Array): WebmItem | undefined {
  if (body.length === 0) return undefined;
  const length = vintLength(body[0]!);
  if (length > 8 || body.length < length + 3) return undefined;
  return {
    kind: 'block',
    trackNumber: readVint(body.subarray(0, length)) ?? 0,
    laced: (body[length + 2]! & LACING_FLAGS) !== 0,
    payload: body.subarray(length + 3),
  };
}

/** Bytes of a variable-length integer that begins with this byte: 1 to 8, or 9 for a byte that cannot begin one. */
function vintLength(first: number): number {
  return Math.clz32(first) - 23;
}

/** The value without its length marker; undefined when all bits are set, which means "unknown". */
function readVint(bytes: Uint8Array): number | undefined {
  const marker = 1 << (8 - bytes.length);
  let value = bytes[0]! & (marker - 1);
  let unknown = value === marker - 1;
  for (let i = 1; i < bytes.length; i += 1) {
    value = value * 256 + bytes[i]!;
    unknown &&= bytes[i] === 255;
  }
  return unknown ? undefined : value;
}

function readUnsigned(bytes: Uint8Array): number {
  let value = 0;
  for (const byte of bytes.subarray(0, 8)) value = value * 256 + byte;
  return value;
}

function readSigned(bytes: Uint8Array): number {
  const value = readUnsigned(bytes);
  return (bytes[0] ?? 0) >= 128 ? value - 256 ** Math.min(8, bytes.length) : value;
}

function readText(bytes: Uint8Array): string {
  return Buffer.from(bytes.subarray(0, MAX_TEXT_BYTES)).toString('latin1').replace(/\0+$/, '');
}
