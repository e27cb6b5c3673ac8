// The device key: made once, kept, and set aside when its file holds no key.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deviceIdentity, type DeviceIdentity } from '../../../agent/identity/identity.js';
import { NodeDisk } from '../../../agent/platform/disk.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { silentLog, type Log } from '../../../shared/base/interfaces.js';
import { realRandom } from '../../../shared/platform/clock.js';

let dataDir: string;
let path: string;
let advice: string[];

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'linnet-identity-'));
  path = join(dataDir, 'identity.json');
  advice = [];
});
afterEach(() => rmSync(dataDir, { recursive: true }));

const log: Log = { ...silentLog, error: (_fields, message) => advice.push(message) };
const identity = (): Promise<DeviceIdentity> =>
  deviceIdentity({ disk: new NodeDisk(), dataDir, random: realRandom, log });

describe('a device key', () => {
  it('second_start_has_the_same_key_and_id', async () => {
    const first = await identity();
    const second = await identity();
    expect(second.id).toBe(first.id);
    expect(second.key.publicKey).toEqual(first.key.publicKey);
    expect(advice).toEqual([]);
  });

  const seed = 'a'.repeat(64);
  const damaged: Record<string, () => void> = {
    empty: () => writeFileSync(path, ''),
    torn: () => writeFileSync(path, '{"format":"linnet.identity/1","seed":"ab'),
    another_format: () => writeFileSync(path, `{"format":"linnet.key/1","seed":"${seed}"}`),
    short_seed: () => writeFileSync(path, '{"format":"linnet.identity/1","seed":"ab"}'),
    not_utf8: () => writeFileSync(path, Buffer.from([0xff, 0xfe, 0x00])),
    too_long: () => writeFileSync(path, ' '.repeat(5000)),
    folder: () => mkdirSync(path),
    fifo: () => execFileSync('mkfifo', [path]),
  };
  for (const [situation, damage] of Object.entries(damaged)) {
    it(`${situation}_file_is_set_aside_and_the_advice_is_to_enrol_again`, async () => {
      const before = await identity();
      rmSync(path);
      damage();
      const after = await identity();
      expect(after.id).not.toBe(before.id);
      expect(advice).toHaveLength(1);
      expect(advice[0]).toMatch(/identity\.json\.damaged.*enrol it again.*linnet device/);
      expect((await identity()).id).toBe(after.id);
      expect(advice).toHaveLength(1);
    });
  }

  it('damaged_file_is_kept_for_analysis', async () => {
    writeFileSync(path, '{"format":"linnet.identity/1","seed":"ab');
    await identity();
    expect(readFileSync(`${path}.damaged`, 'utf8')).toBe(
      '{"format":"linnet.identity/1","seed":"ab',
    );
  });

  it('file_that_may_not_be_read_is_left_alone', async () => {
    const denied = new NodeDisk();
    denied.read = () =>
      Promise.reject(
        new Fault('disk_failed', 'cannot read', {
          cause: Object.assign(new Error('denied'), { code: 'EACCES' }),
        }),
      );
    writeFileSync(path, 'kept');
    chmodSync(path, 0o600);
    await expect(
      deviceIdentity({ disk: denied, dataDir, random: realRandom, log }),
    ).rejects.toMatchObject({ code: 'disk_failed' });
    expect(readFileSync(path, 'utf8')).toBe('kept');
  });
});
