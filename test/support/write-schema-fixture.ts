// Writes test/fixtures/schema/STEP.sql: the database of a small fleet in the middle of a rollout,
// by the server of this version, whose last schema step is STEP. `npm run fixture:schema` runs it;
// do that before a release, and never change the file of a step that was released.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { initServer } from '../../server/main.js';
import { knownSteps } from '../../server/store/schema-version.js';
import { silentLog } from '../../shared/base/interfaces.js';
import { Device } from '../../shared/protocol/operator-api.js';
import { enrolBody, makeClaim, openFleet, post, publish, type TestFleet } from './fleet-server.js';
import {
  dumped,
  fixtureDevice,
  fixtureRepository,
  fixtureSettings,
  FIXTURES,
  GATES,
} from './schema-fixtures.js';
import {
  isCompleted,
  ScriptedDevice,
  scriptedPolicy,
  startScriptedRollout,
  turnsUntil,
} from './scripted-devices.js';
import { removeTempFolders, tempFolder } from './temp-folders.js';

async function enrol(fleet: TestFleet, n: number): Promise<ScriptedDevice> {
  const device = fixtureDevice(n);
  const claim = await makeClaim(fleet, n === 0 ? 'canary' : 'gates');
  await post(fleet, '/device/v1/enrol', await enrolBody(device, { claim }));
  return ScriptedDevice.of(device);
}

export async function schemaFixture(): Promise<string> {
  const folder = tempFolder();
  await fixtureRepository(folder);
  const settings = fixtureSettings(folder, 'data');
  const adminToken = await initServer(settings);
  const fleet = await openFleet(folder, settings, adminToken, silentLog);
  await publish(fleet, '1.0.0');
  await publish(fleet, '1.1.0');
  const devices: ScriptedDevice[] = [];
  for (let n = 0; n < GATES; n += 1) devices.push(await enrol(fleet, n));
  for (const device of devices) await device.connect(fleet);
  const first = await startScriptedRollout(fleet, '1.0.0');
  await turnsUntil(devices, () => isCompleted(fleet, first));
  // A stolen one, and one that nobody knows.
  await enrol(fleet, GATES);
  await fleet.admin.request('POST', `/devices/${fixtureDevice(GATES).id}/revoke`, Device, {});
  await post(fleet, '/device/v1/enrol', await enrolBody(fixtureDevice(GATES + 1)));

  await startScriptedRollout(fleet, '1.1.0', scriptedPolicy({ startWindow: 1, kindWindow: 1 }));
  const [canary, next] = devices;
  await turnsUntil(devices.slice(0, 1), () => canary?.running?.version === '1.1.0');
  // It took the release, and its report never arrived.
  while ((await next?.ask())?.version !== '1.1.0') await canary?.turn();
  for (const device of devices) await device.disconnect();
  await fleet.store.close();
  await fleet.server.close();
  return dumped(join(settings.data_dir, 'fleet.sqlite'), adminToken);
}

if (process.argv[1]?.endsWith('write-schema-fixture.js') === true) {
  const step = (await knownSteps()).at(-1) ?? '';
  await mkdir(FIXTURES, { recursive: true });
  await writeFile(join(FIXTURES, `${step}.sql`), await schemaFixture());
  removeTempFolders();
}
