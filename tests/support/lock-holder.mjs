// Takes the lock of the folder given and says how that went; holds it until its standard input ends.
import { lockDirectory } from '../../dist/storage/directory-lock.js';

try {
  const lock = await lockDirectory(process.argv[2]);
  process.stdout.write('locked\n');
  process.stdin.resume();
  process.stdin.on('end', async () => {
    await lock.release();
    process.stdout.write('released\n');
  });
} catch (error) {
  process.stdout.write(`${error.name}: ${error.message}\n`);
}
