// Whether two installations use one device id. Each start of an agent has a random instance id,
// which rides in every batch. A restart brings a new one, and the one before never returns; two
// copies of one data folder alternate, so one that was replaced returns.
import { sql } from 'kysely';
import { limits } from '../../shared/base/limits.js';
import type { DeviceBatch, SecurityEvent } from '../interfaces.js';
import type { Queries } from './database.js';
import { among, givenRows } from './dialect.js';

/**
 * Notes which instances of devices sent the batches that are being stored, in the order of arrival.
 * `known` has the instances of each device so far, the latest first. Returns the security events
 * of devices that turned out to be cloned. Writes only for devices whose instance changed.
 */
export async function observeInstances(
  queries: Queries,
  batches: readonly DeviceBatch[],
  known: ReadonlyMap<string, { readonly instances: readonly string[] }>,
  now: number,
): Promise<SecurityEvent[]> {
  const changed = new Map<string, readonly string[]>();
  const cloned = new Set<string>();
  for (const { device, batch } of batches) {
    const { instance } = batch;
    const before = changed.get(device) ?? known.get(device)?.instances ?? [];
    if (before[0] === instance) continue;
    if (before.includes(instance)) cloned.add(device);
    const after = [instance, ...before.filter((other) => other !== instance)];
    changed.set(device, after.slice(0, limits.deviceInstancesMaxCount));
  }
  const rows = [...changed].map(([of_device, instances]) => ({
    of_device,
    instances: JSON.stringify(instances),
  }));
  if (rows.length > 0)
    await sql`update devices set instances_json = given.instances
      from ${givenRows(queries, { of_device: 'text', instances: 'text' }, rows)}
      where id = of_device`.execute(queries);
  if (cloned.size > 0)
    await queries
      .updateTable('devices')
      .set({ cloned_at: now })
      .where(among(queries, 'id', [...cloned]))
      .execute();
  return [...cloned].map((id) => ({
    source: { kind: 'device', id },
    code: 'device_cloned',
    detail: 'two installations alternate under this device id: its data folder was copied',
    count: 1,
    firstAt: now,
    lastAt: now,
  }));
}
