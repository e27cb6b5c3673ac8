// What devices report. One batch is one transaction: its row, its records, the latest facts, the
// sums per release, the outcomes, the security events and the device's time of last contact are
// stored together or not at all. The same batch again, or the same record in another batch, changes
// nothing. Silence is judged by the server's time of receipt; a device's own clock is stored as a
// report. What is kept per device is limited; the oldest goes first.
// Over 400 lines because one batch is one transaction over all tables of telemetry.
import { refOf } from '../../shared/release/release-ref.js';
import type { Selectable } from 'kysely';
import { limits } from '../../shared/base/limits.js';
import type {
  HealthBody,
  InferenceBody,
  Kind,
  Outcome,
  TelemetryBatch,
  TelemetryRecord,
  UpdateBody,
} from '../../shared/protocol/telemetry.js';
import { QuantileSketch, type Sketch } from '../../shared/statistics/quantile-sketch.js';
import type { Answers } from '../../shared/statistics/trial-verdict.js';
import type { InferenceSums, LatestFacts, StoredRecord, TelemetryStore } from '../interfaces.js';
import type { Db, Queries } from './database.js';
import { observeInstance } from './instances.js';
import { addSecurityEvents } from './security-events.js';
import type { InferenceTable } from './tables.js';

export class SqlTelemetryStore implements TelemetryStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  /**
   * False when this batch was stored before. Throws when nothing was stored: the caller must not
   * acknowledge then.
   */
  insertBatch(device: string, batch: TelemetryBatch, now: number): Promise<boolean> {
    return this.#db.transaction().execute(async (trx) => {
      const added = await trx
        .insertInto('batches')
        .values({ device, batch: batch.batch, at: now })
        .onConflict((oc) => oc.doNothing())
        .executeTakeFirst();
      if (added.numInsertedOrUpdatedRows !== 1n) return false;
      await observeInstance(trx, device, batch.instance, now);
      const fresh = await insertRecords(trx, device, batch.records, now);
      await writeFacts(trx, device, fresh, now);
      await writeInference(trx, device, fresh, now);
      await writeOutcomes(trx, device, fresh, now);
      await addSecurityEvents(
        trx,
        fresh.flatMap((record) =>
          record.kind === 'security'
            ? [
                {
                  source: { kind: 'device', id: device },
                  ...record.body,
                  count: 1,
                  firstAt: now,
                  lastAt: now,
                },
              ]
            : [],
        ),
      );
      await trx
        .updateTable('devices')
        .set({ last_seen_at: now })
        .where('id', '=', device)
        .execute();
      await trim(trx, device);
      return true;
    });
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

/**
 * The records that were not stored before. The key of a record is (device, seq, device_at): a
 * device that loses its spool starts its numbers again, and its new records must not pass for old
 * ones.
 */
async function insertRecords(
  queries: Queries,
  device: string,
  records: readonly TelemetryRecord[],
  now: number,
): Promise<TelemetryRecord[]> {
  const rows = records.map((record) => ({
    device,
    seq: record.seq,
    kind: record.kind,
    device_at: record.at,
    at: now,
    body_json: JSON.stringify(record.body),
  }));
  const added = await queries
    .insertInto('telemetry')
    .values(rows)
    .onConflict((oc) => oc.doNothing())
    .returning(['seq', 'device_at'])
    .execute();
  const isNew = new Set(added.map((row) => `${row.seq}/${row.device_at}`));
  // Deleting each one found also drops a record that is twice in one batch.
  return records
    .filter((record) => isNew.delete(`${record.seq}/${record.at}`))
    .sort((a, b) => a.seq - b.seq);
}

async function writeFacts(
  queries: Queries,
  device: string,
  records: readonly TelemetryRecord[],
  now: number,
): Promise<void> {
  const latest = new Map<
    string,
    { component: string; kind: 'update' | 'trial' | 'health'; body: unknown }
  >();
  for (const { kind, body } of records) {
    if (kind === 'update')
      latest.set(`update/${body.component}`, { component: body.component, kind, body });
    if (kind === 'trial')
      latest.set(`trial/${body.release.component}`, {
        component: body.release.component,
        kind,
        body,
      });
    if (kind === 'health') latest.set('health', { component: '', kind, body });
  }
  if (latest.size === 0) return;
  const { components_json } = await queries
    .selectFrom('devices')
    .select('components_json')
    .where('id', '=', device)
    .executeTakeFirstOrThrow();
  // Only components that the device enrolled with: it could name any number of others.
  const declared = new Set(['', ...(JSON.parse(components_json) as string[])]);
  for (const { component, kind, body } of latest.values()) {
    if (!declared.has(component)) continue;
    if (kind === 'update') await reportConditions(queries, device, body as UpdateBody, now);
    const columns = { at: now, body_json: JSON.stringify(body) };
    await queries
      .insertInto('facts')
      .values({ device, component, kind, ...columns })
      .onConflict((oc) => oc.columns(['device', 'component', 'kind']).doUpdateSet(columns))
      .execute();
  }
}

/**
 * A condition that the latest report did not have is a security event, in the transaction that
 * stores it: a release that breaks after its trial must not go unnoticed.
 */
async function reportConditions(
  queries: Queries,
  device: string,
  { component, running, conditions }: UpdateBody,
  now: number,
): Promise<void> {
  if (conditions.length === 0) return;
  const before = await queries
    .selectFrom('facts')
    .select('body_json')
    .where('device', '=', device)
    .where('component', '=', component)
    .where('kind', '=', 'update')
    .executeTakeFirst();
  const known = before === undefined ? [] : (JSON.parse(before.body_json) as UpdateBody).conditions;
  const added = conditions.filter(({ code }) => !known.some((one) => one.code === code));
  if (running !== null && added.length > 0)
    await queries
      .insertInto('condition_events')
      .values(
        added.map(({ code }) => ({ device, component, digest: running.digest, code, at: now })),
      )
      .execute();
  await addSecurityEvents(
    queries,
    added.map(({ code, detail }) => ({
      source: { kind: 'device', id: device },
      code: 'model_unhealthy',
      detail: `${component} ${running?.version ?? ''}: ${code}: ${detail}`,
      count: 1,
      firstAt: now,
      lastAt: now,
    })),
  );
}

async function writeInference(
  queries: Queries,
  device: string,
  records: readonly TelemetryRecord[],
  now: number,
): Promise<void> {
  const byRelease = new Map<string, InferenceBody[]>();
  for (const { kind, body } of records) {
    if (kind !== 'inference') continue;
    const key = `${body.release.component}@${body.release.version}#${body.release.digest}`;
    byRelease.set(key, [...(byRelease.get(key) ?? []), body]);
  }
  for (const bodies of byRelease.values()) {
    const release = (bodies[0] as InferenceBody).release;
    const known = await queries
      .selectFrom('inference')
      .selectAll()
      .where('device', '=', device)
      .where('component', '=', release.component)
      .where('version', '=', release.version)
      .where('digest', '=', release.digest)
      .executeTakeFirst();
    const start: InferenceSums =
      known === undefined
        ? {
            release,
            served: 0,
            failed: 0,
            refused: 0,
            latencyMs: { count: 0, bins: [] },
            answers: null,
          }
        : sumsOf(known);
    const sums = bodies.reduce(addUp, start);
    const columns = {
      served: sums.served,
      failed: sums.failed,
      refused: sums.refused,
      latency_json: JSON.stringify(sums.latencyMs),
      answers_json: sums.answers === null ? null : JSON.stringify(sums.answers),
      updated_at: now,
    };
    await queries
      .insertInto('inference')
      .values({
        device,
        component: release.component,
        version: release.version,
        digest: release.digest,
        ...columns,
      })
      .onConflict((oc) =>
        oc.columns(['device', 'component', 'version', 'digest']).doUpdateSet(columns),
      )
      .execute();
  }
}

function addUp(sums: InferenceSums, body: InferenceBody): InferenceSums {
  const latency = new QuantileSketch();
  latency.merge(sums.latencyMs);
  latency.merge(body.latencyMs);
  return {
    release: sums.release,
    served: sums.served + body.served,
    failed: sums.failed + body.failed,
    refused: sums.refused + body.refused,
    latencyMs: latency.toSketch(),
    answers: addAnswers(sums.answers, body.answers),
  };
}

function addAnswers(sum: Answers | null, more: Answers | null): Answers | null {
  if (sum === null || more === null) return sum ?? more;
  const add = (a: readonly number[], b: readonly number[]): number[] =>
    Array.from(
      { length: Math.max(a.length, b.length) },
      (_, index) => (a[index] ?? 0) + (b[index] ?? 0),
    );
  return {
    classes: add(sum.classes, more.classes),
    confidence: add(sum.confidence, more.confidence),
    confidenceSum: sum.confidenceSum + more.confidenceSum,
  };
}

/**
 * A device repeats an outcome with each report until the server has acknowledged it; it is stored
 * once.
 */
async function writeOutcomes(
  queries: Queries,
  device: string,
  records: readonly TelemetryRecord[],
  now: number,
): Promise<void> {
  const rows = records.flatMap(({ kind, body }) =>
    kind === 'update' && body.outcome !== null
      ? [
          {
            device,
            component: body.component,
            assignment_id: body.outcome.assignmentId,
            result: body.outcome.result,
            at: now,
            outcome_json: JSON.stringify(body.outcome),
          },
        ]
      : [],
  );
  if (rows.length > 0)
    await queries
      .insertInto('outcomes')
      .values(rows)
      .onConflict((oc) => oc.doNothing())
      .execute();
}

/** Keeps the newest rows within the limits: deletes the first row beyond a limit, and all older. */
async function trim(queries: Queries, device: string): Promise<void> {
  const record = await queries
    .selectFrom('telemetry')
    .select('id')
    .where('device', '=', device)
    .orderBy('id', 'desc')
    .offset(limits.telemetryRowsPerDeviceMaxCount)
    .limit(1)
    .executeTakeFirst();
  if (record !== undefined)
    await queries
      .deleteFrom('telemetry')
      .where('device', '=', device)
      .where('id', '<=', record.id)
      .execute();
  const batch = await queries
    .selectFrom('batches')
    .select('at')
    .where('device', '=', device)
    .orderBy('at', 'desc')
    .offset(limits.batchesPerDeviceMaxCount)
    .limit(1)
    .executeTakeFirst();
  if (batch !== undefined)
    await queries
      .deleteFrom('batches')
      .where('device', '=', device)
      .where('at', '<=', batch.at)
      .execute();
  const outcome = await queries
    .selectFrom('outcomes')
    .select('id')
    .where('device', '=', device)
    .orderBy('id', 'desc')
    .offset(limits.outcomesPerDeviceMaxCount)
    .limit(1)
    .executeTakeFirst();
  if (outcome !== undefined)
    await queries
      .deleteFrom('outcomes')
      .where('device', '=', device)
      .where('id', '<=', outcome.id)
      .execute();
  const sums = await queries
    .selectFrom('inference')
    .select('updated_at')
    .where('device', '=', device)
    .orderBy('updated_at', 'desc')
    .offset(limits.inferenceReleasesPerDeviceMaxCount)
    .limit(1)
    .executeTakeFirst();
  if (sums !== undefined)
    await queries
      .deleteFrom('inference')
      .where('device', '=', device)
      .where('updated_at', '<=', sums.updated_at)
      .execute();
}

function sumsOf(row: Selectable<InferenceTable>): InferenceSums {
  return {
    release: refOf(row),
    served: row.served,
    failed: row.failed,
    refused: row.refused,
    latencyMs: JSON.parse(row.latency_json) as Sketch,
    answers: row.answers_json === null ? null : (JSON.parse(row.answers_json) as Answers),
  };
}
