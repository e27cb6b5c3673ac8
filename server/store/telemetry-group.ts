// Stores a group of telemetry batches, of one device or of many, inside the caller's transaction.
// The number of statements is the same for one batch and for a full group, but for what is rare: a
// new instance of an agent, security events, and rows beyond a limit. Batches take effect in the
// order of arrival. A batch that was stored before, also within the same group, changes nothing.
// Over 400 lines because a group is one transaction over all tables of telemetry.
import type { Selectable } from 'kysely';
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
import { observeInstances } from './instances.js';
import { addSecurityEvents } from './security-events.js';
import type { FactsTable, InferenceTable } from './tables.js';

/** Records of one batch that were not stored before, in their order. */
interface Fresh {
  readonly device: string;
  readonly records: readonly TelemetryRecord[];
}

/** A result for each batch, in the order of `group`. */
export async function writeGroup(
  queries: Queries,
  group: readonly DeviceBatch[],
  now: number,
): Promise<BatchResult[]> {
  const heard = await markHeard(queries, group, now);
  const enrolled = group.filter(({ device }) => heard.has(device));
  const added = await addBatches(queries, enrolled, now);
  const events = await observeInstances(
    queries,
    added.map(({ device, batch }) => ({ device, instance: batch.instance })),
    new Map([...heard].map(([device, { instances }]) => [device, instances])),
    now,
  );
  const fresh = await insertRecords(queries, added, now);
  const declared = new Map([...heard].map(([device, { components }]) => [device, components]));
  events.push(...(await writeFacts(queries, fresh, declared, now)));
  await writeInference(queries, fresh, now);
  await writeOutcomes(queries, fresh, now);
  events.push(...securityEventsOf(fresh, now));
  if (events.length > 0) await addSecurityEvents(queries, events);
  for (const device of new Set(added.map((one) => one.device))) await trim(queries, device);
  const isAdded = new Set(added);
  return group.map((one) =>
    isAdded.has(one) ? 'stored' : heard.has(one.device) ? 'repeated' : 'not_enrolled',
  );
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
    .where('id', 'in', distinct(group.map(({ device }) => device)))
    .where('status', '=', 'enrolled')
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

/** Those that were not stored before. */
async function addBatches(
  queries: Queries,
  group: readonly DeviceBatch[],
  now: number,
): Promise<DeviceBatch[]> {
  const isNew = new Set<string>();
  for (const some of portions(group)) {
    const rows = await queries
      .insertInto('batches')
      .values(some.map(({ device, batch }) => ({ device, batch: batch.batch, at: now })))
      .onConflict((oc) => oc.doNothing())
      .returning(['device', 'batch'])
      .execute();
    for (const { device, batch } of rows) isNew.add(`${device}/${batch}`);
  }
  // Deleting each one found also drops a batch that is twice in the group.
  return group.filter(({ device, batch }) => isNew.delete(`${device}/${batch.batch}`));
}

/**
 * The records that were not stored before. The key of a record is (device, seq, device_at): a
 * device that loses its spool starts its numbers again, and its new records must not pass for old
 * ones.
 */
async function insertRecords(
  queries: Queries,
  group: readonly DeviceBatch[],
  now: number,
): Promise<Fresh[]> {
  const rows = group.flatMap(({ device, batch }) =>
    batch.records.map((record) => ({
      device,
      seq: record.seq,
      kind: record.kind,
      device_at: record.at,
      at: now,
      body_json: JSON.stringify(record.body),
    })),
  );
  const isNew = new Set<string>();
  for (const some of portions(rows)) {
    const added = await queries
      .insertInto('telemetry')
      .values(some)
      .onConflict((oc) => oc.doNothing())
      .returning(['device', 'seq', 'device_at'])
      .execute();
    for (const row of added) isNew.add(`${row.device}/${row.seq}/${row.device_at}`);
  }
  // Deleting each one found also drops a record that is twice in the group.
  return group.map(({ device, batch }) => ({
    device,
    records: batch.records
      .filter((record) => isNew.delete(`${device}/${record.seq}/${record.at}`))
      .sort((a, b) => a.seq - b.seq),
  }));
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
function latestFacts({ device, records }: Fresh, declared: ReadonlySet<string>): Fact[] {
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
  fresh: readonly Fresh[],
  declared: ReadonlyMap<string, ReadonlySet<string>>,
  now: number,
): Promise<SecurityEvent[]> {
  const facts = fresh.flatMap((one) => latestFacts(one, declared.get(one.device) ?? new Set()));
  if (facts.length === 0) return [];
  const events = await reportConditions(queries, facts, now);
  const last = new Map(facts.map((fact) => [factKey(fact), fact]));
  for (const some of portions([...last.values()]))
    await queries
      .insertInto('facts')
      .values(
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
  now: number,
): Promise<SecurityEvent[]> {
  const updates = facts.flatMap(({ device, kind, body }) =>
    kind === 'update' ? [{ device, body: body as UpdateBody }] : [],
  );
  const concerned = updates.filter(({ body }) => body.conditions.length > 0);
  if (concerned.length === 0) return [];
  const known = await knownConditions(
    queries,
    concerned.map(({ device }) => device),
  );
  const rows = [];
  const events: SecurityEvent[] = [];
  for (const { device, body } of updates) {
    const { component, running, conditions } = body;
    const before = known.get(`${device}/${component}`) ?? [];
    known.set(
      `${device}/${component}`,
      conditions.map(({ code }) => code),
    );
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

/** Codes by device and component. */
async function knownConditions(
  queries: Queries,
  devices: readonly string[],
): Promise<Map<string, string[]>> {
  const rows = await queries
    .selectFrom('facts')
    .select(['device', 'component', 'body_json'])
    .where('device', 'in', distinct(devices))
    .where('kind', '=', 'update')
    .execute();
  return new Map(
    rows.map((row) => [
      `${row.device}/${row.component}`,
      (JSON.parse(row.body_json) as UpdateBody).conditions.map(({ code }) => code),
    ]),
  );
}

interface Served {
  readonly device: string;
  readonly body: InferenceBody;
}

const sumsKey = (device: string, { component, version, digest }: ReleaseRef): string =>
  `${device}/${component}@${version}#${digest}`;

async function writeInference(
  queries: Queries,
  fresh: readonly Fresh[],
  now: number,
): Promise<void> {
  const served = fresh.flatMap(({ device, records }) =>
    records.flatMap(({ kind, body }): Served[] => (kind === 'inference' ? [{ device, body }] : [])),
  );
  if (served.length === 0) return;
  const sums = await knownSums(queries, served);
  const changed = new Map<string, { device: string; sums: InferenceSums }>();
  for (const { device, body } of served) {
    const key = sumsKey(device, body.release);
    const before = changed.get(key)?.sums ?? sums.get(key) ?? nothing(body.release);
    changed.set(key, { device, sums: addUp(before, body) });
  }
  for (const some of portions([...changed.values()]))
    await queries
      .insertInto('inference')
      .values(
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
      .where('device', 'in', devices)
      .where('digest', 'in', digests)
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
  fresh: readonly Fresh[],
  now: number,
): Promise<void> {
  const rows = fresh.flatMap(({ device, records }) =>
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
  for (const some of portions(rows))
    await queries
      .insertInto('outcomes')
      .values(some)
      .onConflict((oc) => oc.doNothing())
      .execute();
}

const once = (now: number) => ({ count: 1, firstAt: now, lastAt: now });

function securityEventsOf(fresh: readonly Fresh[], now: number): SecurityEvent[] {
  return fresh.flatMap(({ device, records }) =>
    records.flatMap(({ kind, body }): SecurityEvent[] =>
      kind === 'security'
        ? [{ source: { kind: 'device', id: device }, ...body, ...once(now) }]
        : [],
    ),
  );
}

const distinct = (items: readonly string[]): string[] => [...new Set(items)];

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
