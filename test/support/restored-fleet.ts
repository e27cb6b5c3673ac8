// Where a backup of a test's fleet is restored to: new folders, and on PostgreSQL a new database.
import { join } from 'node:path';
import type { ServerSettings } from '../../server/config.js';
import { withoutPassword, type TestFleet } from './fleet-server.js';
import { tempFolder } from './temp-folders.js';
import { testTarget } from './test-store.js';

export async function emptyPlaces({
  settings,
}: Pick<TestFleet, 'settings'>): Promise<ServerSettings> {
  const folder = tempFolder();
  const places = { data_dir: join(folder, 'data'), repository: join(folder, 'repository') };
  const target = await testTarget(join(places.data_dir, 'fleet.sqlite'), { isEmpty: true });
  return typeof target === 'string'
    ? { ...settings, ...places }
    : { ...settings, ...places, database: withoutPassword(target.url) };
}
