/** What an enrollment is asked with and answers: the shapes shared by the use case and the doors (HTTP, CLI). */
import type { HeardSpeech } from '../caller-speech/caller-speech.js';
import type { ListeningSource } from '../caller-speech/listen.js';
import type { AttemptSource, EnrolledUser } from '../ports/auth-store.js';

export type EnrollmentSource = ListeningSource | RunningCall;

export interface RunningCall {
  readonly kind: 'call';
  readonly platform: AttemptSource;
  /** `hear` verifies the caller before a further sample, and records that as an attempt. */
  readonly recordsAttempts: boolean;
  readonly hear: HearCall;
}

/** What was heard of a running call. */
export interface HeardCall {
  readonly speech: HeardSpeech;
  readonly mixed: boolean;
}

/** The speech of a running call as soon as there is enough of it, or what there is when no more can be had. */
export type HearCall = (wanted: {
  readonly netSpeechMs: number;
  /** Whom it is to be a sample of, as they are enrolled at present. */
  readonly user: EnrolledUser | undefined;
  readonly signal: AbortSignal;
}) => Promise<HeardCall>;

export interface EnrollmentRequest {
  readonly userId: string;
  /** E.164; undefined keeps what is registered. */
  readonly phone: string | undefined;
  /** The number is a caller's, which can be forged: it is refused when another enrolled user has it. */
  readonly phoneMustBeFree?: boolean;
  /** Where the person's consent is on file, as the deployment names it. */
  readonly consentReference: string | undefined;
  readonly source: EnrollmentSource;
  /** Names the sample, so that the same enrollment twice adds one; undefined = a new one. */
  readonly sampleId?: string;
  /** Runs a step of the database again while the database is away and there is time; default: once only. */
  readonly persist?: <T>(work: () => Promise<T>) => Promise<T>;
  /** Told when the sample is about to be written: from then on the voiceprint may be made of it, whatever is answered. */
  readonly beforeSave?: () => void;
  /** A voiceprint of another model gives way to one made from this sample. One of this model is added to, as ever. */
  readonly replaceModel?: boolean | undefined;
  readonly correlationId: string;
  readonly callId: string | undefined;
  /** Id of the API key that asks. */
  readonly actor: string;
  /** Aborted when the asker has gone away. */
  readonly signal: AbortSignal;
}

export interface EnrollmentResult {
  /** Agreement of the samples in [0, 1]; 1 for a first sample. */
  readonly score: number;
  readonly samples: number;
  /** Net speech in this sample. */
  readonly netSpeechMs: number;
  readonly modelId: string;
}

export interface EnrollmentUseCase {
  /**
   * Adds a voice sample and writes the voiceprint. Throws `EnrollmentConflict`, `AccountLockedError`,
   * `VoiceprintModelMismatch`, `ValidationError` (URL), `ListenConnectionError`, `AudioDownloadError`, `PayloadTooLarge`
   * (recording), `UnsupportedAudioError`, `AudioProcessingError`, `Busy`, `InferenceUnavailable`, `UserNotFoundError` (erased
   * meanwhile), `DatabaseUnavailable` or `Timeout` (given up by the asker or a shutdown); then nothing was written, unless it
   * was the answer of the database alone that did not come (`DatabaseUnavailable`), but that a further sample did not match is
   * recorded as a failed attempt.
   */
  enroll(request: EnrollmentRequest): Promise<EnrollmentResult>;
}
