// Whether two installations use one device id. Each start of an agent has a random instance id,
// which rides in every batch. A restart brings a new one, and the one before never returns; two
// copies of one data folder alternate, so one that was replaced returns.
import { limits } from '../../shared/base/limits.js';
import type { DeviceBatch, SecurityEvent } from '../interfaces.js';
import type { Queries } from './database.js';

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
  for (const [device, instances] of changed)
    await queries
      .updateTable('devices')
      .set({
        instances_json: JSON.stringify(instances),
        ...(cloned.has(device) ? { cloned_at: now } : {}),
      })
      .where('id', '=', device)
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
