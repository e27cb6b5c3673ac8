// The drill of docs/operations.md: a backup while devices take a release, the loss of the server
// some time later, a restore on other machines, and the fleet goes on.
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { backupServer, restoreServer } from '../../../server/backup-main.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { openFleet, publish, startFleet, type TestFleet } from '../../support/fleet-server.js';
import { memberCountsIn } from '../../support/member-counts.js';
import { emptyPlaces } from '../../support/restored-fleet.js';
import {
  isCompleted,
  ScriptedDevice,
  startScriptedRollout,
  turnsUntil,
} from '../../support/scripted-devices.js';
import { tempFolder } from '../../support/temp-folders.js';
import { openTestStore } from '../../support/test-store.js';
import { isWhole } from '../../support/whole.js';

const DEVICES = 5;
let fleet: TestFleet;
let restored: TestFleet | null = null;
let devices: ScriptedDevice[] = [];

beforeAll(async () => {
  fleet = await startFleet();
  await publish(fleet, '1.0.0');
  await publish(fleet, '1.1.0');
  devices = [];
  for (let n = 0; n < DEVICES; n += 1) devices.push(await ScriptedDevice.enrol(fleet, `gate-${n}`));
});
afterAll(async () => {
  for (const device of devices) await device.disconnect();
  await restored?.close();
});

const takers = (version: string): number =>
  devices.filter(({ running }) => running?.version === version).length;

it.skipIf(!isWhole)(
  'the_fleet_goes_on_with_a_server_that_was_restored_from_a_backup_of_the_one_that_ran',
  async () => {
    const first = await startScriptedRollout(fleet, '1.0.0');
    await turnsUntil(devices, () => isCompleted(fleet, first));
    const second = await startScriptedRollout(fleet, '1.1.0');
    await turnsUntil(devices.slice(0, 1), () => takers('1.1.0') === 1);
    const file = join(tempFolder(), 'fleet.tar');
    let isWritten = false;
    const backup = backupServer(fleet.settings, { out: file, keys: true, artifacts: true });
    void backup.finally(() => (isWritten = true)).catch(() => {});
    await turnsUntil(devices.slice(0, 1), () => isWritten);
    await backup;
    // What the server does from here on is lost with it; the devices remember.
    await turnsUntil(devices.slice(0, 3), () => takers('1.1.0') === 3);
    for (const device of devices) await device.disconnect();
    await fleet.store.close();
    await fleet.server.close();

    const places = await emptyPlaces(fleet);
    await restoreServer(places, file);
    const store = await openTestStore(join(places.data_dir, 'fleet.sqlite'));
    const { kept, real } = await memberCountsIn(store);
    expect(kept).toEqual(real);
    await store.close();

    restored = await openFleet(fleet.folder, places, fleet.adminToken, silentLog);
    for (const device of devices) await device.connect(restored);
    const after = restored;
    expect(takers('1.1.0')).toBe(3);
    await turnsUntil(devices, () => isCompleted(after, second));
    expect(takers('1.1.0')).toBe(DEVICES);
    const counts = await memberCountsIn(after.store);
    expect(counts.kept).toEqual(counts.real);

    await publish(after, '1.2.0');
    const third = await startScriptedRollout(after, '1.2.0');
    await turnsUntil(devices, () => isCompleted(after, third));
    expect(takers('1.2.0')).toBe(DEVICES);
  },
);
