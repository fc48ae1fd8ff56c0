/** `voice-auth call`: how a running call stands. */
import { Argument, type Command } from 'commander';
import { CALL_PLATFORMS } from '../domain/calls/calls.js';
import { ApiClient } from './client.js';
import { addServerOptions, type ServerOptions } from './common-options.js';
import { printResult } from './output.js';
import { describeCall } from './simulated-call.js';

export function registerCall(program: Command): void {
  const command = program
    .command('call')
    .description('how a running call stands: speech heard, comparisons made')
    .addArgument(new Argument('<platform>', 'where its audio comes from').choices(CALL_PLATFORMS))
    .argument('<id>', 'id of the call, as the platform names it');
  addServerOptions(command).action(async (platform: string, id: string, options: ServerOptions) => {
    const status = await new ApiClient(options).get(`/api/v1/calls/${platform}/${encodeURIComponent(id)}`);
    printResult(options.json === true, status, describeCall(status));
  });
}
