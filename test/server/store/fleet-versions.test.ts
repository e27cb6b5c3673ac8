// What the fleet ran by the hour, on real SQLite: the last count of an hour stays, few versions
// have a name, and old hours are deleted.
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Store } from '../../../server/store/store.js';
import { limits } from '../../../shared/base/limits.js';
import { HOUR_MS } from '../../../shared/base/units.js';
import { OTHER_VERSIONS } from '../../../shared/protocol/operator-api.js';
import { deviceRow } from '../../support/device-rows.js';
import { idleUpdate } from '../../support/fleet-server.js';
import { tempFolder } from '../../support/temp-folders.js';
import { openTestStore } from '../../support/test-store.js';

const HOUR = 1000 * HOUR_MS;
let store: Store;
beforeEach(async () => {
  store = await openTestStore(join(tempFolder(), 'fleet.sqlite'));
});
afterEach(() => store.close());

/** Each device runs one of the versions; null: nothing. */
async function runs(...versions: (string | null)[]): Promise<void> {
  await store.db.deleteFrom('facts').execute();
  await store.db.deleteFrom('devices').execute();
  for (const [n, version] of versions.entries()) {
    const row = deviceRow(n);
    await store.db.insertInto('devices').values(row).execute();
    const release =
      version === null ? null : { component: 'digits', version, digest: 'a'.repeat(64) };
    await store.db
      .insertInto('facts')
      .values({
        device: row.id,
        component: 'digits',
        kind: 'update',
        at: 1,
        body_json: JSON.stringify(idleUpdate({ running: release })),
      })
      .execute();
  }
}

const read = async (since = 0): Promise<string[]> =>
  (await store.versions.read(since)).map(
    ({ hour, version, devices }) => `${(hour - HOUR) / HOUR_MS}: ${version} ${devices}`,
  );

it('the_last_count_of_an_hour_stays_and_each_hour_has_its_own', async () => {
  await runs('1.0.0', '1.0.0', null);
  await store.versions.record(HOUR + 1);
  await runs('1.0.0', '1.1.0', null);
  await store.versions.record(HOUR + HOUR_MS - 1);
  expect(await read()).toEqual(['0: null 1', '0: 1.0.0 1', '0: 1.1.0 1']);
  await store.versions.record(HOUR + HOUR_MS);
  expect(await read()).toHaveLength(6);
  expect(await read(HOUR + HOUR_MS)).toEqual(['1: null 1', '1: 1.0.0 1', '1: 1.1.0 1']);
});

it('versions_beyond_the_limit_are_added_up_the_frequent_ones_keep_their_name', async () => {
  const rare = Array.from({ length: limits.fleetVersionsMaxCount + 2 }, (_, n) => `0.0.${n}`);
  await runs('1.0.0', '1.0.0', ...rare);
  await store.versions.record(HOUR);
  const rows = await store.versions.read(0);
  expect(rows).toHaveLength(limits.fleetVersionsMaxCount + 1);
  const devicesOf = (version: string) => rows.find((row) => row.version === version)?.devices;
  expect([devicesOf('1.0.0'), devicesOf(OTHER_VERSIONS)]).toEqual([2, 3]);
});

it('hours_that_are_too_old_are_deleted_when_the_next_one_is_counted', async () => {
  await runs('1.0.0');
  await store.versions.record(HOUR);
  await store.versions.record(HOUR + limits.fleetVersionsKeptMs);
  expect(await read()).toHaveLength(2);
  await store.versions.record(HOUR + limits.fleetVersionsKeptMs + HOUR_MS);
  expect((await read())[0]).not.toMatch(/^0:/);
});
