import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { banner } from '../../../src/cli/banner.js';

const DATA_DIR = resolve('data');
const HERE = { url: 'http://127.0.0.1:8000', developmentKey: 'vak_dev_x' };

describe('banner', () => {
  it('suggests commands that find the server, its key and, by the number, the enrolled caller', () => {
    const text = banner(HERE, { host: '127.0.0.1', dataDir: DATA_DIR });
    expect(text).toMatch(/^ {4}npx voice-auth enroll -u \S+ -p \+15550100001 -f \S+$/m);
    expect(text).toMatch(/^ {4}npx voice-auth verify -u \S+ -f \S+$/m);
    expect(text).not.toMatch(/all addresses|DATA_DIR|--server/);
  });

  it('names data folder and port where they are not those that commands look in by themselves', () => {
    const elsewhere = { ...HERE, url: 'http://127.0.0.1:9001' };
    const text = banner(elsewhere, { host: '127.0.0.1', dataDir: '/srv/voice auth' });
    const commands = text.split('\n').filter((line) => line.includes('voice-auth '));
    expect(commands.filter((line) => line.includes('npx'))).toHaveLength(2);
    for (const line of commands.filter((one) => one.includes('npx'))) {
      expect(line).toMatch(/^ {4}DATA_DIR='\/srv\/voice auth' npx .* --server http:\/\/127\.0\.0\.1:9001$/);
    }
  });

  it.each(['0.0.0.0', '::'])('says that everybody can connect when it listens on %s', (host) => {
    const text = banner({ ...HERE, developmentKey: undefined }, { host, dataDir: DATA_DIR });
    expect(text).toMatch(/listening on all addresses, in plain HTTP; HOST=127\.0\.0\.1/);
    expect(text).not.toContain('Try in');
  });
});
