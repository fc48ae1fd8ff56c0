/**
 * Slows a peer down that sends faster than any call, by not reading on for a while. Nothing is lost, memory stays in the
 * peer, and one stream cannot take the whole event loop.
 */

/** What is not read on from. */
export interface Pausable {
  pause(): void;
  resume(): void;
}

/** 62 times real time for 16 kHz stereo. */
const MAX_BYTES_PER_WINDOW = 400_000;
/** What a message counts at least: handling one costs as much as that many bytes of audio, however short it is. */
export const MIN_BYTES_PER_MESSAGE = 256;
const WINDOW_MS = 100;

export class FloodThrottle {
  readonly #peer: Pausable;
  #released = false;
  #windowStartMs = 0;
  #windowBytes = 0;
  #resumeTimer: NodeJS.Timeout | undefined;

  constructor(peer: Pausable) {
    this.#peer = peer;
  }

  /** A message of `bytes` arrived at `nowMs` (monotonic) and was handled. */
  handled(bytes: number, nowMs: number): void {
    if (nowMs - this.#windowStartMs >= WINDOW_MS) {
      this.#windowStartMs = nowMs;
      this.#windowBytes = 0;
    }
    this.#windowBytes += Math.max(MIN_BYTES_PER_MESSAGE, bytes);
    if (this.#windowBytes < MAX_BYTES_PER_WINDOW || this.#resumeTimer || this.#released) return;
    this.#peer.pause();
    this.#resumeTimer = setTimeout(
      () => {
        this.#resumeTimer = undefined;
        this.#peer.resume();
      },
      this.#windowStartMs + WINDOW_MS - nowMs,
    );
  }

  /** The stream has ended: reads on at once, or a paused socket would not see the peer's close frame. */
  release(): void {
    this.#released = true;
    if (!this.#resumeTimer) return;
    clearTimeout(this.#resumeTimer);
    this.#resumeTimer = undefined;
    this.#peer.resume();
  }
}
