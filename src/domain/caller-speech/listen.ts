/** Listens to whatever a request names: a call that is dialled, or a recording. */
import type { EnrollmentConfig } from '../../config/config.js';
import type { CallerSpeech } from './caller-speech.js';
import { type ListeningEnd, listenToCall } from './listen-to-call.js';
import { listenToRecording, type RecordingSource } from './listen-to-recording.js';
import type { ListeningDeps } from './listening-deps.js';

/** What a request may name. */
export type ListeningSource =
  | RecordingSource
  | { readonly kind: 'listen_url'; readonly listenUrl: string; readonly maxSeconds: number | undefined };

type Limits = Pick<EnrollmentConfig, 'listenTimeoutMs' | 'connectTimeoutMs'>;

/** Feeds `speech` until the source ends, time is up or a signal fires. Throws what `listenToCall` and `listenToRecording` throw. */
export async function listen(
  source: ListeningSource,
  speech: CallerSpeech,
  deps: ListeningDeps & { readonly config: Limits },
  signals: { readonly signal: AbortSignal; readonly enough: AbortSignal },
): Promise<ListeningEnd> {
  if (source.kind !== 'listen_url') {
    await listenToRecording(source, speech, { ...deps, signal: signals.signal });
    return 'recording_end';
  }
  return listenToCall(deps.sources.vapiListen(source.listenUrl), speech, {
    timeoutMs: listenMs(source, deps.config),
    connectTimeoutMs: deps.config.connectTimeoutMs,
    ...signals,
  });
}

/** How long listening to the source may take. */
export function listenMs(source: ListeningSource, { listenTimeoutMs }: Pick<Limits, 'listenTimeoutMs'>): number {
  const asked = source.kind === 'listen_url' ? source.maxSeconds : undefined;
  return Math.min(listenTimeoutMs, (asked ?? Number.POSITIVE_INFINITY) * 1000);
}
