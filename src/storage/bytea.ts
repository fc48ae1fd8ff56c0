/** Bytes as PostgreSQL reads them in text: `bytea` in hex format. */

export function toBytea(bytes: Uint8Array): string {
  return `\\x${Buffer.from(bytes).toString('hex')}`;
}
