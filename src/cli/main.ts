#!/usr/bin/env node
/** Entry of the command line: registers the verbs and turns errors into one line and an exit code. */
import { Command } from 'commander';
import { SERVICE_VERSION } from '../version.js';
import { registerCalibrate } from './calibrate.js';
import { registerCall } from './call.js';
import { registerCohort } from './cohort.js';
import { CommandError } from './command-error.js';
import { registerConfig } from './config.js';
import { registerDemo } from './demo.js';
import { describeError } from './describe-error.js';
import { registerEnroll } from './enroll.js';
import { registerEval } from './eval.js';
import { registerHistory } from './history.js';
import { registerKeys } from './keys.js';
import { registerModels } from './models.js';
import { registerServe } from './serve.js';
import { registerSimulate } from './simulate.js';
import { registerSimulateCall } from './simulate-call.js';
import { registerThreshold } from './threshold.js';
import { registerUsers } from './users.js';
import { registerVerify } from './verify.js';

const program = new Command('voice-auth')
  .description(
    'Caller authentication for voice agents: enroll a speaker, verify a live call. Voice is one signal, never the only factor.',
  )
  .version(SERVICE_VERSION)
  .showHelpAfterError('(see --help)');

for (const register of [
  registerServe,
  registerEnroll,
  registerVerify,
  registerHistory,
  registerUsers,
  registerCall,
  registerSimulate,
  registerSimulateCall,
  registerConfig,
  registerModels,
  registerCohort,
  registerCalibrate,
  registerKeys,
  registerEval,
  registerThreshold,
  registerDemo,
]) {
  register(program);
}

program.parseAsync().catch((error: unknown) => {
  if (process.argv.includes('--json')) {
    const body = (error instanceof CommandError && error.body) || {
      error: error instanceof Error ? error.name : 'Error',
      message: describeError(error),
    };
    process.stdout.write(`${JSON.stringify(body)}\n`);
  }
  process.stderr.write(`${describeError(error)}\n`);
  process.exitCode = 1;
});
