/** From the audio events of one stream, of whatever platform, to frames: base64, order, decoding, track by track. */
import type { PcmFrame, Track } from '../../audio/pcm-frame.js';
import type { Metrics } from '../../observability/metrics.js';
import { ChunkOrder } from './chunk-order.js';
import type { AudioEvent } from './stream-events.js';
import { TrackDecoder } from './track-decoder.js';

export interface StreamDecoderOptions {
  readonly metrics: Pick<Metrics, 'framesReceived' | 'framesDropped'>;
  /** Gets the audio of all tracks, each in order. The samples are a view of a reused buffer. */
  readonly onFrame: (frame: PcmFrame) => void;
}

interface TrackState {
  readonly decoder: TrackDecoder;
  readonly order: ChunkOrder;
}

const FIRST_PAYLOAD_BYTES = 1_024;

export class StreamDecoder {
  readonly #options: StreamDecoderOptions;
  readonly #tracks = new Map<Track, TrackState>();
  #payload = Buffer.alloc(FIRST_PAYLOAD_BYTES);
  /** The latest view of `#payload`; payloads mostly have one length, so it mostly fits the next one too. */
  #view: Uint8Array = this.#payload.subarray(0, 0);

  constructor(options: StreamDecoderOptions) {
    this.#options = options;
  }

  audio(event: AudioEvent): void {
    const { metrics } = this.#options;
    metrics.framesReceived.inc();
    const bytes = typeof event.payload === 'string' ? this.#fromBase64(event.payload) : event.payload;
    if (bytes.length === 0) {
      metrics.framesDropped.inc({ cause: 'unusable_audio' });
      return;
    }
    const { decoder, order } = this.#stateOf(event.track);
    if (event.position === undefined) decoder.decode(bytes, event.format);
    else order.push(event.position, bytes, event.format);
  }

  /** The stream has ended: delivers what still waits for earlier audio. */
  end(): void {
    for (const { order } of this.#tracks.values()) order.flush();
  }

  #stateOf(track: Track): TrackState {
    let state = this.#tracks.get(track);
    if (!state) {
      const { onFrame, metrics } = this.#options;
      const decoder = new TrackDecoder(track, onFrame);
      const order = new ChunkOrder({
        deliver: (bytes, format) => decoder.decode(bytes, format),
        onLate: () => metrics.framesDropped.inc({ cause: 'late_chunk' }),
      });
      state = { decoder, order };
      this.#tracks.set(track, state);
    }
    return state;
  }

  /** Characters that are no base64 are left out, as everywhere in Node. */
  #fromBase64(text: string): Uint8Array {
    const most = Math.ceil((text.length * 3) / 4);
    if (most > this.#payload.length) this.#payload = Buffer.alloc(2 ** Math.ceil(Math.log2(most)));
    const length = this.#payload.write(text, 'base64');
    if (this.#view.length !== length || this.#view.buffer !== this.#payload.buffer) {
      this.#view = this.#payload.subarray(0, length);
    }
    return this.#view;
  }
}
