// Deletes old telemetry in slices: each call is one transaction that deletes at most
// limits.pruneRowsMaxCount rows, so that a batch never waits long for the database. Raw records go
// by age, and by number where a device has too many; hours go by age.
import { limits } from '../../shared/base/limits.js';
import type { Db } from './database.js';

const SLICE = limits.pruneRowsMaxCount;

/** Of all devices: records that are too old. Ids rise with the time of receipt. */
export function pruneOldRecords(db: Db, now: number): Promise<number> {
  return db.transaction().execute(async (trx) => {
    const oldest = await trx
      .selectFrom('telemetry')
      .select(['id', 'at'])
      .orderBy('id')
      .limit(SLICE)
      .execute();
    const end = oldest.findIndex(({ at }) => at >= now - limits.rawTelemetryKeptMs);
    const count = end === -1 ? oldest.length : end;
    const last = oldest[count - 1];
    if (last === undefined) return 0;
    await trx.deleteFrom('telemetry').where('id', '<=', last.id).execute();
    return count;
  });
}

/** Of one device: the oldest records beyond limits.telemetryRowsPerDeviceMaxCount. */
export function pruneRecordsOf(db: Db, device: string): Promise<number> {
  return db.transaction().execute(async (trx) => {
    const first = await trx
      .selectFrom('telemetry')
      .select('id')
      .where('device', '=', device)
      .orderBy('id', 'desc')
      .offset(limits.telemetryRowsPerDeviceMaxCount)
      .limit(1)
      .executeTakeFirst();
    if (first === undefined) return 0;
    const slice = trx
      .selectFrom('telemetry')
      .select('id')
      .where('device', '=', device)
      .where('id', '<=', first.id)
      .orderBy('id')
      .limit(SLICE);
    const { numDeletedRows } = await trx
      .deleteFrom('telemetry')
      .where('id', 'in', slice)
      .executeTakeFirst();
    return Number(numDeletedRows);
  });
}

/** Of all devices: hours that are too old. */
export function pruneOldHours(db: Db, now: number): Promise<number> {
  return db.transaction().execute(async (trx) => {
    const oldest = await trx
      .selectFrom('telemetry_hours')
      .select(['hour', 'device'])
      .where('hour', '<', now - limits.telemetryHoursKeptMs)
      .orderBy('hour')
      .orderBy('device')
      .limit(SLICE)
      .execute();
    const last = oldest.at(-1);
    if (last === undefined) return 0;
    await trx
      .deleteFrom('telemetry_hours')
      .where((eb) => eb(eb.refTuple('hour', 'device'), '<=', eb.tuple(last.hour, last.device)))
      .execute();
    return oldest.length;
  });
}
