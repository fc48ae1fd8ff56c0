// A decoder thread with the protocol of `recordings/decode-worker` whose mood is set by the format of the job: for the tests
// of what happens when a thread hangs, dies or is slow.
import { parentPort } from 'node:worker_threads';

let held;

parentPort.on('message', (job) => {
  const decoded = {
    kind: 'decoded',
    recording: { channels: [new Float32Array(8)], sampleRateHz: 8000, format: job.format },
  };
  switch (job.format) {
    case 'mp3':
      for (;;);
    case 'flac':
      throw new Error('the decoder is broken');
    case 'ogg/vorbis':
      process.exit(1);
      break;
    case 'ogg/opus':
      held = decoded; // never answers, but does not block either
      break;
    default:
      parentPort.postMessage(held ?? decoded);
  }
});
parentPort.postMessage({ kind: 'ready' });
