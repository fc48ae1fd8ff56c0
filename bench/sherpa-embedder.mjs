/**
 * sherpa-onnx's speaker-embedding extractor in a process of its own, as bench/embed drives it: one thread, one window after
 * another, its own filter bank in front of the same network. Argument: the model cut by scripts/export-for-sherpa.py.
 */
import sherpa from 'sherpa-onnx-node';

const SAMPLE_RATE_HZ = 16_000;
const extractor = new sherpa.SpeakerEmbeddingExtractor({ model: process.argv[2], numThreads: 1, provider: 'cpu' });

function embed(samples) {
  const stream = extractor.createStream();
  stream.acceptWaveform({ sampleRate: SAMPLE_RATE_HZ, samples });
  stream.inputFinished();
  return extractor.compute(stream, false);
}

process.on('disconnect', () => process.exit(0));
process.on('message', ({ samples, measureMs }) => {
  // A view of the channel's buffer; sherpa's own array is what a program of its own would give it.
  const window = samples.slice();
  const embedding = embed(window);
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  let count = 0;
  while (performance.now() - startedMs < measureMs) {
    embed(window);
    count++;
  }
  const { user, system } = process.cpuUsage(cpu);
  process.send({ embedding, count, elapsedMs: performance.now() - startedMs, cpuMs: (user + system) / 1000 });
});
process.send({ ready: true });
