// Whether two installations use one device id. Each start of an agent has a random instance id,
// which rides in every batch. A restart brings a new one, and the one before never returns; two
// copies of one data folder alternate, so one that was replaced returns.
import { limits } from '../../shared/base/limits.js';
import type { Queries } from './database.js';
import { isPostgres } from './dialect.js';
import { addSecurityEvents } from './security-events.js';

/**
 * Notes which instance of a device sent the batch that is being stored. It locks the device's row:
 * batches of one device are stored one after the other, also by several servers.
 */
export async function observeInstance(
  queries: Queries,
  device: string,
  instance: string,
  now: number,
): Promise<void> {
  const { instances_json } = await queries
    .selectFrom('devices')
    .select('instances_json')
    .where('id', '=', device)
    .$if(isPostgres(queries), (query) => query.forNoKeyUpdate())
    .executeTakeFirstOrThrow();
  const known = JSON.parse(instances_json) as string[];
  if (known[0] === instance) return;
  const alternates = known.includes(instance);
  const instances = [instance, ...known.filter((other) => other !== instance)];
  await queries
    .updateTable('devices')
    .set({
      instances_json: JSON.stringify(instances.slice(0, limits.deviceInstancesMaxCount)),
      ...(alternates ? { cloned_at: now } : {}),
    })
    .where('id', '=', device)
    .execute();
  if (!alternates) return;
  await addSecurityEvents(queries, [
    {
      source: { kind: 'device', id: device },
      code: 'device_cloned',
      detail: 'two installations alternate under this device id: its data folder was copied',
      count: 1,
      firstAt: now,
      lastAt: now,
    },
  ]);
}
