// Packs a database with all migrations applied beside the compiled embedded database, for a quick first start. Part of
// `npm run build`, after the compiler. Does nothing when the snapshot already fits the migrations.
import { fileURLToPath } from 'node:url';
import { readMigrations, schemaChecksum } from '../dist/storage/embedded/migrations.js';
import { readSnapshot, writeSnapshot } from '../dist/storage/embedded/snapshot.js';

const snapshotFile = fileURLToPath(new URL('../dist/storage/embedded/snapshot.tar.gz', import.meta.url));
const migrationsDir = fileURLToPath(new URL('../supabase/migrations/', import.meta.url));

const startedAt = performance.now();
if (await readSnapshot(snapshotFile, schemaChecksum(await readMigrations(migrationsDir)))) {
  console.log('database snapshot: up to date');
} else {
  const { bytes } = await writeSnapshot(snapshotFile, migrationsDir);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`database snapshot: ${(bytes / 1e6).toFixed(1)} MB in ${seconds} s`);
}
