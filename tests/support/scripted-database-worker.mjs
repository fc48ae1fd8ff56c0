// Stands in for the database worker where a test needs one that dies or hangs on command: the statement says what to do.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';

const stuck = join(workerData.databaseDir, 'stuck');

parentPort.on('message', (request) => {
  if (request.kind === 'close') return parentPort.close();
  const { sql } = request.statements[0];
  if (sql === 'die for good') writeFileSync(stuck, '');
  if (sql.startsWith('die')) process.exit(7);
  if (sql === 'hang') for (;;);
  parentPort.postMessage({ kind: 'result', id: request.id, rows: [{ sql }] });
});
if (!existsSync(stuck)) parentPort.postMessage({ kind: 'ready', origin: 'existing', migrationsApplied: 0 });
