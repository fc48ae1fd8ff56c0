/** What may never be in a log line or a trace, as patterns; every watched server is searched for them when it closes. */

interface Forbidden {
  readonly what: string;
  readonly pattern: RegExp;
}

const FORBIDDEN: readonly Forbidden[] = [
  { what: 'a phone number', pattern: /\+[1-9]\d{7,14}\b/ },
  { what: 'a WebSocket URL', pattern: /wss?:\/\// },
  { what: 'a listen path', pattern: /\/listen\b/ },
  { what: 'a URL with a path', pattern: /https?:\/\/[^\s"'\\]+\/[^\s"'\\]*\.(wav|mp3|flac|ogg|webm|m4a)/i },
  { what: 'an API key', pattern: /vak_[A-Za-z0-9-]+_[A-Za-z0-9_-]{20,}/ },
  { what: 'an authorization header', pattern: /bearer\s+[A-Za-z0-9._-]{8,}/i },
  { what: 'an array of numbers (audio or an embedding)', pattern: /(-?\d+\.\d+(e-?\d+)?,\s*){8,}/ },
  { what: 'a long base64 or hex text (audio, an embedding or a key)', pattern: /[A-Za-z0-9+/]{120,}/ },
];

/** Digits that times, ids and ports have by chance, sooner or later, also at their beginning. */
const CHANCE = /^"?[0-9a-f]{1,7}$/;

/** What of the forbidden is in `text`, with a little context; empty when nothing is. Throws for a secret that chance would spell. */
export function privacyLeaks(text: string, secrets: readonly string[] = []): string[] {
  const around = (place: number) => `...${text.slice(Math.max(0, place - 60), place + 60)}...`;
  const found = FORBIDDEN.flatMap(({ what, pattern }) => {
    const match = pattern.exec(text);
    return match ? [`${what}: ${around(match.index)}`] : [];
  });
  const spelled = secrets.flatMap((secret) => {
    if (CHANCE.test(secret)) throw new Error('A secret of this test is so short that ids and times have it by chance.');
    const place = text.indexOf(secret);
    return place < 0 ? [] : [`a secret of this test: ${around(place)}`];
  });
  return [...found, ...spelled];
}

/** The one line that shows a secret on purpose: the development key, printed for the person at the terminal. */
const KEY_LINE = /^ +API key +vak_/;
/** The one line with a number, which is nobody's: the enrollment that the banner suggests, word for word. */
const EXAMPLE_LINE =
  /^ {4}(DATA_DIR=\S+ )?npx voice-auth enroll -u 6f1d7c5e-8a51-4c0e-9d0e-2f7d5f6a0001 -p \+15550100001 -f tests\/fixtures\/voices\/alice-enroll\.wav( --server http:\/\/127\.0\.0\.1:\d+)?$/;

/** Throws when logs (all that a server has written) or traces give something away. */
export function requirePrivate(
  records: { readonly logs: string; readonly traces: string },
  secrets: readonly string[],
): void {
  const written = records.logs
    .split('\n')
    .filter((line) => !KEY_LINE.test(line) && !EXAMPLE_LINE.test(line))
    .join('\n');
  const leaks = [
    ...privacyLeaks(written, secrets).map((leak) => `log: ${leak}`),
    ...privacyLeaks(records.traces, secrets).map((leak) => `trace: ${leak}`),
  ];
  if (leaks.length > 0) throw new Error(`Logs or traces gave something away:\n${leaks.join('\n')}`);
}
