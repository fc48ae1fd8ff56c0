/** WAV files that say what we want them to say, true or not. */

export interface WavClaims {
  readonly container?: string;
  readonly tag?: number;
  readonly channels?: number;
  readonly sampleRateHz?: number;
  readonly bits?: number;
  /** Default: what channels and bits make. */
  readonly frameBytes?: number;
  /** Default: the truth. */
  readonly dataBytes?: number;
  /** Default: the truth. */
  readonly riffBytes?: number;
}

/** A file with a plain 44-byte header (default: 16 bit, mono, 8 kHz) that makes these claims about `data`. */
export function wavClaiming(claims: WavClaims, data: Uint8Array = new Uint8Array(16_000)): Buffer {
  const { channels = 1, sampleRateHz = 8000, bits = 16 } = claims;
  const frameBytes = claims.frameBytes ?? Math.ceil((channels * bits) / 8);
  const header = Buffer.alloc(44);
  header.write(claims.container ?? 'RIFF', 0, 'latin1');
  header.writeUInt32LE(claims.riffBytes ?? 36 + data.length, 4);
  header.write('WAVEfmt ', 8, 'latin1');
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(claims.tag ?? 1, 20);
  header.writeUInt16LE(channels, 22);
  header.writeUInt32LE(sampleRateHz, 24);
  header.writeUInt32LE((sampleRateHz * frameBytes) >>> 0, 28);
  header.writeUInt16LE(frameBytes & 0xffff, 32);
  header.writeUInt16LE(bits, 34);
  header.write('data', 36, 'latin1');
  header.writeUInt32LE(claims.dataBytes ?? data.length, 40);
  return Buffer.concat([header, data]);
}
