/** Results of an evaluation as the room that renders them takes them, with round numbers. */
import { type Results, resultsSchema } from '../../src/evaluation/results.js';

export function toyResults(): Results {
  const estimate = (value: number) => ({ value, low: value * 0.75, high: value * 1.25 });
  const system = (name: 'cosine' | 'as-norm' | 'calibrated', eer: number) => ({
    system: name,
    targets: 984,
    nontargets: 20_186,
    measures: {
      eer: estimate(eer),
      'minDcf@0.05': estimate(0.7),
      'minDcf@0.01': estimate(0.9),
      minCllr: estimate(0.5),
      'pMiss@0.1': estimate(0.4),
      'pMiss@0.01': estimate(0.6),
      'pMiss@0.001': estimate(0.8),
      ...(name === 'calibrated' ? { cllr: estimate(0.55) } : {}),
    },
    det: [
      [1, 0],
      [0.5, 0.05],
      [eer, eer],
      [0.01, 0.6],
      [0, 1],
    ],
    histogram: { from: -4, to: 6, targets: [0, 0.1, 0.4, 0.5], nontargets: [0.5, 0.4, 0.1, 0] },
  });
  const systems = [system('cosine', 0.22), system('as-norm', 0.2), system('calibrated', 0.2)];
  return resultsSchema.parse({
    formatVersion: 2,
    createdAt: '2026-01-02T03:04:05.000Z',
    serviceVersion: '0.1.0',
    command: 'voice-auth eval run --data calls --out <folder>',
    model: { id: 'toy-model', sha256: 'ab'.repeat(32), fittedOn: 'these very calls' },
    settings: { resamples: 1000, seed: 1, maxSpeechMs: 120_000, degraded: 'test' },
    corpora: [
      {
        name: 'calls',
        speakers: 63,
        recordings: 147,
        unusable: 1,
        sessionsKnown: true,
        conditions: [
          { name: 'as-is, first-15 against all', degradation: 'as-is', enroll: 'first-15', test: 'all', systems },
          { name: 'gsm, first-15 against last-3', degradation: 'gsm', enroll: 'first-15', test: 'last-3', systems },
        ],
        decisions: [
          {
            condition: 'all conditions',
            pTarget: 0.05,
            targets: 1968,
            nontargets: 40_372,
            systems: (['cosine', 'as-norm', 'calibrated'] as const).map((name) => ({
              system: name,
              pMiss: estimate(0.7),
              pFa: estimate(0.004),
              actDcf: estimate(0.8),
              saved: estimate(0.1),
            })),
          },
        ],
        claims: [
          {
            calibration: 'shipped',
            nontargets: 20_186,
            points: [0.1, 0.01, 0.001].map((claimed) => ({ claimed, observed: estimate(claimed * 0.9) })),
          },
        ],
        live: [
          {
            calibration: 'cross-validated',
            targets: 984,
            nontargets: 10_000,
            owners: 62,
            rows: [0.7, 0.82].map((threshold) => ({
              threshold,
              claimed: (1 - threshold) ** 3,
              observed: estimate(0.006),
              ownersAccepted: estimate(0.4),
              eachOwnerAccepted: estimate(0.32),
              medianSpeechS: 4,
              perOwner: { mean: 0.008, ninthTenth: 0.025, matched: 0.3 },
              acceptedAfter: [
                { seconds: 3, share: estimate(0.2) },
                { seconds: 10, share: estimate(0.3) },
              ],
              curve: [
                [2, 0.1],
                [10, 0.3],
                [29.5, 0.4],
              ],
            })),
          },
        ],
      },
    ],
    notes: ['The condition opus-8k was skipped: ffmpeg is not installed.'],
  });
}
