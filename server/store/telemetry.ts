// What devices report, as it is read; server/store/telemetry-group.ts writes it. A group of batches
// is one transaction: their records, the latest facts, the sums per hour and per release, the
// outcomes, the security events and the devices' time of last contact are stored together or not at
// all. The same batch again changes nothing. Silence is judged by the server's time of receipt; a
// device's own clock is stored as a report. What is kept is limited; the oldest goes first.
import { limits } from '../../shared/base/limits.js';
import type { HealthBody, Kind, Outcome, UpdateBody } from '../../shared/protocol/telemetry.js';
import type {
  BatchResult,
  DeviceBatch,
  InferenceSums,
  LatestFacts,
  StoredRecord,
  TelemetryHourRow,
  TelemetryStore,
} from '../interfaces.js';
import type { Db } from './database.js';
import { sumsOf, writeGroup } from './telemetry-group.js';
import { hoursOf } from './telemetry-hours.js';
import { pruneOldHours, pruneOldRecords, pruneRecordsOf } from './telemetry-pruning.js';

export class SqlTelemetryStore implements TelemetryStore {
  readonly #db: Db;
  /** Rows of devices since they were checked last. */
  readonly #newRows = new Map<string, number>();
  /** Devices with so many new rows that they may have too many. */
  readonly #toCheck = new Set<string>();

  constructor(db: Db) {
    this.#db = db;
  }

  async insertBatches(group: readonly DeviceBatch[], now: number): Promise<BatchResult[]> {
    const { results, rows } = await this.#db
      .transaction()
      .execute((trx) => writeGroup(trx, group, now));
    for (const [device, count] of rows) this.#grown(device, count);
    return results;
  }

  #grown(device: string, count: number): void {
    const sum = (this.#newRows.get(device) ?? 0) + count;
    if (sum < limits.telemetryRowsCheckedCount) {
      if (this.#newRows.size >= limits.countedDevicesMaxCount) this.#newRows.clear();
      this.#newRows.set(device, sum);
    } else {
      this.#newRows.delete(device);
      this.#toCheck.add(device);
    }
  }

  async prune(now: number): Promise<number> {
    for (const device of this.#toCheck) {
      const count = await pruneRecordsOf(this.#db, device);
      if (count > 0) return count;
      this.#toCheck.delete(device);
    }
    const records = await pruneOldRecords(this.#db, now);
    return records > 0 ? records : pruneOldHours(this.#db, now);
  }

  /** Latest update facts of each component and the latest health of each device. */
  async latest(devices: readonly string[] | null): Promise<Map<string, LatestFacts>> {
    let query = this.#db.selectFrom('facts').selectAll().where('kind', 'in', ['update', 'health']);
    if (devices !== null) query = query.where('device', 'in', [...devices]);
    const found = new Map<string, { updates: UpdateBody[]; health: HealthBody | null }>();
    for (const row of await query.orderBy('component').execute()) {
      const entry = found.get(row.device) ?? { updates: [], health: null };
      if (row.kind === 'update') entry.updates.push(JSON.parse(row.body_json) as UpdateBody);
      else entry.health = JSON.parse(row.body_json) as HealthBody;
      found.set(row.device, entry);
    }
    return found;
  }

  /** The sums of each release, the last used first. */
  async inference(device: string): Promise<InferenceSums[]> {
    const rows = await this.#db
      .selectFrom('inference')
      .selectAll()
      .where('device', '=', device)
      .orderBy('updated_at', 'desc')
      .execute();
    return rows.map(sumsOf);
  }

  /** The newest first. */
  async outcomes(device: string, limit: number): Promise<{ at: number; outcome: Outcome }[]> {
    const rows = await this.#db
      .selectFrom('outcomes')
      .selectAll()
      .where('device', '=', device)
      .orderBy('id', 'desc')
      .limit(limit)
      .execute();
    return rows.map((row) => ({ at: row.at, outcome: JSON.parse(row.outcome_json) as Outcome }));
  }

  /**
   * Raw records of a device, the newest first; `before` pages on from the id of the last one seen.
   */
  async records(device: string, limit: number, before: number | null): Promise<StoredRecord[]> {
    let query = this.#db.selectFrom('telemetry').selectAll().where('device', '=', device);
    if (before !== null) query = query.where('id', '<', before);
    const rows = await query.orderBy('id', 'desc').limit(limit).execute();
    return rows.map((row) => ({
      id: row.id,
      device: row.device,
      seq: row.seq,
      kind: row.kind as Kind,
      deviceAt: row.device_at,
      at: row.at,
      body: JSON.parse(row.body_json) as unknown,
    }));
  }

  hours(device: string, limit: number, before: number | null): Promise<TelemetryHourRow[]> {
    return hoursOf(this.#db, device, limit, before);
  }
}
