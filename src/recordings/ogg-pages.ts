/**
 * Reader for the Ogg container (RFC 3533): pages, and the packets of one logical stream. Our own, because recordings come
 * damaged and with packets that span pages, and because the last granule position is needed to cut the padding.
 */

export interface OggPage {
  readonly serial: number;
  /** Position at the end of the page in the codec's samples; undefined when no packet ends here or the page is cut. */
  readonly granulePosition: number | undefined;
  /** First page of its logical stream. */
  readonly begins: boolean;
  /** Its first packet began on an earlier page. */
  readonly continues: boolean;
  /** Its last packet goes on on the next page. */
  readonly unfinished: boolean;
  /** Packets and parts of packets, as views of the input. */
  readonly packets: readonly Uint8Array[];
}

const HEADER_BYTES = 27;
const CAPTURE_PATTERN = 'OggS';

/** All pages in order. Garbage between pages is skipped; of a page that is cut off, the whole packets are kept. */
export function* readOggPages(bytes: Uint8Array): Generator<OggPage> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = buffer.indexOf(CAPTURE_PATTERN, 0, 'latin1');
  while (at >= 0 && at + HEADER_BYTES <= buffer.length) {
    const bodyAt = at + HEADER_BYTES + buffer[at + 26]!;
    let next = at + CAPTURE_PATTERN.length;
    if (buffer[at + 4] === 0 && bodyAt <= buffer.length) {
      const { page, end } = readPage(buffer, at, bodyAt);
      yield page;
      next = end;
    }
    at = buffer.indexOf(CAPTURE_PATTERN, next, 'latin1');
  }
}

/** The packets of one logical stream, joined over page borders; packets with a missing part are left out. */
export function* readOggPackets(pages: Iterable<OggPage>, serial: number): Generator<Uint8Array> {
  let parts: Uint8Array[] = [];
  for (const page of pages) {
    if (page.serial !== serial) continue;
    let orphan = page.continues && parts.length === 0;
    if (!page.continues) parts = [];
    for (const [index, packet] of page.packets.entries()) {
      parts.push(packet);
      if (page.unfinished && index === page.packets.length - 1) {
        if (orphan) parts = [];
        continue;
      }
      if (!orphan) yield parts.length === 1 ? packet : Buffer.concat(parts);
      orphan = false;
      parts = [];
    }
  }
}

function readPage(buffer: Buffer, at: number, bodyAt: number): { readonly page: OggPage; readonly end: number } {
  const flags = buffer[at + 5]!;
  const packets: Uint8Array[] = [];
  let start = bodyAt;
  let end = bodyAt;
  let unfinished = false;
  let cut = false;
  for (let segment = at + HEADER_BYTES; segment < bodyAt; segment += 1) {
    const size = buffer[segment]!;
    if (end + size > buffer.length) {
      cut = true;
      break;
    }
    end += size;
    unfinished = size === 255;
    if (!unfinished) {
      packets.push(buffer.subarray(start, end));
      start = end;
    }
  }
  if (unfinished && !cut) packets.push(buffer.subarray(start, end));
  const granule = buffer.readBigInt64LE(at + 6);
  const page: OggPage = {
    serial: buffer.readUInt32LE(at + 14),
    granulePosition: granule >= 0n && !cut ? Number(granule) : undefined,
    begins: (flags & 2) !== 0,
    continues: (flags & 1) !== 0,
    unfinished: unfinished && !cut,
    packets,
  };
  return { page, end };
}
