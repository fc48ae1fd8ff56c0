/**
 * What the server and an inference child say to each other over the IPC channel (advanced serialization, so typed arrays
 * travel as they are). The child keeps nothing between runs: everything a run needs comes with it.
 *
 * Requests for speech detection travel as batches, one message each way, and their samples and states each as one array.
 * A message of a single request to Silero (17 KB) costs about 0.065 ms at either end; of a batch of 16, 0.016 ms per request (0.019
 * with an array per request; 0.011 over a pipe of our own, which does not pay for a second protocol).
 */

import type { FbankOptions } from '../audio/fbank.js';

/** How a speech detector wants its audio. */
export interface DetectorLayout {
  readonly sampleRateHz: number;
  /** Samples that one probability is for. */
  readonly frameSamples: number;
  /** Samples of the past that every request begins with. */
  readonly contextSamples: number;
  /** Recurrent state that goes along with every request. */
  readonly stateValues: number;
}

/** Silero VAD v5 at 16 kHz: recurrent, frame after frame. */
export const SILERO_LAYOUT: DetectorLayout = {
  sampleRateHz: 16_000,
  frameSamples: 512,
  contextSamples: 64,
  stateValues: 2 * 128,
};

/**
 * `speech.onnx` of a model package: hears what came before (the last 0.68 s that was worth a look) with every request instead of
 * remembering it. With the eight frames that the service sends at a time, the network sees one second.
 */
export const SPEECH_GRAPH_LAYOUT: DetectorLayout = {
  sampleRateHz: 16_000,
  frameSamples: 640,
  contextSamples: 10_880,
  stateValues: 0,
};

export const DETECTOR_LAYOUTS = { silero: SILERO_LAYOUT, speech_graph: SPEECH_GRAPH_LAYOUT } as const;
export type DetectorKind = keyof typeof DETECTOR_LAYOUTS;

/** Where the probabilities of `speech.onnx` stand: the first's centre, and from one to the next, in samples. */
export const SPEECH_GRAPH_OUTPUT = { firstCentre: 200, step: 320 } as const;

/** Each kind of inference with what goes in and what comes out. */
export interface InferenceWork {
  embed: {
    /** Mono, model sample rate. */
    readonly input: { readonly waveform: Float32Array };
    /** Finite and of unit length: the child checks. */
    readonly output: { readonly embedding: Float32Array };
  };
  detect: {
    readonly input: {
      readonly frames: number;
      /** The context that the detector's layout asks for, then so many frames. */
      readonly samples: Float32Array;
      readonly state: Float32Array;
    };
    /** Arrays of their own, not views into a message. */
    readonly output: { readonly probabilities: Float32Array; readonly state: Float32Array };
  };
}

export type InferenceKind = keyof InferenceWork;
export type InferenceInput = { [K in InferenceKind]: { readonly kind: K } & InferenceWork[K]['input'] }[InferenceKind];
export type InferenceOutput = InferenceWork[InferenceKind]['output'];

/** The first message: what to load. Answered by `ready` or `failed`. */
export interface LoadRequest {
  readonly kind: 'load';
  readonly speaker: {
    readonly path: string;
    /** Names in the graph; null = its only one. */
    readonly inputTensor: string | null;
    readonly outputTensor: string | null;
    readonly embeddingSize: number;
    /** False = the child scales embeddings to length 1. */
    readonly unitLength: boolean;
    readonly sampleRateHz: number;
    /** What to compute from the waveform; undefined = the graph takes the waveform itself. */
    readonly fbank: FbankOptions | undefined;
    /** Length of the waveform that the child tries before it says it is ready. */
    readonly warmUpSamples: number;
  };
  readonly detector: { readonly kind: DetectorKind; readonly path: string };
}

/** Requests for speech detection that run together, one row each. */
export interface DetectBatch {
  readonly kind: 'detect';
  /** Frames of each row, most first, so that the rows that have a frame `k` are always the first ones. */
  readonly frames: readonly number[];
  /** Row after row: context, then frames. */
  readonly samples: Float32Array;
  /** Row after row. */
  readonly states: Float32Array;
}

/** Row after row; zeros stand for rows that have a fault. */
export interface DetectBatchOutput {
  readonly kind: 'detect';
  readonly probabilities: Float32Array;
  readonly states: Float32Array;
  /** One for each row. A row's fault does not touch the others. */
  readonly faults: readonly (InferenceFault | undefined)[];
}

/** What a child does at a time. */
export type RunInput = Extract<InferenceInput, { kind: 'embed' }> | DetectBatch;
export type RunOutput = ({ readonly kind: 'embed' } & InferenceWork['embed']['output']) | DetectBatchOutput;

export interface RunRequest {
  readonly kind: 'run';
  readonly id: number;
  readonly input: RunInput;
}

export type ParentMessage = LoadRequest | RunRequest;

/**
 * `unusable_input`: samples that are not numbers. `unusable_output`: the model ran, but gave something that is not a number
 * or not of unit length. `runtime`: it did not run. No data and no text of the runtime's.
 */
export type InferenceFault = 'unusable_input' | 'unusable_output' | 'runtime';

export type ChildMessage =
  | { readonly kind: 'ready' }
  /** Why loading failed. About the model file only: no audio has been seen yet. */
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'done'; readonly id: number; readonly output: RunOutput; readonly computeMs: number }
  /** Of the run as a whole. */
  | { readonly kind: 'fault'; readonly id: number; readonly fault: InferenceFault };
