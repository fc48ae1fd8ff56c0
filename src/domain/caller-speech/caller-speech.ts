/**
 * From frames of any rate to net caller speech: resampling, a cheap energy gate, neural speech detection, and a bounded
 * store of what was said. One instance per call or recording; enrollment and verification both listen through it.
 */
import { EnergyGate } from '../../audio/energy-gate.js';
import type { PcmFrame } from '../../audio/pcm-frame.js';
import { QualityMeter, type QualityReport } from '../../audio/quality.js';
import { StreamingResampler } from '../../audio/resampler.js';
import { SampleQueue } from '../../audio/sample-queue.js';
import { SoundMeter } from '../../audio/sound-meter.js';
import { SpeechBuffer } from '../../audio/speech-buffer.js';
import { isBusy, VoiceAuthError } from '../errors.js';
import type { InferenceOptions, SpeechDetector, SpeechDetectorStream } from '../ports/speaker-model.js';

export interface CallerSpeechOptions {
  readonly detector: SpeechDetector;
  /** Net speech kept at most; later speech is not stored. */
  readonly maxSpeechMs: number;
  readonly inference: InferenceOptions;
  /** Speech of the same call to begin with: what `speech` has kept of what came since then, as `performance.now()` counts. */
  readonly continues?: { readonly speech: CallerSpeech; readonly keptSince: number } | undefined;
  /** Called after every detection batch, from then on with more (or equal) net speech. */
  readonly onSpeech?: () => void;
  /** Called once when detection has failed for good. */
  readonly onFault?: (error: VoiceAuthError) => void;
  /** Called with the number of detector frames lost because detection could not keep up. */
  readonly onDropped?: (frames: number) => void;
}

/** Detector frames per inference request: 8 frames of 32 or 40 ms cost one message for a quarter or a third of a second of audio. */
const BATCH_FRAMES = 8;
/** Gated audio that may wait for detection. Beyond this the oldest is lost: the newest matters for a live answer. */
const MAX_PENDING_MS = 8_000;
/** Speech starts at the first probability and ends below the second (hysteresis, as Silero's own iterator does). */
const SPEECH_ON = 0.5;
const SPEECH_OFF = 0.35;
/** Frames kept after speech has ended (64 or 80 ms): word endings fade below the detector's threshold. */
const TRAILING_FRAMES = 2;
/** Blocks in which clipping is counted, and how loud one must be (-20 dBFS) to be more than a pause. */
const CLIPPING_BLOCK_MS = 20;
const LOUD_AMPLITUDE = 0.1;

/** Speech of a call that does not grow any more, whatever is said next. */
export type HeardSpeech = Pick<CallerSpeech, 'netSpeechMs' | 'heardCaller' | 'samples' | 'qualityReport'>;

export class CallerSpeech {
  private readonly options: Omit<CallerSpeechOptions, 'continues'>;
  private readonly stream: SpeechDetectorStream;
  private readonly gate: EnergyGate;
  private quality = new QualityMeter();
  /** Resampling rounds off flat tops, so clipping is also counted on the audio as it came. */
  private wireQuality = new QualityMeter();
  private readonly speech: SpeechBuffer;
  private readonly pending: SampleQueue;
  /** End of each frame that waits, as a position in the call; and of each frame of speech that was kept. */
  private readonly pendingEndsMs: number[] = [];
  private readonly keptEndsMs: number[] = [];
  /** When each of them came, however long it waited for the detector. */
  private readonly pendingTimes: number[] = [];
  private readonly keptTimes: number[] = [];
  private frameEndMs = 0;
  private heldBackEndMs = 0;
  /** The frame being filled, and the newest one that the gate kept out. They change places, so nothing is allocated. */
  private frame: Float32Array;
  private heldBack: Float32Array;
  private holding = false;
  private readonly batch: Float32Array;
  private frameFill = 0;
  private resampler: StreamingResampler | undefined;
  private resamplerRateHz = 0;
  private pumping: Promise<void> | undefined;
  private fault: VoiceAuthError | undefined;
  /** Why the end of the input was not judged, though more could come after it. */
  private unfinished: VoiceAuthError | undefined;
  private speaking = false;
  private trailing = 0;
  private callerMs = 0;
  private readonly callerSound = new SoundMeter();
  private readonly mixedSound = new SoundMeter();
  private stopped = false;
  private ending = false;
  /** Frames of `batch` that were taken out of the queue but not judged yet. */
  private unjudged = 0;

  // What it continues is not kept: audio is held no longer than it is needed.
  constructor({ continues, ...options }: CallerSpeechOptions) {
    const { sampleRateHz, frameSamples } = options.detector;
    this.options = options;
    this.stream = options.detector.createStream();
    this.gate = new EnergyGate({ sampleRateHz, frameSamples });
    this.speech = new SpeechBuffer(Math.round((options.maxSpeechMs / 1000) * sampleRateHz));
    // Whole frames only: losing part of one would shift all that follow against the detector's frames.
    this.pending = new SampleQueue(Math.floor(((MAX_PENDING_MS / 1000) * sampleRateHz) / frameSamples) * frameSamples);
    this.frame = new Float32Array(frameSamples);
    this.heldBack = new Float32Array(frameSamples);
    this.batch = new Float32Array(frameSamples * BATCH_FRAMES);
    if (continues) this.beginWith(continues);
  }

  get netSpeechMs(): number {
    return this.toMs(this.speech.length);
  }

  /** Caller audio received, speech or not. */
  get heardMs(): number {
    return this.callerMs;
  }

  /** Audio received, loud enough to be speech, in which caller and agent are mixed; it is counted, never used. */
  get heardMixedMs(): number {
    return this.mixedSound.audibleMs;
  }

  /** Caller audio received that was loud enough to be speech. */
  get heardAudibleMs(): number {
    return this.callerSound.audibleMs;
  }

  /** Whether any caller audio was more than digital silence. */
  get heardCaller(): boolean {
    return this.callerSound.heard;
  }

  /** When the oldest of the speech that was kept came, as `performance.now()` counts; Infinity before there is any. */
  get firstKeptAt(): number {
    return this.keptTimes[0] ?? Number.POSITIVE_INFINITY;
  }

  /** Whether the store holds all the speech it may. */
  get full(): boolean {
    return this.netSpeechMs >= this.options.maxSpeechMs - 1;
  }

  /** Whether all that came has been judged, but for what is too short to be judged by itself. */
  get caughtUp(): boolean {
    return this.unjudged === 0 && !this.hasWork(BATCH_FRAMES);
  }

  /** Where in the call's audio the first `netSpeechMs` of net speech had been heard, in milliseconds from its start. */
  positionOf(netSpeechMs: number): number {
    const frames = Math.ceil(netSpeechMs / this.toMs(this.frame.length) - 1e-9);
    return this.keptEndsMs[Math.min(frames, this.keptEndsMs.length) - 1] ?? 0;
  }

  /** Net speech so far, at the detector's rate; a view that stays valid but does not grow. */
  samples(): Float32Array {
    return this.speech.view(0, this.speech.length);
  }

  /** The first `netSpeechMs` of the speech, by default all of it, with the quality so far. */
  excerpt(netSpeechMs = this.netSpeechMs): HeardSpeech {
    const samples = this.samples().subarray(0, Math.round((netSpeechMs * this.options.detector.sampleRateHz) / 1000));
    const quality = this.qualityReport();
    return { netSpeechMs, heardCaller: this.heardCaller, samples: () => samples, qualityReport: () => quality };
  }

  qualityReport(): QualityReport {
    const report = this.quality.report();
    return { ...report, clippedRatio: Math.max(report.clippedRatio, this.wireQuality.report().clippedRatio) };
  }

  /** Takes one frame; copies what it needs. Never blocks: detection runs behind. */
  push(frame: PcmFrame): void {
    if (frame.track === 'mixed') this.mixedSound.add(frame.samples, frame.sampleRateHz);
    if (frame.track !== 'caller') return;
    const durationMs = (frame.samples.length / frame.sampleRateHz) * 1000;
    this.callerMs += durationMs;
    this.callerSound.add(frame.samples, frame.sampleRateHz);
    this.countClipping(frame);
    if (!this.resampler || this.resamplerRateHz !== frame.sampleRateHz) {
      if (this.resampler) this.gateFrames(this.resampler.flush());
      this.resampler = new StreamingResampler(frame.sampleRateHz, this.options.detector.sampleRateHz);
      this.resamplerRateHz = frame.sampleRateHz;
    }
    this.frameEndMs = frame.startMs + durationMs;
    this.gateFrames(this.resampler.process(frame.samples));
    this.pump(BATCH_FRAMES);
  }

  /** Waits until less than half of the waiting room is used: back-pressure for sources faster than real time. */
  async ready(): Promise<void> {
    while (this.pumping && this.toMs(this.pending.length) > MAX_PENDING_MS / 2) await this.pumping;
    if (this.fault) throw this.fault;
  }

  /** Gives up: nothing more is judged. What is stored stays. */
  stop(): void {
    this.stopped = true;
    this.forgetPending();
  }

  /**
   * Ends the input, for now or for good: resolves when all audio pushed so far has been judged. Throws what detection
   * failed with; for a live call `Busy` is no fault: what was not judged is dropped, and more audio may come.
   */
  async finish(): Promise<void> {
    this.ending = true;
    this.unfinished = undefined;
    if (this.resampler) this.gateFrames(this.resampler.flush());
    this.resampler = undefined;
    this.dismissHeldBack();
    while (!this.fault && !this.stopped && (this.pumping || this.hasWork(1))) {
      this.pump(1);
      await this.pumping;
    }
    this.ending = false;
    const failure = this.fault ?? this.unfinished;
    if (failure) throw failure;
  }

  private countClipping({ samples, sampleRateHz }: PcmFrame): void {
    const blockSamples = Math.round((sampleRateHz * CLIPPING_BLOCK_MS) / 1000);
    for (let at = 0; at < samples.length; at += blockSamples) {
      const block = samples.subarray(at, at + blockSamples);
      this.wireQuality.push(block, exceeds(block, LOUD_AMPLITUDE));
    }
  }

  /**
   * Cuts resampled audio into detector frames and lets those through the gate that may hold speech. When it opens, the
   * frame before goes along: a word that begins faintly begins below the gate's threshold.
   */
  private gateFrames(samples: Float32Array): void {
    for (let at = 0; at < samples.length; ) {
      const taken = Math.min(this.frame.length - this.frameFill, samples.length - at);
      this.frame.set(samples.subarray(at, at + taken), this.frameFill);
      this.frameFill += taken;
      at += taken;
      if (this.frameFill < this.frame.length) return;
      this.frameFill = 0;
      if (this.gate.push(this.frame)) {
        if (this.holding) this.enqueue(this.heldBack, this.heldBackEndMs);
        this.holding = false;
        this.enqueue(this.frame, this.frameEndMs);
      } else {
        this.dismissHeldBack();
        [this.frame, this.heldBack] = [this.heldBack, this.frame];
        this.heldBackEndMs = this.frameEndMs;
        this.holding = true;
      }
    }
  }

  /** The frame held back is no beginning of anything: it counts as noise. */
  private dismissHeldBack(): void {
    if (this.holding) this.quality.push(this.heldBack, false);
    this.holding = false;
  }

  private enqueue(frame: Float32Array, endMs: number): void {
    const dropped = this.pending.push(frame) / frame.length;
    this.pendingEndsMs.push(endMs);
    this.pendingTimes.push(performance.now());
    if (dropped === 0) return;
    // The oldest that wait went, behind those that are being judged.
    this.pendingEndsMs.splice(this.unjudged, dropped);
    this.pendingTimes.splice(this.unjudged, dropped);
    this.options.onDropped?.(dropped);
  }

  /** Starts detection when at least `minFrames` wait and none is running. */
  private pump(minFrames: number): void {
    if (this.pumping || this.fault || this.stopped || !this.hasWork(minFrames)) return;
    this.pumping = this.detectPending(minFrames).then(
      () => {
        this.pumping = undefined;
      },
      (error: unknown) => {
        this.pumping = undefined;
        // Whoever stopped or aborted knows, and nobody waits for the outcome.
        if (this.stopped) return;
        const failure =
          error instanceof VoiceAuthError
            ? error
            : new VoiceAuthError('InternalError', 'Speech detection failed', { cause: error });
        if (this.isBusyCall(failure)) {
          this.unfinished = failure;
          this.dropPending();
          return;
        }
        this.fault = failure;
        this.options.onFault?.(failure);
      },
    );
  }

  private async detectPending(minFrames: number): Promise<void> {
    const frameSamples = this.frame.length;
    while (this.hasWork(minFrames) && !this.full) {
      const wanted = this.unjudged || Math.min(BATCH_FRAMES, Math.floor(this.pending.length / frameSamples));
      const batch = this.batch.subarray(0, wanted * frameSamples);
      if (this.unjudged === 0) this.pending.read(batch);
      this.unjudged = wanted;
      const probabilities = await this.detect(batch);
      if (!probabilities || this.stopped) return;
      this.unjudged = 0;
      probabilities.forEach((probability, index) => {
        this.judge(probability, batch.subarray(index * frameSamples, (index + 1) * frameSamples));
      });
      this.options.onSpeech?.();
    }
    // With the store full nothing more is needed of what waits.
    if (this.full) this.forgetPending();
  }

  private dropPending(): void {
    this.options.onDropped?.(this.pendingEndsMs.length);
    this.forgetPending();
  }

  private forgetPending(): void {
    this.pending.shift(this.pending.length);
    this.pendingEndsMs.length = 0;
    this.pendingTimes.length = 0;
    this.unjudged = 0;
  }

  /** Enough audio waits, or at the end a batch that the pool was too busy for. */
  private hasWork(minFrames: number): boolean {
    return this.pending.length >= minFrames * this.frame.length || (this.ending && this.unjudged > 0);
  }

  /** Undefined when the pool is busy and there will be another chance: the batch is kept and goes with the next audio. */
  private async detect(batch: Float32Array): Promise<Float32Array | undefined> {
    try {
      return await this.stream.detect(batch, this.options.inference);
    } catch (error) {
      // Uploads and ended calls are told; a call that goes on is listened to on.
      if (this.isBusyCall(error) && !this.ending) return undefined;
      throw error;
    }
  }

  private isBusyCall(error: unknown): boolean {
    return this.options.inference.priority === 'live' && isBusy(error);
  }

  private judge(probability: number, frame: Float32Array): void {
    this.speaking = probability >= (this.speaking ? SPEECH_OFF : SPEECH_ON);
    if (this.speaking) this.trailing = TRAILING_FRAMES;
    const kept = this.speaking || this.trailing-- > 0;
    this.quality.push(frame, kept);
    const endMs = this.pendingEndsMs.shift() ?? 0;
    const cameAt = this.pendingTimes.shift() ?? 0;
    if (!kept || this.speech.append(frame) === 0) return;
    this.keptEndsMs.push(endMs);
    this.keptTimes.push(cameAt);
  }

  /** Noise and clipping stay as measured so far: without its pauses the speech alone would seem free of both. */
  private beginWith({ speech: earlier, keptSince }: NonNullable<CallerSpeechOptions['continues']>): void {
    const first = earlier.keptTimes.findIndex((cameAt) => cameAt >= keptSince);
    // The last frame that a store has taken may be cut short.
    const end = Math.floor(earlier.speech.length / this.frame.length);
    if (first === -1 || first >= end) return;
    const samples = earlier.speech.view(first * this.frame.length, end * this.frame.length);
    this.speech.append(samples);
    this.keptTimes.push(...earlier.keptTimes.slice(first, end));
    this.keptEndsMs.push(...earlier.keptEndsMs.slice(first, end));
    this.callerMs = this.toMs(samples.length);
    this.callerSound.add(samples, this.options.detector.sampleRateHz);
    this.quality = earlier.quality;
    this.wireQuality = earlier.wireQuality;
  }

  private toMs(samples: number): number {
    return (samples / this.options.detector.sampleRateHz) * 1000;
  }
}

function exceeds(samples: Float32Array, amplitude: number): boolean {
  for (let i = 0; i < samples.length; i++) if (Math.abs(samples[i]!) > amplitude) return true;
  return false;
}
