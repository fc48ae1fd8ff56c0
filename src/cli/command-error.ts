/** A failure that the person at the terminal can do something about: shown as one line, without a stack. */
export class CommandError extends Error {
  /** The server's error body, for `--json`. */
  readonly body: Readonly<Record<string, unknown>> | undefined;

  constructor(message: string, body?: Readonly<Record<string, unknown>>) {
    super(message);
    this.name = 'CommandError';
    this.body = body;
  }
}
