import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isEbml, readWebm, type WebmItem } from '../../../src/recordings/webm-elements.js';
import { codecFixture } from '../../support/recordings.js';

const SEGMENT = [0x18, 0x53, 0x80, 0x67];
const TRACKS = [0x16, 0x54, 0xae, 0x6b];
const CLUSTER = [0x1f, 0x43, 0xb6, 0x75];
const UNKNOWN_SIZE = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

/** An element with its size in so many bytes. */
function element(id: readonly number[], body: readonly number[], sizeBytes = 1): number[] {
  const size = Array.from({ length: sizeBytes }, (_, i) => Math.floor(body.length / 256 ** (sizeBytes - 1 - i)) % 256);
  size[0]! |= 1 << (8 - sizeBytes);
  return [...id, ...size, ...body];
}

function items(...bytes: readonly number[][]): WebmItem[] {
  return [...readWebm(Uint8Array.from(bytes.flat()))];
}

const entry = element(
  [0xae],
  [...element([0xd7], [3]), ...element([0x83], [2]), ...element([0x86], [...Buffer.from('A_OPUS')])],
);

describe('readWebm', () => {
  it('reads track and packets of a real file', () => {
    const all = [...readWebm(codecFixture('mono.webm'))];
    const tracks = all.filter((item) => item.kind === 'track');
    expect(tracks).toHaveLength(1);
    expect(tracks[0]?.track).toMatchObject({ number: 1, audio: true, codecId: 'A_OPUS' });
    expect(Buffer.from(tracks[0]!.track.codecPrivate!).toString('latin1')).toMatch(/^OpusHead/);
    // 1.5 s and the pre-skip in packets of 20 ms.
    expect(all.filter((item) => item.kind === 'block')).toHaveLength(76);
    expect(all.at(-1)).toMatchObject({ kind: 'padding' });
  });

  it('reads live recordings, whose segment and clusters have no known size', () => {
    const block = element([0xa3], [0x83, 0, 0, 0x80, 1, 2, 3]);
    const found = items(
      [...SEGMENT, ...UNKNOWN_SIZE],
      element(TRACKS, entry),
      [...CLUSTER, ...UNKNOWN_SIZE],
      block,
      block,
    );
    expect(found).toMatchObject([
      { kind: 'track', track: { number: 3, audio: true, codecId: 'A_OPUS', codecPrivate: undefined } },
      { kind: 'block', trackNumber: 3, laced: false, payload: Uint8Array.of(1, 2, 3) },
      { kind: 'block', trackNumber: 3 },
    ]);
  });

  it('reads block groups, lacing flags, padding and long sizes', () => {
    const block = element([0xa1], [0x40, 0x83, 0, 0, 0x06, 9], 8);
    const group = element([0xa0], [...block, ...element([0x75, 0xa2], [0xff, 0xfe])], 4);
    expect(items([...CLUSTER, ...UNKNOWN_SIZE], group)).toEqual([
      { kind: 'block', trackNumber: 0x83, laced: true, payload: Uint8Array.of(9) },
      { kind: 'padding', durationNs: -2 },
    ]);
  });

  it('skips what it does not know and ends at an element that is cut off', () => {
    const unknown = element([0xec], Array<number>(100).fill(0xa3));
    const block = element([0xa3], [0x81, 0, 0, 0, 7]);
    const cut = element([0xa3], [0x81, 0, 0, 0, 8, 8, 8]).slice(0, -1);
    expect(items(unknown, block, cut)).toMatchObject([{ kind: 'block', payload: Uint8Array.of(7) }]);
  });

  it.each([
    ['a size of 2^56 - 2', [0xec, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]],
    ['a size that would be negative in 32 bits', [0xec, 0x10, 0x80, 0x00, 0x00, 0x00]],
    ['an unknown size where none is allowed', [0xec, 0xff]],
    ['no size', [0xa3]],
    ['an id of zeros', [0, 0, 0, 0]],
  ])('ends at %s', (_, bytes) => {
    expect(items(bytes, element([0xa3], [0x81, 0, 0, 0, 7]))).toEqual([]);
  });

  it('ends for any bytes, with no more blocks than fit', () => {
    const known = fc.constantFrom(
      SEGMENT,
      TRACKS,
      CLUSTER,
      [0xae],
      [0xa3, 0x84, 0x81, 0, 0, 0],
      [0x63, 0xa2],
      [0x86, 0x81, 65],
    );
    const piece = fc.oneof(known, fc.array(fc.nat(255), { maxLength: 12 }));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        expect(items(...pieces).length).toBeLessThanOrEqual(pieces.flat().length);
      }),
    );
  });
});

describe('isEbml', () => {
  it('looks at the first four bytes', () => {
    expect(isEbml(codecFixture('mono.webm'))).toBe(true);
    expect(isEbml(Uint8Array.of(0x1a, 0x45, 0xdf))).toBe(false);
    expect(isEbml(codecFixture('mono.mp3'))).toBe(false);
  });
});
