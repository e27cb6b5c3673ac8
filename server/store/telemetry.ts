// What devices report, as it is read; server/store/telemetry-group.ts writes it. A group of batches
// is one transaction: their rows, their records, the latest facts, the sums per release, the
// outcomes, the security events and the devices' time of last contact are stored together or not at
// all. The same batch again, or the same record in another batch, changes nothing. Silence is
// judged by the server's time of receipt; a device's own clock is stored as a report. What is kept
// per device is limited; the oldest goes first.
import type { HealthBody, Kind, Outcome, UpdateBody } from '../../shared/protocol/telemetry.js';
import type {
  BatchResult,
  DeviceBatch,
  InferenceSums,
  LatestFacts,
  StoredRecord,
  TelemetryStore,
} from '../interfaces.js';
import type { Db } from './database.js';
import { sumsOf, writeGroup } from './telemetry-group.js';

export class SqlTelemetryStore implements TelemetryStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  insertBatches(group: readonly DeviceBatch[], now: number): Promise<BatchResult[]> {
    return this.#db.transaction().execute((trx) => writeGroup(trx, group, now));
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
}
