/** `voice-auth keys`: makes API keys and template encryption keys for a deployment, and replaces the latter. */
import { type Command, Option } from 'commander';
import { createApiKey, SCOPES, type Scope } from '../http/api-keys.js';
import { createEncryptionKeyEntry } from '../storage/template-cipher.js';
import { CommandError } from './command-error.js';
import { printResult } from './output.js';
import { type RotateOptions, rotateKeys } from './rotate-keys.js';

export function registerKeys(program: Command): void {
  const keys = program.command('keys').description('make keys for a deployment, replace the encryption key');
  keys
    .command('create')
    .description('make an API key; only its hash goes into API_KEYS')
    .requiredOption('--id <name>', 'name of the key, for logs and the audit trail (letters, digits, -)')
    .addOption(
      new Option('--scope <scopes...>', `what it may do: ${SCOPES.join(', ')}`).default(['enroll', 'verify', 'read']),
    )
    .option('--json', 'print as one line of JSON')
    .action((options: { id: string; scope: string[]; json?: boolean }) => {
      const unknown = options.scope.filter((scope) => !SCOPES.includes(scope as Scope));
      if (unknown.length > 0)
        throw new CommandError(`Unknown scope ${unknown.join(', ')}; there are ${SCOPES.join(', ')}`);
      const { key, entry } = createApiKey(options.id, options.scope as Scope[]);
      printResult(
        options.json === true,
        { key, entry },
        `API key, shown only now:\n  ${key}\nEntry for API_KEYS (comma-separated with others):\n  ${entry}`,
      );
    });
  keys
    .command('encryption')
    .description('make an entry for EMBEDDING_ENCRYPTION_KEYS')
    .option('--json', 'print as one line of JSON')
    .action((options: { json?: boolean }) => {
      const entry = createEncryptionKeyEntry();
      printResult(options.json === true, { entry }, entry);
    });
  keys
    .command('rotate')
    .description(
      "encrypt voiceprints and samples of older keys with the first of EMBEDDING_ENCRYPTION_KEYS, in the deployment's own storage",
    )
    .option('--dry-run', 'read and count them, write nothing')
    .option('--json', 'print as one line of JSON')
    .addHelpText(
      'after',
      '\nWith the embedded database the server must be stopped. Interrupted, it goes on when it is run again.',
    )
    .action((options: RotateOptions) => rotateKeys(options));
}
