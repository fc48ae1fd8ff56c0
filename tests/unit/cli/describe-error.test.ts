import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { expect, it } from 'vitest';
import { describeError } from '../../../src/cli/describe-error.js';
import { VoiceAuthError } from '../../../src/domain/errors.js';
import { ModelPackageError } from '../../../src/embedder/model-package.js';

it('names a port that is in use', async () => {
  const owner = createServer().listen(0, '127.0.0.1');
  await once(owner, 'listening');
  const { port } = owner.address() as AddressInfo;
  const second = createServer().listen(port, '127.0.0.1');
  const [error] = await once(second, 'error');
  owner.close();
  expect(describeError(error)).toBe(`Port ${port} is in use: set PORT to another one (0 = any free port)`);
});

it('tells of a model package what is wrong with it, without a code of the API', () => {
  expect(describeError(new ModelPackageError('There is no model package'))).toBe('There is no model package');
  expect(describeError(new VoiceAuthError('Busy', 'Later'))).toBe('Busy: Later');
});
