/**
 * Telephones write the index of an MP4 recording (`moov`) after the audio, and a decoder that reads from a pipe cannot go
 * back for the audio once it has the index. So the index is moved to the front, in memory, with the file positions in it
 * corrected (ISO/IEC 14496-12: boxes in section 4.2, chunk offsets in 8.7.5).
 */

interface Box {
  readonly type: string;
  readonly start: number;
  readonly bodyStart: number;
  readonly end: number;
}

/**
 * Boxes looked at in one file, all levels together. Even a recording in fragments of a second has no more than some
 * hundreds; millions of empty ones would hold up the server.
 */
const MAX_BOXES = 4_000;

const OFFSET_TABLE_PATH = ['trak', 'mdia', 'minf', 'stbl'];

/**
 * The file with its `moov` box before the audio; the input itself (never a changed one) when it already is or when the
 * boxes make no sense.
 */
export function moveIndexToFront(bytes: Uint8Array): Uint8Array {
  const reader = new BoxReader();
  const boxes = reader.read(bytes, 0, bytes.length);
  const moov = boxes.find(({ type }) => type === 'moov');
  const audio = boxes.find(({ type }) => type === 'mdat');
  if (moov === undefined || audio === undefined || moov.start < audio.start) return bytes;
  const insertAt = boxes[0]!.type === 'ftyp' ? boxes[0]!.end : 0;
  const index = new Uint8Array(bytes.subarray(moov.start, moov.end));
  const moved = { from: insertAt, to: moov.start, by: index.length };
  shiftOffsets(
    index,
    { start: moov.bodyStart - moov.start, end: index.length },
    { path: OFFSET_TABLE_PATH, moved, reader },
  );
  // Some positions may have been left uncorrected.
  if (reader.exhausted) return bytes;
  const result = new Uint8Array(bytes.length);
  result.set(bytes.subarray(0, insertAt));
  result.set(index, insertAt);
  result.set(bytes.subarray(insertAt, moov.start), insertAt + index.length);
  result.set(bytes.subarray(moov.end), moov.end);
  return result;
}

interface Shift {
  readonly reader: BoxReader;
  /** Boxes still to descend into. */
  readonly path: readonly string[];
  /** File positions from `from` up to `to` grow `by` this much. */
  readonly moved: { readonly from: number; readonly to: number; readonly by: number };
}

function shiftOffsets(index: Uint8Array, range: { readonly start: number; readonly end: number }, shift: Shift): void {
  const [next, ...rest] = shift.path;
  for (const box of shift.reader.read(index, range.start, range.end)) {
    if (next === undefined) shiftTable(index, box, shift);
    else if (box.type === next) {
      shiftOffsets(index, { start: box.bodyStart, end: box.end }, { ...shift, path: rest });
    }
  }
}

/** Version and flags, number of entries, entries of 4 (`stco`) or 8 (`co64`) bytes. */
function shiftTable(index: Uint8Array, box: Box, { moved }: Shift): void {
  const width = box.type === 'stco' ? 4 : box.type === 'co64' ? 8 : 0;
  if (width === 0 || box.bodyStart + 8 > box.end) return;
  const view = new DataView(index.buffer, index.byteOffset, index.byteLength);
  const first = box.bodyStart + 8;
  const count = Math.min(view.getUint32(box.bodyStart + 4), Math.floor((box.end - first) / width));
  for (let at = first; at < first + count * width; at += width) {
    const offset = width === 4 ? view.getUint32(at) : Number(view.getBigUint64(at));
    if (offset < moved.from || offset >= moved.to) continue;
    if (width === 4) view.setUint32(at, offset + moved.by);
    else view.setBigUint64(at, BigInt(offset + moved.by));
  }
}

/** Reads boxes until there have been too many in all. */
class BoxReader {
  #left = MAX_BOXES;

  /** Not all boxes that were asked for have been read. */
  get exhausted(): boolean {
    return this.#left < 0;
  }

  /** The boxes side by side in a range, up to the first whose size makes no sense. */
  read(bytes: Uint8Array, start: number, end: number): Box[] {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const boxes: Box[] = [];
    for (let at = start; at + 8 <= end; ) {
      let size = view.getUint32(at);
      let headerBytes = 8;
      if (size === 1 && at + 16 <= end) {
        size = Number(view.getBigUint64(at + 8));
        headerBytes = 16;
      } else if (size === 0) size = end - at;
      if (size < headerBytes || size > end - at) break;
      this.#left -= 1;
      if (this.exhausted) break;
      const type = Buffer.from(bytes.subarray(at + 4, at + 8)).toString('latin1');
      boxes.push({ type, start: at, bodyStart: at + headerBytes, end: at + size });
      at += size;
    }
    return boxes;
  }
}
