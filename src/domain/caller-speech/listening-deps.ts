/** What enrollment and verification both need to hear and judge a caller. */
import type { Metrics } from '../../observability/metrics.js';
import type { WorkLimit } from '../admission.js';
import type { AuthStore } from '../ports/auth-store.js';
import type { CallSourceFactory } from '../ports/call-source.js';
import type { SpeakerEmbedder, SpeechDetector } from '../ports/speaker-model.js';
import type { SpeakerScorer } from '../scoring/scorer.js';
import type { RecordingDeps } from './listen-to-recording.js';

export interface ListeningDeps extends RecordingDeps {
  readonly store: AuthStore;
  readonly embedder: SpeakerEmbedder;
  readonly detector: SpeechDetector;
  readonly scorer: SpeakerScorer;
  readonly sources: CallSourceFactory;
  /** Enrollments and verifications in progress, counted together. */
  readonly work: WorkLimit;
  readonly metrics: Metrics;
  /** Fires when the server gives up on running work at the end of its grace period. */
  readonly shutdown: AbortSignal;
}
