/** How long the figures of an evaluation take: `npx tsx bench/evaluation.ts [--trials 21170] [--resamples 1000]`. */
import { parseArgs } from 'node:util';
import { measure } from '../src/evaluation/measure.js';
import { randomGenerator } from '../src/evaluation/random.js';

const { values } = parseArgs({
  options: { trials: { type: 'string', default: '21170' }, resamples: { type: 'string', default: '1000' } },
});
const SPEAKERS = 63;
const TARGETS_IN_ALL = 0.046;
const random = randomGenerator(1);
const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
const speaker = () => `s${Math.floor(random() * SPEAKERS)}`;
const trials = Array.from({ length: Number(values.trials) }, () => {
  const target = random() < TARGETS_IN_ALL;
  const enrolled = speaker();
  return { target, enrolled, tested: target ? enrolled : speaker(), score: normal() + (target ? 1.7 : 0) };
}).filter(({ target, enrolled, tested }) => target === (enrolled === tested));

const startedMs = performance.now();
const { eer } = measure(
  {
    scores: trials.map(({ score }) => score),
    isTarget: trials.map(({ target }) => target),
    enrollSpeakers: trials.map(({ enrolled }) => enrolled),
    testSpeakers: trials.map(({ tested }) => tested),
  },
  { areLlrs: true, bootstrap: { resamples: Number(values.resamples), seed: 1 } },
);
const seconds = (performance.now() - startedMs) / 1000;
console.log(
  `${trials.length} trials, ${values.resamples} resamples, all figures: ${seconds.toFixed(2)} s ` +
    `(EER ${(100 * eer!.value).toFixed(1)} %, ${(100 * eer!.interval!.low).toFixed(1)} to ${(100 * eer!.interval!.high).toFixed(1)})`,
);
