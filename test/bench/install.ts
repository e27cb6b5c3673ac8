// Verify + install of a 100 MB release from local disk by the real update machine (fetch from a
// file:// mirror, verification of every byte from disk, spare slot laid out and fsynced), against
// the floor: read, SHA-256, write, fsync, rename in plain Node. Rounds alternate, so that a slow
// disk slows both.
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HttpFetcher } from '../../agent/platform/fetcher.js';
import { NodeDisk } from '../../agent/platform/disk.js';
import { UpdateDriver } from '../../agent/update/driver.js';
import { Troubles } from '../../agent/update/troubles.js';
import { ModelHandler } from '../../agent/update/payload/model.js';
import { silentLog } from '../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import { sha256 } from '../../shared/base/bytes.js';
import { assignmentFor, ring, simRelease, type SimRelease } from '../sim/release.js';
import { median, print, type BenchResult } from './inference.js';

const MB = 1_000_000;
const RELEASE_BYTES = 100 * MB;
const ROUNDS = 5;
const CHUNK_BYTES = 1024 * 1024;

/** What every installation must do: read, hash, write, make durable, rename. */
async function floor(source: string, folder: string): Promise<number> {
  const begun = performance.now();
  const from = await open(source, 'r');
  const temp = join(folder, 'floor.tmp');
  const to = await open(temp, 'w');
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  for (;;) {
    const { bytesRead } = await from.read(chunk, 0, CHUNK_BYTES);
    if (bytesRead === 0) break;
    hash.update(chunk.subarray(0, bytesRead));
    await to.write(chunk, 0, bytesRead);
  }
  hash.digest('hex');
  await to.sync();
  await to.close();
  await from.close();
  await rename(temp, join(folder, 'floor'));
  const ms = performance.now() - begun;
  rmSync(join(folder, 'floor'));
  return ms;
}

/** From the assignment to the release verified, laid out and durable in the spare slot. */
async function install(release: SimRelease, mirror: string, folder: string): Promise<number> {
  const disk = new NodeDisk();
  const fetcher = new HttpFetcher({
    server: 'http://127.0.0.1:9',
    mirrors: [`file://${mirror}`],
    authorization: () => Promise.resolve(null),
    clock: realClock,
  });
  const notHere = (): never => {
    throw new Error('the bench ends before the payload is used');
  };
  const runtime = {
    probe: notHere,
    rehearse: notHere,
    serve: notHere,
    shadow: notHere,
    restart: notHere,
    shadowEvidence: () => null,
    stop: () => Promise.resolve(),
    evidence: () => null,
    standing: () => ({ conditions: [], crashLoop: null }),
  };
  const resources = { memoryAvailableBytes: () => Promise.resolve(Number.MAX_SAFE_INTEGER) };
  const driver = new UpdateDriver({
    component: 'digits',
    hardware: 'sim',
    folder: join(folder, 'component'),
    disk,
    fetcher,
    handlers: [new ModelHandler({ runtime, resources })],
    clock: realClock,
    random: realRandom,
    log: silentLog,
    ring: () => ring,
    acceptanceRing: () => ring,
    reporter: { report: () => {} },
    troubles: new Troubles({ clock: realClock }),
    directorVersion: () => 0,
    opensAt: () => null,
    fetchEnvelope: () => Promise.resolve(release.envelope),
  });
  await driver.start();
  const begun = performance.now();
  driver.assign(assignmentFor(release, 1));
  while (driver.record.state !== 'staged') {
    await driver.tick();
    if (driver.record.outcome !== null) throw new Error(driver.record.outcome.detail);
  }
  const ms = performance.now() - begun;
  fetcher.close();
  rmSync(folder, { recursive: true, force: true });
  return ms;
}

export async function run(): Promise<BenchResult> {
  // Beside the project, not in /tmp, which may be memory.
  const base = fileURLToPath(new URL('../../../.linnet/', import.meta.url));
  mkdirSync(base, { recursive: true });
  const root = mkdtempSync(join(base, 'bench-'));
  try {
    const body = new Uint8Array(randomBytes(RELEASE_BYTES));
    const release = simRelease('1.0.0', { body });
    const files = join(root, 'mirror', 'repo', 'image', 'files');
    mkdirSync(files, { recursive: true });
    for (const [digest, bytes] of release.files) writeFileSync(join(files, digest), bytes);
    const source = join(files, sha256(body));
    const rounds: { floor: number; install: number }[] = [];
    for (let round = 0; round <= ROUNDS; round += 1) {
      const one = {
        floor: await floor(source, root),
        install: await install(release, join(root, 'mirror'), join(root, `device-${round}`)),
      };
      if (round > 0) rounds.push(one); // The first warms the cache.
    }
    return {
      name: 'Verify + install of a 100 MB release from local disk against the plain-Node floor',
      rows: [
        {
          what: 'floor: read, SHA-256, write, fsync, rename (median)',
          value: median(rounds.map((one) => one.floor)),
          unit: 'ms',
        },
        {
          what: 'install: fetch, verify, lay out (median)',
          value: median(rounds.map((one) => one.install)),
          unit: 'ms',
        },
        {
          what: 'install / floor (median of the rounds)',
          value: median(rounds.map((one) => one.install / one.floor)),
          unit: 'x',
          aim: '<= 2x',
        },
      ],
    };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) print(await run());
