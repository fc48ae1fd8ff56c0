/**
 * The unit of audio that comes from a call: every adapter turns wire bytes into these, and nothing after the adapter
 * knows the platform.
 */

/** Whose voice a frame carries. `mixed` is caller and agent in one channel: never good enough to accept an identity. */
export type Track = 'caller' | 'agent' | 'mixed';

export interface PcmFrame {
  /**
   * Mono samples in [-1, 1). The array may be a view of a buffer that its sender reuses: it is valid only until the
   * receiving function returns, so a receiver that keeps audio copies it.
   */
  readonly samples: Float32Array;
  readonly sampleRateHz: number;
  readonly track: Track;
  /** Time of the first sample since the start of the stream. */
  readonly startMs: number;
}
