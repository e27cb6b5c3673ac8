// Databases that older versions left in the middle of a rollout (test/fixtures/schema): this server
// migrates them, and the rollout goes on. On PostgreSQL the same rows are put there first.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openExport } from '../../../server/store/database-export.js';
import { DatabaseImport } from '../../../server/store/database-import.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import type { ServerSettings } from '../../../server/config.js';
import { initServer } from '../../../server/main.js';
import { openFleet, publish, withoutPassword } from '../../support/fleet-server.js';
import { memberCountsIn } from '../../support/member-counts.js';
import {
  fixtureDevice,
  fixtureRepository,
  fixtureSettings,
  GATES,
  writeFixture,
} from '../../support/schema-fixtures.js';
import {
  isCompleted,
  ScriptedDevice,
  startScriptedRollout,
  turnsUntil,
} from '../../support/scripted-devices.js';
import { tempFolder } from '../../support/temp-folders.js';
import { openTestStore, testTarget } from '../../support/test-store.js';

/** The files of the repository, which publishing by a server of today makes. */
async function publishAgain(folder: string): Promise<void> {
  await fixtureRepository(folder);
  const settings = fixtureSettings(folder, 'scratch');
  const target = await testTarget(join(settings.data_dir, 'fleet.sqlite'));
  const places = onTarget(settings, target);
  const scratch = await openFleet(folder, places, await initServer(places), silentLog);
  await publish(scratch, '1.0.0');
  await publish(scratch, '1.1.0');
  await scratch.store.close();
  await scratch.server.close();
}

const onTarget = (
  settings: ServerSettings,
  target: Awaited<ReturnType<typeof testTarget>>,
): ServerSettings =>
  typeof target === 'string' ? settings : { ...settings, database: withoutPassword(target.url) };

it.each(['0001_first'])(
  'a_rollout_that_was_under_way_in_a_database_of_%s_goes_on_after_the_upgrade',
  async (step) => {
    const folder = tempFolder();
    await publishAgain(folder);
    const settings = fixtureSettings(folder, 'data');
    mkdirSync(settings.data_dir);
    const file = join(settings.data_dir, 'fleet.sqlite');
    const target = await testTarget(file, { isEmpty: true });
    const old = typeof target === 'string' ? file : join(folder, 'old.sqlite');
    const adminToken = writeFixture(step, old);
    const rows = await openExport(old);
    expect(rows.schema).toBe(step);
    if (typeof target !== 'string') {
      const filling = await DatabaseImport.open(target, step);
      await filling.fill(rows.parts(), () => {});
      await filling.close();
    }
    await rows.close();

    const fleet = await openFleet(folder, onTarget(settings, target), adminToken, silentLog);
    const store = await openTestStore(file);
    expect((await fleet.store.audit.verify()).brokenAt).toBeNull();
    const counts = await memberCountsIn(store);
    expect(counts.kept).toEqual(counts.real);
    const statuses = await store.db.selectFrom('devices').select(['id', 'status']).execute();
    const statusOf = new Map(statuses.map(({ id, status }) => [id, status]));
    expect(statusOf.get(fixtureDevice(GATES).id)).toBe('revoked');
    expect(statusOf.get(fixtureDevice(GATES + 1).id)).toBe('pending');

    const devices = Array.from({ length: GATES }, (_, n) => ScriptedDevice.of(fixtureDevice(n)));
    for (const [n, device] of devices.entries()) {
      await device.connectAs(fleet, n === 0 ? '1.1.0' : '1.0.0');
    }
    const { rollouts } = fleet.store;
    const [active] = await rollouts.active();
    expect(active?.release.version).toBe('1.1.0');
    await turnsUntil(devices, () => isCompleted(fleet, active?.id ?? ''));
    await publish(fleet, '1.2.0');
    const id = await startScriptedRollout(fleet, '1.2.0');
    await turnsUntil(devices, () => isCompleted(fleet, id));
    expect(devices.map(({ running }) => running?.version)).toEqual([
      '1.2.0',
      '1.2.0',
      '1.2.0',
      '1.2.0',
    ]);
    for (const device of devices) await device.disconnect();
    await store.close();
    await fleet.close();
  },
);
