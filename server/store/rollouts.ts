// Rollouts, their members and their history, and the assignments that follow from them. One change
// of a rollout is one transaction, guarded by its revision: of two writers that read the same
// rollout, the second loses and reads again. The id of an assignment only rises, also across
// rollouts and withdrawals, so a device can tell old assignments from new ones. Over 400 lines
// because all statements of that transaction are read in one place.
import { refOf } from '../../shared/release/release-ref.js';
import { sql, type ExpressionBuilder, type Selectable, type SelectQueryBuilder } from 'kysely';
import { Fault } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { turn } from '../../shared/platform/turn.js';
import { declaredDifferences } from '../../shared/release/expected-differences.js';
import type { Manifest } from '../../shared/release/manifest.js';
import type { RolloutPolicy, Selector } from '../../shared/protocol/operator-api.js';
import type { MemberState, RolloutState } from '../../shared/protocol/states.js';
import type { TrialBody, UpdateBody } from '../../shared/protocol/telemetry.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import type {
  ArmMeasures,
  AuditAction,
  DeviceFacts,
  EligibleDevice,
  Fence,
  HistoryRow,
  LookedAt,
  MemberCount,
  MemberFilter,
  MemberKey,
  MemberLook,
  MemberRow,
  NumberedTake,
  PageRequest,
  PublishedRelease,
  RolloutChange,
  RolloutFilter,
  RolloutKey,
  RolloutRow,
  RolloutStore,
  RolloutSummaryRow,
  Take,
  TurnFilter,
} from '../interfaces.js';
import { matches } from '../rollout/selector.js';
import { nextVersion } from '../../shared/trust/version-floor.js';
import { activationOf, seriesOf } from '../rollout/strategies.js';
import { ACTIVE_STATES } from '../rollout/transitions.js';
import { UNDECIDED } from '../rollout/verdict.js';
import { armMeasures } from './arm-measures.js';
import { appendAudit } from './audit.js';
import { portions, type Db, type Queries } from './database.js';
import { among, inserting } from './dialect.js';
import { GroupedReads } from './grouped-reads.js';
import { requireLease } from './leases.js';
import { inOrder, isScan, scanConditions } from './rollout-filter.js';
import { dueLooks, dueRollouts, forgetLooks, noteLooks } from './member-looks.js';
import { offersTo } from './offers.js';
import { lastLookedAt, rowsLookedAt } from './scans.js';
import type { MembersTable, RolloutsTable, Tables } from './tables.js';

/**
 * Why a rollout of many devices is `dropped`, which takes no command, until its last members are
 * written; for good, when the server stopped before that.
 */
const UNFINISHED =
  'its devices are being written; if it stays dropped, the server stopped: create it again';

export class SqlRolloutStore implements RolloutStore {
  readonly #db: Db;
  readonly #fence: (() => Fence | null) | null;
  /** Each poll of a device begins with them. */
  readonly #offers: GroupedReads<string[]>;

  /** With `fence`, commits are refused unless the lease that it returns is held. */
  constructor(db: Db, fence: (() => Fence | null) | null = null) {
    this.#db = db;
    this.#fence = fence;
    this.#offers = new GroupedReads((devices) => offersTo(db, devices));
  }

  async active(): Promise<RolloutRow[]> {
    const rows = await this.#db
      .selectFrom('rollouts')
      .selectAll()
      .where((eb) =>
        eb.or([
          eb('state', 'in', [...ACTIVE_STATES]),
          eb.and([
            eb('state', '=', 'completed'),
            eb.exists(
              eb
                .selectFrom('member_counts')
                .select('count')
                .whereRef('member_counts.rollout', '=', 'rollouts.id')
                .where('count', '>', 0)
                .where((inner) =>
                  inner.or([
                    inner('member_counts.state', 'in', [...UNDECIDED]),
                    inner.and([
                      inner('member_counts.state', '=', 'confirmed'),
                      inner('member_counts.proven', '=', 0),
                    ]),
                  ]),
                ),
            ),
          ]),
        ]),
      )
      .orderBy('created_at')
      .orderBy('id')
      .execute();
    return rows.map(rolloutOf);
  }

  async page(
    { limit, after }: PageRequest<RolloutKey>,
    filter: RolloutFilter = {},
  ): Promise<RolloutSummaryRow[]> {
    const looked = rowsLookedAt(isScan(filter), limit);
    const rows = await this.#db
      .selectFrom(inOrder(this.#db, filter, after).limit(looked).as('rollouts'))
      .selectAll()
      .select((eb) =>
        eb.fn
          .coalesce(
            eb
              .selectFrom('member_counts')
              .whereRef('member_counts.rollout', '=', 'rollouts.id')
              .select((inner) => inner.fn.sum<number>('count').as('count')),
            eb.lit(0),
          )
          .as('devices'),
      )
      .where((eb) => eb.and(scanConditions(this.#db, filter)))
      .orderBy('created_at', 'desc')
      .orderBy('id', 'desc')
      .limit(limit)
      .execute();
    return rows.map((row) => ({ ...rolloutOf(row), devices: row.devices }));
  }

  async scanned(filter: RolloutFilter, after: RolloutKey | null): Promise<RolloutKey | null> {
    if (!isScan(filter)) return null;
    const row = await lastLookedAt(inOrder(this.#db, filter, after));
    return row === undefined ? null : [row.created_at, row.id];
  }

  rollout(id: string): Promise<RolloutRow | null> {
    return findRollout(this.#db, id);
  }

  async members(rollout: string): Promise<MemberRow[]> {
    const rows = await this.#db
      .selectFrom('members')
      .selectAll()
      .where('rollout', '=', rollout)
      .orderBy('wave')
      .orderBy('rank')
      .orderBy('device')
      .execute();
    return rows.map(memberOf);
  }

  async memberPage(
    rollout: string,
    { wave, state, failed }: MemberFilter,
    page: PageRequest<MemberKey>,
  ): Promise<MemberRow[]> {
    let query = this.#db.selectFrom('members').selectAll().where('rollout', '=', rollout);
    if (wave !== undefined) query = query.where('wave', '=', wave);
    if (state !== undefined) query = query.where('state', '=', state);
    if (failed !== undefined) query = query.where('failed', '=', sql.lit(failed ? 1 : 0));
    return membersOn(query, page);
  }

  async member(rollout: string, device: string): Promise<MemberRow | null> {
    const row = await this.#db
      .selectFrom('members')
      .selectAll()
      .where('rollout', '=', rollout)
      .where('device', '=', device)
      .executeTakeFirst();
    return row === undefined ? null : memberOf(row);
  }

  async membersOf(rollout: string, devices: readonly string[]): Promise<MemberRow[]> {
    const found: MemberRow[] = [];
    for (const some of portions(devices)) {
      const rows = await this.#db
        .selectFrom('members')
        .selectAll()
        .where('rollout', '=', rollout)
        .where(among(this.#db, 'device', some))
        .execute();
      found.push(...rows.map(memberOf));
    }
    return found.sort((a, b) => a.wave - b.wave || a.rank - b.rank);
  }

  async memberCounts(rollout: string): Promise<MemberCount[]> {
    const rows = await this.#db
      .selectFrom('member_counts')
      .select(['wave', 'hardware', 'state', 'proven', 'count'])
      .where('rollout', '=', rollout)
      .where('count', '>', 0)
      .execute();
    return rows.map((row) => ({
      ...row,
      state: row.state as MemberState,
      proven: row.proven === 1,
    }));
  }

  dueRollouts(now: number): Promise<string[]> {
    return dueRollouts(this.#db, now);
  }

  due(rollout: string, now: number, limit: number): Promise<MemberLook[]> {
    return dueLooks(this.#db, rollout, now, limit);
  }

  looked(rollout: string, looks: readonly LookedAt[]): Promise<void> {
    return noteLooks(this.#db, rollout, looks);
  }

  forgetLooks(rollout: string, limit: number): Promise<void> {
    return forgetLooks(this.#db, rollout, limit);
  }

  async takeSigns(series: string): Promise<{ hasTakes: boolean; failed: number }> {
    const { last, failed } = await this.#db
      .selectFrom('takes')
      .select((eb) => [
        eb.fn.max<number | null>('seq').as('last'),
        eb
          .selectFrom('takes as bad')
          .select((inner) => inner.fn.countAll<number>().as('count'))
          .where('bad.series', '=', series)
          .where('bad.failed', '=', sql.lit(1))
          .as('failed'),
      ])
      .where('series', '=', series)
      .executeTakeFirstOrThrow();
    return { hasTakes: last !== null, failed: failed ?? 0 };
  }

  async takesSince(rollout: string, since: number): Promise<number> {
    const { count } = await this.#db
      .selectFrom('members')
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .where('rollout', '=', rollout)
      .where('assigned_at', '>', since)
      .where('state', '!=', 'waiting')
      .executeTakeFirstOrThrow();
    return count;
  }

  async inTurn(
    rollout: string,
    { wave, hardware }: TurnFilter,
    page: PageRequest<MemberKey>,
  ): Promise<MemberRow[]> {
    const query = this.#db
      .selectFrom('members')
      .selectAll()
      .where('rollout', '=', rollout)
      .where('state', '=', 'waiting')
      .where('wave', '<=', wave)
      .where('hardware', 'in', [...hardware]);
    return membersOn(query, page);
  }

  async assigned(
    rollout: string,
    states: readonly MemberState[],
    limit: number,
  ): Promise<MemberRow[]> {
    const rows = await this.#db
      .selectFrom('members')
      .innerJoin('devices', 'devices.id', 'members.device')
      .selectAll('members')
      .where('rollout', '=', rollout)
      .where('state', 'in', [...states])
      .where('assignment_id', 'is not', null)
      .where('devices.status', '!=', 'revoked')
      .orderBy('wave')
      .orderBy('rank')
      .limit(limit)
      .execute();
    return rows.map(memberOf);
  }

  async lagging(rollout: RolloutRow, { limit, after }: PageRequest<string>): Promise<MemberRow[]> {
    const { activation, trial_json } = wanted(rollout);
    let query = this.#db
      .selectFrom('assignments')
      .innerJoin('members', (join) =>
        join
          .onRef('members.device', '=', 'assignments.device')
          .on('members.rollout', '=', rollout.id),
      )
      .selectAll('members')
      .where('assignments.component', '=', rollout.release.component)
      .where((eb) => forward(eb as ExpressionBuilder<Tables, 'assignments'>, rollout.id))
      .where((eb) =>
        eb.or([eb('activation', '!=', activation), eb('trial_json', '!=', trial_json)]),
      );
    if (after !== null) query = query.where('assignments.device', '>', after);
    const rows = await query.orderBy('assignments.device').limit(limit).execute();
    return rows.map(memberOf);
  }

  async takePage(series: string, after: number, limit: number): Promise<NumberedTake[]> {
    const rows = await this.#db
      .selectFrom('takes')
      .select(['seq', 'device', 'hardware', 'failed'])
      .where('series', '=', series)
      .where('seq', '>', after)
      .orderBy('seq')
      .limit(limit)
      .execute();
    return rows.map((row) => ({ ...row, failed: row.failed === 1 }));
  }

  async undecidedElsewhere(rollout: string, devices: readonly string[]): Promise<Set<string>> {
    const rows = await this.#db
      .selectFrom('members')
      .select('device')
      .where(among(this.#db, 'device', devices))
      .where('rollout', '!=', rollout)
      .where((eb) => undecided(eb))
      .execute();
    return new Set(rows.map(({ device }) => device));
  }

  async offersTo(device: string): Promise<string[]> {
    return (await this.#offers.get(device)) ?? [];
  }

  measures(
    component: string,
    device: string,
    time: { readonly from: number; readonly to: number },
  ): Promise<ArmMeasures> {
    return armMeasures(this.#db, component, device, time);
  }

  async lastTake(rollout: string, nth: number): Promise<number | null> {
    const row = await this.#db
      .selectFrom('members')
      .select('assigned_at')
      .where('rollout', '=', rollout)
      .where('assigned_at', 'is not', null)
      .where('state', '!=', 'waiting')
      .orderBy('assigned_at', 'desc')
      .offset(nth - 1)
      .limit(1)
      .executeTakeFirst();
    return row?.assigned_at ?? null;
  }

  async standingBefore({
    id,
    release: { component },
    selector,
    createdAt,
  }: RolloutRow): Promise<ReleaseRef | null> {
    const row = await this.#db
      .selectFrom('rollouts')
      .selectAll()
      .where('component', '=', component)
      .where('state', '=', 'completed')
      .where('id', '!=', id)
      .where('created_at', '<=', createdAt)
      .where('selector_json', 'in', [JSON.stringify(selector), JSON.stringify({})])
      .orderBy('created_at', 'desc')
      .limit(1)
      .executeTakeFirst();
    return row === undefined ? null : rolloutOf(row).release;
  }

  async newestCompleted(): Promise<RolloutRow[]> {
    const newest = this.#db
      .selectFrom('rollouts')
      .select(({ fn }) => ['component', 'selector_json', fn.max('created_at').as('at')])
      .where('state', '=', 'completed')
      .groupBy(['component', 'selector_json'])
      .as('newest');
    const rows = await this.#db
      .selectFrom('rollouts')
      .innerJoin(newest, (join) =>
        join
          .onRef('newest.component', '=', 'rollouts.component')
          .onRef('newest.selector_json', '=', 'rollouts.selector_json')
          .onRef('newest.at', '=', 'rollouts.created_at'),
      )
      .selectAll('rollouts')
      .where('state', '=', 'completed')
      .execute();
    return rows.map(rolloutOf);
  }

  async takes(series: string): Promise<Take[]> {
    const rows = await this.#db
      .selectFrom('takes')
      .select(['device', 'hardware', 'failed'])
      .where('series', '=', series)
      .orderBy('seq')
      .execute();
    return rows.map((row) => ({ ...row, failed: row.failed === 1 }));
  }

  async createdSince(since: number): Promise<number> {
    const { count } = await this.#db
      .selectFrom('rollouts')
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .where('created_at', '>=', since)
      .executeTakeFirstOrThrow();
    return count;
  }

  async history(rollout: string): Promise<HistoryRow[]> {
    const rows = await this.#db
      .selectFrom('rollout_history')
      .selectAll()
      .where('rollout', '=', rollout)
      .orderBy('id')
      .execute();
    return rows.map((row) => ({
      at: row.at,
      state: row.state as RolloutState,
      wave: row.wave,
      reasons: JSON.parse(row.reasons_json) as string[],
    }));
  }

  async facts(component: string, devices: readonly string[]): Promise<Map<string, DeviceFacts>> {
    const found = new Map<string, DeviceFacts>();
    for (const portion of portions(devices)) {
      await turnBefore(portion);
      const rows = await this.#db
        .selectFrom('devices')
        .leftJoin('facts as u', (join) =>
          join
            .onRef('u.device', '=', 'devices.id')
            .on('u.component', '=', component)
            .on('u.kind', '=', 'update'),
        )
        .leftJoin('facts as t', (join) =>
          join
            .onRef('t.device', '=', 'devices.id')
            .on('t.component', '=', component)
            .on('t.kind', '=', 'trial'),
        )
        .leftJoin('assignments as a', (join) =>
          join.onRef('a.device', '=', 'devices.id').on('a.component', '=', component),
        )
        .select([
          'devices.id',
          'devices.name',
          'devices.group_name',
          'devices.hardware',
          'devices.last_seen_at',
          'devices.status',
          'devices.instances_json',
          'u.body_json as update_json',
          't.body_json as trial_json',
          'a.version',
          'a.digest',
          'a.rollback',
        ])
        .where(among(this.#db, 'devices.id', portion))
        .execute();
      for (const row of rows) {
        found.set(row.id, {
          id: row.id,
          name: row.name,
          group: row.group_name,
          hardware: row.hardware,
          status: row.status,
          lastSeenAt: row.last_seen_at,
          instance: (JSON.parse(row.instances_json) as string[])[0] ?? null,
          update: row.update_json === null ? null : (JSON.parse(row.update_json) as UpdateBody),
          trial: row.trial_json === null ? null : (JSON.parse(row.trial_json) as TrialBody),
          standing:
            row.rollback === null
              ? null
              : { release: previousRef(component, row), rollback: row.rollback === 1 },
        });
      }
    }
    return found;
  }

  async eligible(
    component: string,
    hardware: readonly string[],
    selector: Selector,
    device?: string,
  ): Promise<EligibleDevice[]> {
    let query = this.#db
      .selectFrom('devices')
      .select([
        'id',
        'name',
        'group_name as group',
        'hardware',
        'components_json',
        'labels_json',
        'last_seen_at as lastSeenAt',
      ])
      .where('status', '=', 'enrolled')
      .where('hardware', 'in', [...hardware]);
    if (selector.groups !== undefined)
      query = query.where('group_name', 'in', [...selector.groups]);
    if (device !== undefined) query = query.where('id', '=', device);
    const rows = await query.orderBy('name').orderBy('id').execute();
    return rows.flatMap(({ components_json, labels_json, ...row }) => {
      if (!(JSON.parse(components_json) as string[]).includes(component)) return [];
      const labels = JSON.parse(labels_json) as Record<string, string>;
      if (!matches(selector, { ...row, labels })) return [];
      const { site } = labels;
      return [{ ...row, site: site ?? row.group }];
    });
  }

  async release(component: string, version: string): Promise<PublishedRelease | null> {
    const row = await this.#db
      .selectFrom('releases')
      .selectAll()
      .where('component', '=', component)
      .where('version', '=', version)
      .executeTakeFirst();
    if (row === undefined) return null;
    const manifest = JSON.parse(row.manifest_json) as Manifest;
    return {
      ref: { component, version, digest: row.digest },
      hardware: manifest.hardware,
      declared: declaredDifferences(manifest),
    };
  }

  /** Faults: conflict when the id is taken. */
  async insertRollout(
    row: RolloutRow,
    members: readonly MemberRow[],
    audit: readonly AuditAction[] = [],
  ): Promise<void> {
    const limit = limits.conductorPageRowsMaxCount;
    if (members.length <= limit) {
      await this.#insertWhole(row, members, audit);
      return;
    }
    const begun = { ...row, state: 'dropped' as const, reasons: [UNFINISHED] };
    await this.#insertWhole(begun, members.slice(0, limit), []);
    for (let at = limit; at < members.length; at += limit) {
      await turn();
      const some = members.slice(at, at + limit);
      await this.#db.transaction().execute((trx) => writeMembers(trx, some));
    }
    await this.#db.transaction().execute(async (trx) => {
      const { id, ...columns } = { id: row.id, ...rolloutColumns(row) };
      await trx.updateTable('rollouts').set(columns).where('id', '=', id).execute();
      await addHistory(trx, row, row.createdAt);
      await appendAudit(trx, audit, row.createdAt);
    });
  }

  #insertWhole(
    row: RolloutRow,
    members: readonly MemberRow[],
    audit: readonly AuditAction[],
  ): Promise<void> {
    return this.#db.transaction().execute(async (trx) => {
      const inserted = await trx
        .insertInto('rollouts')
        .values({ id: row.id, ...rolloutColumns(row), revision: row.revision })
        .onConflict((oc) => oc.column('id').doNothing())
        .executeTakeFirst();
      if (inserted.numInsertedOrUpdatedRows !== 1n)
        throw new Fault('conflict', `there already is a rollout ${row.id}`);
      await writeMembers(trx, members);
      await addHistory(trx, row, row.createdAt);
      await appendAudit(trx, audit, row.createdAt);
    });
  }

  commit(change: RolloutChange, now: number): Promise<boolean> {
    return this.#db.transaction().execute(async (trx) => {
      const { rollout } = change;
      if (this.#fence !== null) await requireLease(trx, this.#fence());
      const before = await findRollout(trx, rollout.id);
      if (before === null || before.revision !== rollout.revision) return false;
      if (ACTIVE_STATES.includes(rollout.state) && (await otherActive(trx, rollout))) return false;
      const { numUpdatedRows } = await trx
        .updateTable('rollouts')
        .set({ ...rolloutColumns(rollout), revision: before.revision + 1 })
        .where('id', '=', rollout.id)
        .where('revision', '=', before.revision)
        .executeTakeFirst();
      if (numUpdatedRows !== 1n) return false;
      await updateForward(trx, rollout, change.updated ?? []);
      const assignmentIds = await writeAssignments(trx, change, now);
      await writeMembers(
        trx,
        change.members.map((member) => assigned(member, assignmentIds, now)),
      );
      // A member gets the id of its assignment also when the caller did not change its row.
      const written = new Set(change.members.map((member) => member.device));
      const unwritten = [...assignmentIds].filter(([device]) => !written.has(device));
      await noteAssignmentIds(trx, rollout.id, unwritten, now);
      const changed =
        before.state !== rollout.state ||
        before.wave !== rollout.wave ||
        JSON.stringify(before.reasons) !== JSON.stringify(rollout.reasons);
      if (changed) await addHistory(trx, rollout, now);
      await writeTakes(trx, change, now);
      await appendAudit(trx, change.audit ?? [], now);
      return true;
    });
  }
}

function previousRef(
  component: string,
  row: { version: string | null; digest: string | null },
): ReleaseRef | null {
  return row.version === null || row.digest === null
    ? null
    : { component, version: row.version, digest: row.digest };
}

/**
 * One component has at most one active rollout; the index `rollouts_one_active` would refuse the
 * second one as well.
 */
async function otherActive(queries: Queries, rollout: RolloutRow): Promise<boolean> {
  const other = await queries
    .selectFrom('rollouts')
    .select('id')
    .where('component', '=', rollout.release.component)
    .where('state', 'in', [...ACTIVE_STATES])
    .where('id', '!=', rollout.id)
    .executeTakeFirst();
  return other !== undefined;
}

function assigned(
  member: MemberRow,
  assignmentIds: ReadonlyMap<string, number>,
  now: number,
): MemberRow {
  const assignmentId = assignmentIds.get(member.device);
  return assignmentId === undefined ? member : { ...member, assignmentId, assignedAt: now };
}

/** Assignments of a rollout that devices go forward with. */
const forward = (eb: ExpressionBuilder<Tables, 'assignments'>, rollout: string) =>
  eb.and([
    eb('assignments.rollout', '=', rollout),
    eb('assignments.rollback', '=', 0),
    eb('assignments.version', 'is not', null),
  ]);

/** What the rollout wants forward assignments to say. */
const wanted = (rollout: RolloutRow) => ({
  activation: activationOf(rollout),
  trial_json: JSON.stringify(rollout.policy.trial),
});

async function updateForward(
  queries: Queries,
  rollout: RolloutRow,
  devices: readonly string[],
): Promise<void> {
  for (const some of portions(devices)) {
    await turnBefore(some);
    await queries
      .updateTable('devices')
      .set((eb) => ({ assignment_revision: eb('assignment_revision', '+', 1) }))
      .where(among(queries, 'id', some))
      .execute();
    await queries
      .updateTable('assignments')
      .set({ ...wanted(rollout), trace: rollout.trace })
      .where((eb) => forward(eb, rollout.id))
      .where(among(queries, 'device', some))
      .execute();
  }
}

/** Statements of many rows leave the event loop a turn between them; other statements wait. */
async function turnBefore({ length }: readonly unknown[]): Promise<void> {
  if (length * 4 > limits.databaseRowsMaxCount) await turn();
}

/** The new assignment id of each device. */
async function writeAssignments(
  queries: Queries,
  { assignments: changes, rollout: { trace } }: RolloutChange,
  now: number,
): Promise<Map<string, number>> {
  const first = nextVersion(0, now);
  const assignmentIds = new Map<string, number>();
  const last = new Map(changes.map((change) => [`${change.device}/${change.component}`, change]));
  for (const some of portions([...last.values()])) {
    await turnBefore(some);
    const rows = await inserting(
      queries,
      'assignments',
      some.map((change) => ({
        device: change.device,
        component: change.component,
        assignment_id: first,
        version: change.release?.version ?? null,
        digest: change.release?.digest ?? null,
        rollback: change.rollback ? 1 : 0,
        activation: change.activation,
        rollout: change.rollout,
        trial_json: JSON.stringify(change.trial),
        trace,
      })),
    )
      .onConflict((oc) =>
        oc.columns(['device', 'component']).doUpdateSet((eb) => ({
          version: eb.ref('excluded.version'),
          digest: eb.ref('excluded.digest'),
          rollback: eb.ref('excluded.rollback'),
          activation: eb.ref('excluded.activation'),
          rollout: eb.ref('excluded.rollout'),
          trial_json: eb.ref('excluded.trial_json'),
          trace: eb.ref('excluded.trace'),
          assignment_id: eb
            .case()
            .when('assignments.assignment_id', '>=', first)
            .then(eb('assignments.assignment_id', '+', 1))
            .else(first)
            .end(),
        })),
      )
      .returning(['device', 'assignment_id'])
      .execute();
    for (const row of rows) assignmentIds.set(row.device, row.assignment_id);
    await turnBefore(some);
    await queries
      .updateTable('devices')
      .set((eb) => ({ assignment_revision: eb('assignment_revision', '+', 1) }))
      .where(
        among(
          queries,
          'id',
          some.map(({ device }) => device),
        ),
      )
      .execute();
  }
  return assignmentIds;
}

/** One statement for all members with the same new assignment id: mostly all of them. */
async function noteAssignmentIds(
  queries: Queries,
  rollout: string,
  assignmentIds: readonly (readonly [device: string, assignmentId: number])[],
  now: number,
): Promise<void> {
  const devicesOf = new Map<number, string[]>();
  for (const [device, id] of assignmentIds) {
    const same = devicesOf.get(id);
    if (same === undefined) devicesOf.set(id, [device]);
    else same.push(device);
  }
  for (const [id, devices] of devicesOf)
    for (const some of portions(devices))
      await queries
        .updateTable('members')
        .set({ assignment_id: id, assigned_at: now })
        .where('rollout', '=', rollout)
        .where('device', 'in', some)
        .execute();
}

async function writeMembers(queries: Queries, members: readonly MemberRow[]): Promise<void> {
  for (const portion of portions(members)) {
    await turnBefore(portion);
    await inserting(queries, 'members', portion.map(memberColumns))
      .onConflict((oc) =>
        oc.columns(['rollout', 'device']).doUpdateSet((eb) => ({
          name: eb.ref('excluded.name'),
          group_name: eb.ref('excluded.group_name'),
          hardware: eb.ref('excluded.hardware'),
          wave: eb.ref('excluded.wave'),
          rank: eb.ref('excluded.rank'),
          state: eb.ref('excluded.state'),
          since: eb.ref('excluded.since'),
          reasons: eb.ref('excluded.reasons'),
          previous_json: eb.ref('excluded.previous_json'),
          site: eb.ref('excluded.site'),
          may_run: eb.ref('excluded.may_run'),
          proven: eb.ref('excluded.proven'),
          assignment_id: eb.ref('excluded.assignment_id'),
          assigned_at: eb.ref('excluded.assigned_at'),
          failed: eb.ref('excluded.failed'),
          silence_json: eb.ref('excluded.silence_json'),
        })),
      )
      .execute();
  }
}

/**
 * A take has its number for good, also when the device takes the release again in another rollout;
 * a failure is never revoked.
 */
async function writeTakes(
  queries: Queries,
  { rollout, members, takes = [], untaken = [] }: RolloutChange,
  now: number,
): Promise<void> {
  const series = seriesOf(rollout);
  if (takes.length > 0) await addTakes(queries, series, { rollout, members, takes }, now);
  const failed = members.filter((member) => member.failed).map(({ device }) => device);
  for (const portion of portions(failed))
    await queries
      .updateTable('takes')
      .set({ failed: 1 })
      .where('series', '=', series)
      .where('device', 'in', portion)
      .execute();
  for (const portion of portions(untaken))
    await queries
      .deleteFrom('takes')
      .where('series', '=', series)
      .where('rollout', '=', rollout.id)
      .where('failed', '=', 0)
      .where('device', 'in', portion)
      .execute();
}

async function addTakes(
  queries: Queries,
  series: string,
  { rollout, members, takes }: Required<Pick<RolloutChange, 'rollout' | 'members' | 'takes'>>,
  now: number,
): Promise<void> {
  const hardwareOf = new Map(members.map(({ device, hardware }) => [device, hardware]));
  const known = await queries
    .selectFrom('takes')
    .select('device')
    .where('series', '=', series)
    .where(among(queries, 'device', takes))
    .execute();
  const before = new Set(known.map(({ device }) => device));
  const { last } = await queries
    .selectFrom('takes')
    .select((eb) => eb.fn.coalesce(eb.fn.max('seq'), eb.lit(0)).as('last'))
    .where('series', '=', series)
    .executeTakeFirstOrThrow();
  const rows = takes
    .filter((device) => !before.has(device))
    .map((device, index) => {
      const hardware = hardwareOf.get(device);
      if (hardware === undefined)
        throw new Error(`${device} takes a release without being a member`);
      const seq = last + 1 + index;
      return { series, seq, device, hardware, rollout: rollout.id, at: now, failed: 0 };
    });
  for (const some of portions(rows)) await inserting(queries, 'takes', some).execute();
}

/** Members that hold a place: the release is on them, and nothing is decided. */
const undecided = (eb: ExpressionBuilder<Tables, 'members'>) =>
  eb('members.state', 'in', [...UNDECIDED]);

async function addHistory(queries: Queries, rollout: RolloutRow, at: number): Promise<void> {
  await queries
    .insertInto('rollout_history')
    .values({
      rollout: rollout.id,
      at,
      state: rollout.state,
      wave: rollout.wave,
      reasons_json: JSON.stringify(rollout.reasons),
    })
    .execute();
}

async function findRollout(queries: Queries, id: string): Promise<RolloutRow | null> {
  const row = await queries
    .selectFrom('rollouts')
    .selectAll()
    .where('id', '=', id)
    .executeTakeFirst();
  return row === undefined ? null : rolloutOf(row);
}

function rolloutColumns(rollout: RolloutRow): Omit<RolloutsTable, 'id' | 'revision'> {
  return {
    component: rollout.release.component,
    version: rollout.release.version,
    digest: rollout.release.digest,
    state: rollout.state,
    wave: rollout.wave,
    reasons_json: JSON.stringify(rollout.reasons),
    policy_json: JSON.stringify(rollout.policy),
    created_at: rollout.createdAt,
    created_by: rollout.createdBy,
    since: rollout.since,
    selector_json: JSON.stringify(rollout.selector),
    approved: rollout.approved ? 1 : 0,
    asked: rollout.asked ? 1 : 0,
    undo: rollout.undo ? 1 : 0,
    silence_json: rollout.silence === null ? null : JSON.stringify(rollout.silence),
    pool_json: rollout.pool === null ? null : JSON.stringify(rollout.pool),
    go_at: rollout.goAt,
    arms_json: rollout.arms === null ? null : JSON.stringify(rollout.arms),
    answered_at: rollout.answeredAt,
    trace: rollout.trace,
  };
}

function rolloutOf(row: Selectable<RolloutsTable>): RolloutRow {
  return {
    id: row.id,
    release: refOf(row),
    state: row.state as RolloutState,
    wave: row.wave,
    reasons: JSON.parse(row.reasons_json) as string[],
    policy: JSON.parse(row.policy_json) as RolloutPolicy,
    createdAt: row.created_at,
    createdBy: row.created_by,
    since: row.since,
    selector: JSON.parse(row.selector_json) as Selector,
    approved: row.approved === 1,
    asked: row.asked === 1,
    undo: row.undo === 1,
    silence:
      row.silence_json === null ? null : (JSON.parse(row.silence_json) as RolloutRow['silence']),
    pool: row.pool_json === null ? null : (JSON.parse(row.pool_json) as RolloutRow['pool']),
    goAt: row.go_at,
    arms: row.arms_json === null ? null : (JSON.parse(row.arms_json) as RolloutRow['arms']),
    answeredAt: row.answered_at,
    trace: row.trace,
    revision: row.revision,
  };
}

function memberColumns(member: MemberRow): MembersTable {
  return {
    rollout: member.rollout,
    device: member.device,
    name: member.name,
    group_name: member.group,
    hardware: member.hardware,
    site: member.site,
    wave: member.wave,
    rank: member.rank,
    state: member.state,
    since: member.since,
    reasons: member.reasons,
    previous_json: member.previous === null ? null : JSON.stringify(member.previous),
    may_run: member.mayRun ? 1 : 0,
    assignment_id: member.assignmentId,
    assigned_at: member.assignedAt,
    proven: member.proven ? 1 : 0,
    failed: member.failed ? 1 : 0,
    silence_json: member.silence === null ? null : JSON.stringify(member.silence),
  };
}

/** A page in the order in which devices may take the release. */
async function membersOn(
  query: SelectQueryBuilder<Tables, 'members', Selectable<MembersTable>>,
  { limit, after }: PageRequest<MemberKey>,
): Promise<MemberRow[]> {
  const rest =
    after === null
      ? query
      : query.where((eb) => eb(eb.refTuple('wave', 'rank', 'device'), '>', eb.tuple(...after)));
  const rows = await rest.orderBy('wave').orderBy('rank').orderBy('device').limit(limit).execute();
  return rows.map(memberOf);
}

function memberOf(row: Selectable<MembersTable>): MemberRow {
  return {
    rollout: row.rollout,
    device: row.device,
    name: row.name,
    group: row.group_name,
    hardware: row.hardware,
    site: row.site,
    wave: row.wave,
    rank: row.rank,
    state: row.state as MemberState,
    since: row.since,
    reasons: row.reasons,
    previous: row.previous_json === null ? null : (JSON.parse(row.previous_json) as ReleaseRef),
    mayRun: row.may_run === 1,
    assignmentId: row.assignment_id,
    assignedAt: row.assigned_at,
    proven: row.proven === 1,
    failed: row.failed === 1,
    silence:
      row.silence_json === null ? null : (JSON.parse(row.silence_json) as MemberRow['silence']),
  };
}
