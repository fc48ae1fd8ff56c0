// Stands in for the database worker where a test needs one that dies or hangs on command: the statement says what to do.
import { parentPort } from 'node:worker_threads';

parentPort.on('message', (request) => {
  if (request.kind === 'close') return parentPort.close();
  const { sql } = request.statements[0];
  if (sql === 'die') process.exit(7);
  if (sql === 'hang') for (;;);
  parentPort.postMessage({ kind: 'result', id: request.id, rows: [{ sql }] });
});
parentPort.postMessage({ kind: 'ready', origin: 'existing', migrationsApplied: 0 });
