import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readOggPackets, readOggPages } from '../../../src/recordings/ogg-pages.js';
import { oggPage } from '../../support/recordings.js';

function packetsOf(bytes: Uint8Array, serial = 1): string[] {
  return [...readOggPackets(readOggPages(bytes), serial)].map((packet) => Buffer.from(packet).toString('latin1'));
}

const text = (value: string): Buffer => Buffer.from(value, 'latin1');

describe('readOggPages', () => {
  it('reads serial, granule position, flags and packets', () => {
    const bytes = oggPage({ serial: 7, granule: 4800, begins: true, packets: [text('one'), text(''), text('three')] });
    const [page, ...rest] = [...readOggPages(bytes)];
    expect(rest).toEqual([]);
    expect(page).toMatchObject({ serial: 7, granulePosition: 4800, begins: true, continues: false, unfinished: false });
    expect(page?.packets.map((packet) => Buffer.from(packet).toString())).toEqual(['one', '', 'three']);
  });

  it('knows no granule position for a page on which no packet ends', () => {
    const [page] = [...readOggPages(oggPage({ granule: -1, packets: [Buffer.alloc(255)], unfinished: true }))];
    expect(page).toMatchObject({ granulePosition: undefined, unfinished: true });
  });

  it('keeps the whole packets of a page that is cut off, but not its granule position', () => {
    const bytes = oggPage({ granule: 9, packets: [text('whole'), text('cut off')] });
    const [page] = [...readOggPages(bytes.subarray(0, bytes.length - 3))];
    expect(page?.packets.map((packet) => Buffer.from(packet).toString())).toEqual(['whole']);
    expect(page?.granulePosition).toBeUndefined();
  });
});

describe('readOggPackets', () => {
  it('gives back any packets, however they are spread over pages and streams', () => {
    const packet = fc.uint8Array({ maxLength: 700 });
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 12 }), fc.integer({ min: 1, max: 3 }), (packets, segmentsPerPage) => {
        const expected = packets.map((bytes) => Buffer.from(bytes).toString('latin1'));
        expect(packetsOf(spread(packets, segmentsPerPage))).toEqual(expected);
      }),
    );
  });

  it('leaves out a packet whose beginning or end is missing', () => {
    const half = Buffer.alloc(255, 'x');
    const orphan = oggPage({ continues: true, packets: [text('end of a lost one'), text('next')] });
    expect(packetsOf(orphan)).toEqual(['next']);
    const abandoned = Buffer.concat([
      oggPage({ packets: [half], unfinished: true }),
      oggPage({ packets: [text('new')] }),
    ]);
    expect(packetsOf(abandoned)).toEqual(['new']);
    const lostAcrossPages = Buffer.concat([
      oggPage({ continues: true, packets: [half], unfinished: true }),
      oggPage({ continues: true, packets: [text('still lost'), text('found')] }),
    ]);
    expect(packetsOf(lostAcrossPages)).toEqual(['found']);
  });

  it('reads only the stream asked for and skips garbage between pages', () => {
    const bytes = Buffer.concat([
      text('garbage'),
      oggPage({ serial: 1, packets: [text('a')] }),
      text('OggS?OggSOg'),
      oggPage({ serial: 2, packets: [text('other')] }),
      oggPage({ serial: 1, packets: [text('b')] }),
    ]);
    expect(packetsOf(bytes)).toEqual(['a', 'b']);
    expect(packetsOf(bytes, 2)).toEqual(['other']);
  });

  it('ends for any bytes', () => {
    const piece = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(new Uint8Array(text('OggS\0'))));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const bytes = Buffer.concat(pieces);
        const total = packetsOf(bytes, 0).reduce((sum, packet) => sum + packet.length, 0);
        expect(total).toBeLessThanOrEqual(bytes.length);
      }),
    );
  });
});

/** An Ogg stream with so many segments per page, and a page of another stream after each. */
function spread(packets: readonly Uint8Array[], segmentsPerPage: number): Buffer {
  const segments = packets.flatMap((packet) => {
    const count = Math.floor(packet.length / 255) + 1;
    return Array.from({ length: count }, (_, i) => ({
      bytes: packet.subarray(i * 255, (i + 1) * 255),
      first: i === 0,
    }));
  });
  const pages: Buffer[] = [];
  for (let at = 0; at < segments.length; at += segmentsPerPage) {
    const own = segments.slice(at, at + segmentsPerPage);
    const header = Buffer.alloc(27);
    header.write('OggS', 'latin1');
    header[5] = own[0]!.first ? 0 : 1;
    header.writeUInt32LE(1, 14);
    header[26] = own.length;
    pages.push(
      Buffer.concat([header, Buffer.from(own.map(({ bytes }) => bytes.length)), ...own.map(({ bytes }) => bytes)]),
    );
    pages.push(oggPage({ serial: 2, packets: [text('another stream')] }));
  }
  return Buffer.concat(pages);
}
