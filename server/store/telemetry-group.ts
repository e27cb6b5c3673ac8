// Stores a group of telemetry batches, of one device or of many, inside the caller's transaction.
// The number of statements is the same for one batch and for a full group, but for what is rare: a
// new instance of an agent, security events, outcomes, and a release that a device serves for the
// first time. Batches take effect in the order of arrival. A batch that was stored before, also
// within the same group, changes nothing.
//
// Health and update reports that repeat what is known have no rows of their own: health is counted
// in its hour and is a fact, and an unchanged update report is a row once in
// limits.updateRepeatedMs. All other records are rows.
// Over 400 lines because a group is one transaction over all tables of telemetry.
import { CompiledQuery, sql, type Selectable } from 'kysely';
import { limits } from '../../shared/base/limits.js';
import type {
  InferenceBody,
  TelemetryRecord,
  UpdateBody,
} from '../../shared/protocol/telemetry.js';
import { refOf, type ReleaseRef } from '../../shared/release/release-ref.js';
import { QuantileSketch, type Sketch } from '../../shared/statistics/quantile-sketch.js';
import type { Answers } from '../../shared/statistics/trial-verdict.js';
import type { BatchResult, DeviceBatch, InferenceSums, SecurityEvent } from '../interfaces.js';
import { portions, type Queries } from './database.js';
import { among, inserting, isPostgres } from './dialect.js';
import { observeInstances } from './instances.js';
import { addSecurityEvents } from './security-events.js';
import { countInHour } from './telemetry-hours.js';
import type { FactsTable, InferenceTable, TelemetryTable } from './tables.js';

/** Records of one batch, by seq. */
interface Records {
  readonly device: string;
  readonly records: readonly TelemetryRecord[];
}

export interface GroupWritten {
  /** A result for each batch, in the order of arrival. */
  readonly results: BatchResult[];
  /** How many rows of raw records each device has more. */
  readonly rows: ReadonlyMap<string, number>;
}

export async function writeGroup(
  queries: Queries,
  group: readonly DeviceBatch[],
  now: number,
): Promise<GroupWritten> {
  const heard = await markHeard(queries, group, now);
  const added = await addBatches(
    queries,
    group.filter(({ device }) => heard.has(device)),
  );
  const events = await observeInstances(queries, added, heard, now);
  const batches = added.map(({ device, batch }) => ({
    device,
    records: batch.records.map((record) => ({ ...record })).sort((a, b) => a.seq - b.seq),
  }));
  const known = await knownUpdates(queries, batches);
  const repeats = repeatedUpdates(batches, heard, known, now);
  const hasRow = (record: TelemetryRecord): boolean =>
    record.kind !== 'health' && !repeats.has(record);
  const rows = await insertRecords(queries, only(batches, hasRow), now);
  const news = only(batches, (record) => record.kind === 'health' || rows.has(record));
  await countInHour(
    queries,
    only(batches, (record) => !hasRow(record) || rows.has(record)),
    now,
  );
  events.push(...(await writeFacts(queries, news, heard, known, now)));
  await writeInference(queries, news, now);
  await writeOutcomes(queries, news, now);
  events.push(...securityEventsOf(news, now));
  if (events.length > 0) await addSecurityEvents(queries, events);
  const isAdded = new Set(added);
  return {
    results: group.map((one) =>
      isAdded.has(one) ? 'stored' : heard.has(one.device) ? 'repeated' : 'not_enrolled',
    ),
    rows: countByDevice(only(batches, (record) => rows.has(record))),
  };
}

const only = (batches: readonly Records[], fits: (record: TelemetryRecord) => boolean): Records[] =>
  batches.map(({ device, records }) => ({ device, records: records.filter(fits) }));

function countByDevice(batches: readonly Records[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const { device, records } of batches)
    if (records.length > 0) found.set(device, (found.get(device) ?? 0) + records.length);
  return found;
}

interface Heard {
  /** Those that it enrolled with: a report could name any number of others. */
  readonly components: ReadonlySet<string>;
  readonly instances: readonly string[];
}

/**
 * The enrolled devices of the group. The update comes first because it also locks the rows, where
 * the database has other writers: a batch that two servers received is then stored by one of them.
 */
async function markHeard(
  queries: Queries,
  group: readonly DeviceBatch[],
  now: number,
): Promise<Map<string, Heard>> {
  const rows = await queries
    .updateTable('devices')
    .set({ last_seen_at: now })
    .where(among(queries, 'id', distinct(group.map(({ device }) => device))))
    // Not the column itself: SQLite would take the index by status, and read every enrolled device.
    .where(sql`status || ''`, '=', 'enrolled')
    .returning(['id', 'components_json', 'instances_json'])
    .execute();
  return new Map(
    rows.map((row) => [
      row.id,
      {
        components: new Set(JSON.parse(row.components_json) as string[]),
        instances: JSON.parse(row.instances_json) as string[],
      },
    ]),
  );
}

/**
 * Those that were not stored before. A device sends one batch until it is acknowledged, so that its
 * last ones are all that can come again.
 */
async function addBatches(queries: Queries, group: readonly DeviceBatch[]): Promise<DeviceBatch[]> {
  if (group.length === 0) return [];
  const devices = distinct(group.map(({ device }) => device));
  const rows = await queries
    .selectFrom('recent_batches')
    .selectAll()
    .where(among(queries, 'device', devices))
    .execute();
  const recent = new Map(
    rows.map((row) => [row.device, JSON.parse(row.batches_json) as readonly string[]]),
  );
  const changed = new Set<string>();
  const added = group.filter(({ device, batch }) => {
    const before = recent.get(device) ?? [];
    if (before.includes(batch.batch)) return false;
    recent.set(device, [batch.batch, ...before].slice(0, limits.recentBatchesMaxCount));
    changed.add(device);
    return true;
  });
  if (changed.size === 0) return [];
  const now = [...changed].map((device) => ({
    device,
    batches_json: JSON.stringify(recent.get(device)),
  }));
  await inserting(queries, 'recent_batches', now)
    .onConflict((oc) =>
      oc.column('device').doUpdateSet((eb) => ({ batches_json: eb.ref('excluded.batches_json') })),
    )
    .execute();
  return added;
}

interface KnownUpdate {
  readonly text: string;
  readonly at: number;
}
/** By device and component. */
type KnownUpdates = ReadonlyMap<string, KnownUpdate>;

async function knownUpdates(queries: Queries, batches: readonly Records[]): Promise<KnownUpdates> {
  const devices = batches.flatMap(({ device, records }) =>
    records.some(({ kind }) => kind === 'update') ? [device] : [],
  );
  if (devices.length === 0) return new Map();
  const rows = await queries
    .selectFrom('facts')
    .select(['device', 'component', 'at', 'body_json'])
    .where(among(queries, 'device', distinct(devices)))
    .where('kind', '=', 'update')
    .execute();
  return new Map(
    rows.map((row) => [`${row.device}/${row.component}`, { text: row.body_json, at: row.at }]),
  );
}

/** Update reports that say what the one before said, not long ago. */
function repeatedUpdates(
  batches: readonly Records[],
  heard: ReadonlyMap<string, Heard>,
  known: KnownUpdates,
  now: number,
): Set<TelemetryRecord> {
  const latest = new Map(known);
  const found = new Set<TelemetryRecord>();
  for (const { device, records } of batches)
    for (const record of records) {
      if (record.kind !== 'update') continue;
      const { component } = record.body;
      if (heard.get(device)?.components.has(component) !== true) continue;
      const text = JSON.stringify(record.body);
      const before = latest.get(`${device}/${component}`);
      if (before?.text === text && now - before.at < limits.updateRepeatedMs) found.add(record);
      else latest.set(`${device}/${component}`, { text, at: now });
    }
  return found;
}

/**
 * The records that were not stored before. The key of a record is (device, seq, device_at): a
 * device that loses its spool starts its numbers again, and its new records must not pass for old
 * ones.
 */
async function insertRecords(
  queries: Queries,
  batches: readonly Records[],
  now: number,
): Promise<Set<TelemetryRecord>> {
  const rows = batches.flatMap(({ device, records }) =>
    records.map((record) => ({
      device,
      seq: record.seq,
      kind: record.kind,
      device_at: record.at,
      at: now,
      body_json: JSON.stringify(record.body),
    })),
  );
  if (rows.length === 0) return new Set();
  const last = await queries
    .selectFrom('telemetry')
    .select((eb) => eb.fn.max<number | null>('id').as('id'))
    .executeTakeFirstOrThrow();
  let inserted = 0;
  for (const some of portions(rows)) inserted += await addRecords(queries, some);
  // The usual case. To let each statement return its rows would cost every record, not only these.
  if (inserted === rows.length) return new Set(batches.flatMap(({ records }) => records));
  const isNew = await insertedAfter(queries, last.id ?? 0, batches);
  // Deleting each one found also drops a record that is twice in the group.
  return new Set(
    batches.flatMap(({ device, records }) =>
      records.filter((record) => isNew.delete(`${device}/${record.seq}/${record.at}`)),
    ),
  );
}

const RECORD = ['device', 'seq', 'kind', 'device_at', 'at', 'body_json'] as const;
type RecordRow = Pick<Selectable<TelemetryTable>, (typeof RECORD)[number]>;

/**
 * How many of them are new. On SQLite as text and values, without the builder's object for each
 * value: there are thousands a second.
 */
async function addRecords(queries: Queries, rows: readonly RecordRow[]): Promise<number> {
  if (isPostgres(queries)) {
    const { numInsertedOrUpdatedRows } = await inserting(queries, 'telemetry', rows)
      .onConflict((oc) => oc.doNothing())
      .executeTakeFirstOrThrow();
    return Number(numInsertedOrUpdatedRows);
  }
  const row = `(${RECORD.map(() => '?').join(', ')})`;
  const text =
    `insert into telemetry (${RECORD.join(', ')}) values ${row}` +
    `${`, ${row}`.repeat(rows.length - 1)} on conflict do nothing`;
  const values = rows.flatMap((one) => RECORD.map((name) => one[name]));
  const { numAffectedRows } = await queries.executeQuery(CompiledQuery.raw(text, values));
  return Number(numAffectedRows);
}

/** Their devices are locked by this transaction: no other one adds rows of them meanwhile. */
async function insertedAfter(
  queries: Queries,
  id: number,
  batches: readonly Records[],
): Promise<Set<string>> {
  const rows = await queries
    .selectFrom('telemetry')
    .select(['device', 'seq', 'device_at'])
    .where('id', '>', id)
    .where(among(queries, 'device', distinct(batches.map(({ device }) => device))))
    .execute();
  return new Set(rows.map((row) => `${row.device}/${row.seq}/${row.device_at}`));
}

interface Fact {
  readonly device: string;
  readonly component: string;
  readonly kind: FactsTable['kind'];
  readonly body: unknown;
}

const factKey = ({ device, component, kind }: Omit<Fact, 'body'>): string =>
  `${device}/${kind}/${component}`;

/** The latest of each kind and component in one batch. */
function latestFacts({ device, records }: Records, declared: ReadonlySet<string>): Fact[] {
  const latest = new Map<string, Fact>();
  const add = (fact: Fact): void => {
    if (fact.component === '' || declared.has(fact.component)) latest.set(factKey(fact), fact);
  };
  for (const { kind, body } of records)
    if (kind === 'update') add({ device, component: body.component, kind, body });
    else if (kind === 'trial') add({ device, component: body.release.component, kind, body });
    else if (kind === 'health') add({ device, component: '', kind, body });
  return [...latest.values()];
}

/** Returns the security events of conditions that are new. */
async function writeFacts(
  queries: Queries,
  news: readonly Records[],
  heard: ReadonlyMap<string, Heard>,
  known: KnownUpdates,
  now: number,
): Promise<SecurityEvent[]> {
  const facts = news.flatMap((one) =>
    latestFacts(one, heard.get(one.device)?.components ?? new Set()),
  );
  if (facts.length === 0) return [];
  const events = await reportConditions(queries, facts, known, now);
  const last = new Map(facts.map((fact) => [factKey(fact), fact]));
  for (const some of portions([...last.values()]))
    await inserting(
      queries,
      'facts',
      some.map(({ body, ...key }) => ({ ...key, at: now, body_json: JSON.stringify(body) })),
    )
      .onConflict((oc) =>
        oc.columns(['device', 'component', 'kind']).doUpdateSet((eb) => ({
          at: eb.ref('excluded.at'),
          body_json: eb.ref('excluded.body_json'),
        })),
      )
      .execute();
  return events;
}

/**
 * A condition that the report before did not have is a security event, in the transaction that
 * stores it: a release that breaks after its trial must not go unnoticed.
 */
async function reportConditions(
  queries: Queries,
  facts: readonly Fact[],
  known: KnownUpdates,
  now: number,
): Promise<SecurityEvent[]> {
  const updates = facts.flatMap(({ device, kind, body }) =>
    kind === 'update' ? [{ device, body: body as UpdateBody }] : [],
  );
  const codes = new Map<string, string[]>();
  const codesBefore = (key: string): string[] => {
    const text = known.get(key)?.text;
    return text === undefined ? [] : codesOf(JSON.parse(text) as UpdateBody);
  };
  const rows = [];
  const events: SecurityEvent[] = [];
  for (const { device, body } of updates) {
    const { component, running, conditions } = body;
    const key = `${device}/${component}`;
    const before = codes.get(key) ?? codesBefore(key);
    codes.set(key, codesOf(body));
    for (const { code, detail } of conditions.filter((one) => !before.includes(one.code))) {
      if (running !== null) rows.push({ device, component, digest: running.digest, code, at: now });
      events.push({
        source: { kind: 'device', id: device },
        code: 'model_unhealthy',
        detail: `${component} ${running?.version ?? ''}: ${code}: ${detail}`,
        ...once(now),
      });
    }
  }
  for (const some of portions(rows))
    await queries.insertInto('condition_events').values(some).execute();
  return events;
}

const codesOf = ({ conditions }: UpdateBody): string[] => conditions.map(({ code }) => code);

interface Served {
  readonly device: string;
  readonly body: InferenceBody;
}

const sumsKey = (device: string, { component, version, digest }: ReleaseRef): string =>
  `${device}/${component}@${version}#${digest}`;

async function writeInference(
  queries: Queries,
  news: readonly Records[],
  now: number,
): Promise<void> {
  const served = news.flatMap(({ device, records }) =>
    records.flatMap(({ kind, body }): Served[] => (kind === 'inference' ? [{ device, body }] : [])),
  );
  if (served.length === 0) return;
  const sums = await knownSums(queries, served);
  const changed = new Map<string, { device: string; sums: InferenceSums }>();
  for (const [key, { device, bodies }] of byRelease(served))
    changed.set(key, { device, sums: addUp(sums.get(key) ?? nothing(bodies[0].release), bodies) });
  for (const some of portions([...changed.values()]))
    await inserting(
      queries,
      'inference',
      some.map((one) => ({
        device: one.device,
        component: one.sums.release.component,
        version: one.sums.release.version,
        digest: one.sums.release.digest,
        served: one.sums.served,
        failed: one.sums.failed,
        refused: one.sums.refused,
        latency_json: JSON.stringify(one.sums.latencyMs),
        answers_json: one.sums.answers === null ? null : JSON.stringify(one.sums.answers),
        updated_at: now,
      })),
    )
      .onConflict((oc) =>
        oc.columns(['device', 'component', 'version', 'digest']).doUpdateSet((eb) => ({
          served: eb.ref('excluded.served'),
          failed: eb.ref('excluded.failed'),
          refused: eb.ref('excluded.refused'),
          latency_json: eb.ref('excluded.latency_json'),
          answers_json: eb.ref('excluded.answers_json'),
          updated_at: eb.ref('excluded.updated_at'),
        })),
      )
      .execute();
  const grown = [...changed].filter(([key]) => !sums.has(key)).map(([, { device }]) => device);
  for (const device of distinct(grown)) await trimInference(queries, device);
}

async function knownSums(
  queries: Queries,
  served: readonly Served[],
): Promise<Map<string, InferenceSums>> {
  const found = new Map<string, InferenceSums>();
  const devices = distinct(served.map(({ device }) => device));
  for (const digests of portions(distinct(served.map(({ body }) => body.release.digest)))) {
    const rows = await queries
      .selectFrom('inference')
      .selectAll()
      .where(among(queries, 'device', devices))
      .where(among(queries, 'digest', digests))
      .execute();
    for (const row of rows) found.set(sumsKey(row.device, row), sumsOf(row));
  }
  return found;
}

const nothing = (release: ReleaseRef): InferenceSums => ({
  release,
  served: 0,
  failed: 0,
  refused: 0,
  latencyMs: { count: 0, bins: [] },
  answers: null,
});

type SomeBodies = [InferenceBody, ...InferenceBody[]];

/** In the order of arrival; a batch has many records of one release. */
function byRelease(
  served: readonly Served[],
): Map<string, { readonly device: string; readonly bodies: SomeBodies }> {
  const found = new Map<string, { device: string; bodies: SomeBodies }>();
  for (const { device, body } of served) {
    const key = sumsKey(device, body.release);
    const before = found.get(key);
    if (before === undefined) found.set(key, { device, bodies: [body] });
    else before.bodies.push(body);
  }
  return found;
}

function addUp(sums: InferenceSums, bodies: readonly InferenceBody[]): InferenceSums {
  const latency = new QuantileSketch();
  latency.merge(sums.latencyMs);
  const total = { served: sums.served, failed: sums.failed, refused: sums.refused };
  let { answers } = sums;
  for (const body of bodies) {
    latency.merge(body.latencyMs);
    total.served += body.served;
    total.failed += body.failed;
    total.refused += body.refused;
    answers = addAnswers(answers, body.answers);
  }
  return { release: sums.release, ...total, latencyMs: latency.toSketch(), answers };
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

export function sumsOf(row: Selectable<InferenceTable>): InferenceSums {
  return {
    release: refOf(row),
    served: row.served,
    failed: row.failed,
    refused: row.refused,
    latencyMs: JSON.parse(row.latency_json) as Sketch,
    answers: row.answers_json === null ? null : (JSON.parse(row.answers_json) as Answers),
  };
}

/**
 * A device repeats an outcome with each report until the server has acknowledged it; it is stored
 * once.
 */
async function writeOutcomes(
  queries: Queries,
  news: readonly Records[],
  now: number,
): Promise<void> {
  const rows = news.flatMap(({ device, records }) =>
    records.flatMap(({ kind, body }) =>
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
    ),
  );
  const grown = new Set<string>();
  for (const some of portions(rows)) {
    const added = await queries
      .insertInto('outcomes')
      .values(some)
      .onConflict((oc) => oc.doNothing())
      .returning('device')
      .execute();
    for (const { device } of added) grown.add(device);
  }
  for (const device of grown) await trimOutcomes(queries, device);
}

const once = (now: number) => ({ count: 1, firstAt: now, lastAt: now });

function securityEventsOf(news: readonly Records[], now: number): SecurityEvent[] {
  return news.flatMap(({ device, records }) =>
    records.flatMap(({ kind, body }): SecurityEvent[] =>
      kind === 'security'
        ? [{ source: { kind: 'device', id: device }, ...body, ...once(now) }]
        : [],
    ),
  );
}

const distinct = (items: readonly string[]): string[] => [...new Set(items)];

/** Of devices with new outcomes: what is beyond the limit. Outcomes are rare. */
async function trimOutcomes(queries: Queries, device: string): Promise<void> {
  const first = await queries
    .selectFrom('outcomes')
    .select('id')
    .where('device', '=', device)
    .orderBy('id', 'desc')
    .offset(limits.outcomesPerDeviceMaxCount)
    .limit(1)
    .executeTakeFirst();
  if (first !== undefined)
    await queries
      .deleteFrom('outcomes')
      .where('device', '=', device)
      .where('id', '<=', first.id)
      .execute();
}

/** Of devices that serve a release for the first time: what is beyond the limit. */
async function trimInference(queries: Queries, device: string): Promise<void> {
  const first = await queries
    .selectFrom('inference')
    .select('updated_at')
    .where('device', '=', device)
    .orderBy('updated_at', 'desc')
    .offset(limits.inferenceReleasesPerDeviceMaxCount)
    .limit(1)
    .executeTakeFirst();
  if (first !== undefined)
    await queries
      .deleteFrom('inference')
      .where('device', '=', device)
      .where('updated_at', '<=', first.updated_at)
      .execute();
}
