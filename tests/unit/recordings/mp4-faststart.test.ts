import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { moveIndexToFront } from '../../../src/recordings/mp4-faststart.js';
import { codecFixture } from '../../support/recordings.js';

function box(type: string, ...bodies: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(bodies);
  const header = Buffer.alloc(8);
  header.writeUInt32BE(8 + body.length);
  header.write(type, 4, 'latin1');
  return Buffer.concat([header, body]);
}

function table(type: 'stco' | 'co64', offsets: readonly number[]): Buffer {
  const entries = offsets.map((offset) => {
    const entry = Buffer.alloc(type === 'stco' ? 4 : 8);
    if (type === 'stco') entry.writeUInt32BE(offset);
    else entry.writeBigUInt64BE(BigInt(offset));
    return entry;
  });
  const head = Buffer.alloc(8);
  head.writeUInt32BE(offsets.length, 4);
  return box(type, head, ...entries);
}

function index(offsets: Buffer): Buffer {
  return box('moov', box('mvhd', Buffer.alloc(20)), box('trak', box('mdia', box('minf', box('stbl', offsets)))));
}

const ftyp = box('ftyp', Buffer.from('M4A isom'));
const audio = Buffer.from('first chunk, second chunk');
const firstAt = ftyp.length + 8;
const secondAt = firstAt + audio.indexOf('second');

/** What the offsets of the table in a file point at. */
function chunksOf(file: Uint8Array, type: 'stco' | 'co64'): string[] {
  const buffer = Buffer.from(file);
  const at = buffer.indexOf(type, 0, 'latin1') + 8;
  return [0, 1].map((i) => {
    const offset =
      type === 'stco' ? buffer.readUInt32BE(at + 4 + i * 4) : Number(buffer.readBigUInt64BE(at + 4 + i * 8));
    return buffer.toString('latin1', offset, offset + 6).trim();
  });
}

describe('moveIndexToFront', () => {
  it.each(['stco', 'co64'] as const)('moves the index before the audio and corrects %s', (type) => {
    const file = Buffer.concat([ftyp, box('mdat', audio), index(table(type, [firstAt, secondAt])), box('free')]);
    const original = Buffer.from(file);
    const moved = Buffer.from(moveIndexToFront(file));
    expect(moved).toHaveLength(file.length);
    expect(moved.indexOf('moov')).toBe(ftyp.length + 4);
    expect(moved.indexOf('mdat')).toBeGreaterThan(moved.indexOf('moov'));
    expect(chunksOf(moved, type)).toEqual(['first', 'second']);
    expect(Buffer.compare(file, original)).toBe(0);
  });

  it('leaves offsets alone that point behind the index', () => {
    const rest = Buffer.from('second chunk');
    const start = Buffer.concat([ftyp, box('mdat', Buffer.from('first chunk'))]);
    const moov = index(table('stco', [firstAt, 0]));
    const file = Buffer.concat([start, moov, box('mdat', rest)]);
    const tableAt = file.indexOf('stco') + 12;
    file.writeUInt32BE(start.length + moov.length + 8, tableAt + 4);
    expect(chunksOf(moveIndexToFront(file), 'stco')).toEqual(['first', 'second']);
  });

  it('does nothing when the index comes first, is missing, or nothing makes sense', () => {
    const first = Buffer.concat([ftyp, index(table('stco', [1, 2])), box('mdat', audio)]);
    for (const bytes of [
      first,
      ftyp,
      Buffer.alloc(0),
      Buffer.alloc(100, 0xff),
      Buffer.concat([ftyp, box('mdat', audio)]),
    ]) {
      expect(moveIndexToFront(bytes)).toBe(bytes);
    }
  });

  it('keeps every byte but the offsets, whatever is damaged', () => {
    const fixture = codecFixture('mono.m4a');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(fixture.length - 1), fc.nat(255)), { maxLength: 30 }),
        fc.integer({ min: 0, max: fixture.length }),
        (changes, length) => {
          const bytes = fixture.slice();
          for (const [at, value] of changes) bytes[at] = value;
          const cut = bytes.subarray(0, length);
          expect(moveIndexToFront(cut)).toHaveLength(length);
        },
      ),
    );
  });

  it.each([
    ['before the index', 20_000, 0],
    ['in the index', 0, 20_000],
    ['before the index and in it, together', 3_000, 3_000],
  ])('leaves a file alone that has more boxes than any recording %s', (_where, before, within) => {
    const offsets = table('stco', [firstAt, secondAt]);
    const stuffed = (boxes: number) => Array<Buffer>(boxes).fill(box('trak'));
    const file = (outer: number, inner: number) =>
      Buffer.concat([
        ftyp,
        box('mdat', audio),
        ...stuffed(outer),
        box('moov', box('trak', box('mdia', box('minf', box('stbl', offsets)))), ...stuffed(inner)),
      ]);
    const tooMany = file(before, within);
    expect(moveIndexToFront(tooMany)).toBe(tooMany);
    const few = file(Math.min(before, 100), Math.min(within, 100));
    expect(chunksOf(moveIndexToFront(few), 'stco')).toEqual(['first', 'second']);
    expect(moveIndexToFront(few)).not.toBe(few);
  });
});
