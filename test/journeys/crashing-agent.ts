// A real agent whose plug is pulled: `node crashing-agent.js CONFIG STATE before|after` runs the
// agent as `linnet agent` would, on a disk that kills the process (SIGKILL) just before or just
// after the update record says STATE for an assignment that is newer than the one at the start (or,
// for `idle`, says its outcome).
import { readFileSync } from 'node:fs';
import { agentSettings } from '../../agent/config.js';
import { startAgent } from '../../agent/main.js';
import { NodeDisk } from '../../agent/platform/disk.js';
import { decodeRecord } from '../../agent/update/record.js';
import { silentLog } from '../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';

const [config = '', state = '', when = ''] = process.argv.slice(2);

class DyingDisk extends NodeDisk {
  /** Of the record that the agent found at its start. */
  #first: number | null = null;

  override async read(path: string, maxBytes: number): Promise<Uint8Array | null> {
    const bytes = await super.read(path, maxBytes);
    if (bytes !== null && path.endsWith('/record.json')) {
      const record = decodeRecord(bytes);
      if (!('unreadable' in record)) this.#first ??= record.assignmentId;
    }
    return bytes;
  }

  override async replace(path: string, bytes: Uint8Array): Promise<void> {
    const record = path.endsWith('/record.json') ? decodeRecord(bytes) : null;
    const dies =
      record !== null &&
      !('unreadable' in record) &&
      record.assignmentId > (this.#first ?? 0) &&
      record.state === state &&
      (state !== 'idle' || record.outcome !== null);
    if (dies && when === 'before') process.kill(process.pid, 'SIGKILL');
    await super.replace(path, bytes);
    if (dies && when === 'after') process.kill(process.pid, 'SIGKILL');
  }
}

const agent = await startAgent(agentSettings(readFileSync(config, 'utf8'), process.env), {
  clock: realClock,
  random: realRandom,
  log: silentLog,
  disk: new DyingDisk(),
});
process.once('SIGTERM', () => void agent.close().then(() => process.exit(0)));
await agent.running;
