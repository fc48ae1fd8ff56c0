/** `voice-auth config`: every setting, where it stands, secrets hidden. */
import type { Command } from 'commander';
import { describeEnvironment, loadConfig } from '../config/config.js';
import { printResult, table } from './output.js';

export function registerConfig(program: Command): void {
  program
    .command('config')
    .description('check the configuration and print it, secrets hidden')
    .option('--json', 'print as one line of JSON')
    .action((options: { json?: boolean }) => {
      loadConfig();
      const settings = describeEnvironment();
      const rows = settings.map(({ name, value, source, description }) => [name, value, source, description]);
      printResult(options.json === true, settings, table(['variable', 'value', 'from', 'what it is'], rows));
    });
}
