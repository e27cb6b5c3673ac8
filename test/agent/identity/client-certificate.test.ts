// The client certificate of a device: made once, kept whole, renewed at two thirds of its life, and
// made anew for another CA or after damage.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ClientCertificate } from '../../../agent/identity/client-certificate.js';
import type { Fetcher } from '../../../agent/interfaces.js';
import { NodeDisk } from '../../../agent/platform/disk.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';

const CA = 'ab'.repeat(32);
const LIFE_MS = 90 * 86_400_000;

let dataDir: string;
let now: number;
let asked: number;
let isUp: boolean;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'linnet-client-certificate-'));
  now = 1_800_000_000_000;
  asked = 0;
  isUp = true;
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

async function start(authority = CA): Promise<ClientCertificate> {
  const fetcher = {
    post: () => {
      if (!isUp) return Promise.reject(new Fault('server_unreachable', 'down'));
      asked += 1;
      const certificate = `certificate ${asked}`;
      return Promise.resolve({ certificate, issuedAt: now, expiresAt: now + LIFE_MS });
    },
  } as unknown as Fetcher;
  const certificate = new ClientCertificate({
    device: 'dev-1',
    disk: new NodeDisk(),
    dataDir,
    fetcher,
    clock: { ...realClock, now: () => now },
    random: { ...realRandom, fraction: () => 0.5 },
    log: silentLog,
  });
  await certificate.load(authority);
  await certificate.renew(authority);
  return certificate;
}

test('a_restart_keeps_key_and_certificate', async () => {
  const first = (await start()).current();
  expect((await start()).current()).toEqual(first);
  expect(asked).toBe(1);
});

test('it_is_renewed_at_two_thirds_of_its_life_and_used_until_then', async () => {
  const certificate = await start();
  now += LIFE_MS * 0.6;
  await certificate.renew(CA);
  expect(asked).toBe(1);
  now += LIFE_MS * 0.07;
  isUp = false;
  await certificate.renew(CA);
  expect(certificate.current()?.cert).toBe('certificate 1');
  isUp = true;
  await certificate.renew(CA);
  expect(certificate.current()?.cert).toBe('certificate 2');
});

test('another_ca_or_a_damaged_file_makes_a_new_one', async () => {
  await start();
  expect((await start('cd'.repeat(32))).current()?.cert).toBe('certificate 2');
  await writeFile(join(dataDir, 'client-certificate.json'), 'torn');
  expect((await start()).current()?.cert).toBe('certificate 3');
});
