/**
 * Stands where the inference child does, with a runtime that fails: on every batch of more than one row, and on a row whose
 * first sample is 0.5. Any other is answered with zeros.
 */
process.on('disconnect', () => process.exit(0));
process.on('message', (message) => {
  if (message.kind === 'load') {
    process.send({ kind: 'ready' });
    return;
  }
  const { id, input } = message;
  if (input.frames.length > 1 || input.samples[64] === 0.5) {
    process.send({ kind: 'fault', id, fault: 'runtime' });
    return;
  }
  const output = {
    kind: 'detect',
    probabilities: new Float32Array(input.frames[0]),
    states: new Float32Array(256),
    faults: [undefined],
  };
  process.send({ kind: 'done', id, output, computeMs: 1 });
});
