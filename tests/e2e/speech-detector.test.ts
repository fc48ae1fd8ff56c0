/** Which speech detector a server runs, and what it says when its calibration was fitted with the other one. */
import { expect, it } from 'vitest';
import { fetchText, startLocalService } from '../support/local-service.js';

interface Component {
  readonly detail?: { readonly speechDetector?: string };
}

async function startWith(environment: Record<string, string>): Promise<{ detector: unknown; warnings: string[] }> {
  const service = await startLocalService(environment);
  try {
    const { components } = JSON.parse(await fetchText(service, '/api/v1/health')) as {
      components: readonly Component[];
    };
    const model = components.find(({ detail }) => detail?.speechDetector !== undefined);
    const warnings = service.server
      .output()
      .split('\n')
      .filter((line) => line.includes('"other_speech_detector"'));
    return { detector: model?.detail?.speechDetector, warnings };
  } finally {
    await service.close();
  }
}

it('is the one of the model package, which its calibration was fitted with', async () => {
  expect(await startWith({})).toEqual({ detector: 'speech_graph', warnings: [] });
});

it('is Silero where that is chosen, with a warning that the calibration is for another', async () => {
  const { detector, warnings } = await startWith({ SPEECH_DETECTOR: 'silero' });
  expect(detector).toBe('silero');
  expect(warnings).toHaveLength(1);
  expect(JSON.parse(warnings[0]!)).toMatchObject({ level: 40, running: 'silero' });
});
