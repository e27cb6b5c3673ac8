// The fleet in numbers, for metrics: what devices run, by group and state, and the rollouts. Each
// read walks the devices; its caller reads rarely (server/monitoring/fleet-metrics.ts).
import { expressionBuilder, sql, type RawBuilder } from 'kysely';
import type { RolloutState } from '../../shared/protocol/states.js';
import { limits } from '../../shared/base/limits.js';
import type { FleetAttention, FleetCounts, FleetCountStore } from '../interfaces.js';
import type { Db } from './database.js';
import { isPostgres, jsonText } from './dialect.js';
import type { Tables } from './tables.js';
import { SECURITY_COUNT_PREFIX } from './security-events.js';

const ACTIVE: readonly RolloutState[] = ['rolling', 'held', 'reverting'];

export class SqlFleetCountStore implements FleetCountStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  async read(heardSince: number): Promise<FleetCounts> {
    return {
      devices: await this.#devices(heardSince),
      components: await this.#components(),
      rollouts: await this.#rollouts(),
      reached: await this.#reached(),
      active: await this.#active(),
      members: await this.#members(),
      security: await this.#security(),
    };
  }

  /** Without the write-ahead log. */
  async databaseBytes(): Promise<number> {
    const query = isPostgres(this.#db)
      ? sql<{ bytes: number }>`select pg_database_size(current_database()) as bytes`
      : sql<{ bytes: number }>`
          select page_count * page_size as bytes from pragma_page_count(), pragma_page_size()`;
    const { rows } = await query.execute(this.#db);
    return rows[0]?.bytes ?? 0;
  }

  async overview(clonedSince: number, heardSince: number): Promise<FleetAttention> {
    const hardware = await this.#db
      .selectFrom('devices')
      .where('status', '=', 'enrolled')
      .select('hardware')
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .groupBy('hardware')
      .orderBy('hardware')
      .limit(limits.listPageMaxCount)
      .execute();
    const cloned = await this.#db
      .selectFrom('devices')
      .where('status', '=', 'enrolled')
      .where('cloned_at', '>', clonedSince)
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    const silent = await this.#db
      .selectFrom('devices')
      .where('status', '=', 'enrolled')
      .where((eb) => eb(eb.fn.coalesce('last_seen_at', 'enrolled_at'), '<', heardSince))
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    const held = await this.#db
      .selectFrom('rollouts')
      .where('state', '=', 'held')
      .select(['id', 'component', 'version', 'digest'])
      .orderBy('created_at', 'desc')
      .limit(limits.listPageDefaultCount)
      .execute();
    return {
      hardware,
      cloned: cloned.count,
      silent: silent.count,
      ...(await this.#troubled()),
      held: held.map(({ id, ...release }) => ({ id, release })),
    };
  }

  async #troubled(): Promise<{ trouble: number; conditions: number }> {
    const body = expressionBuilder<Tables, 'facts'>().ref('facts.body_json');
    const trouble = jsonText(this.#db, body, ['trouble', 'code']);
    const conditions = jsonText(this.#db, body, ['conditions']);
    const devices = (condition: RawBuilder<string>) =>
      sql<number>`count(distinct case when ${condition} then facts.device end)`;
    return this.#db
      .selectFrom('facts')
      .innerJoin('devices', 'devices.id', 'facts.device')
      .where('facts.kind', '=', 'update')
      .where('devices.status', '=', 'enrolled')
      .select([
        devices(sql`${trouble} is not null`).as('trouble'),
        devices(sql`${conditions} <> '[]'`).as('conditions'),
      ])
      .executeTakeFirstOrThrow();
  }

  async #devices(heardSince: number): Promise<FleetCounts['devices']> {
    const since = sql.lit(heardSince);
    const heard = sql<number>`case when coalesce(last_seen_at, 0) >= ${since} then 1 else 0 end`;
    const rows = await this.#db
      .selectFrom('devices')
      .select(['group_name as group', 'status', heard.as('heard')])
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .groupBy(['group_name', 'status', heard])
      .execute();
    return rows.map((row) => ({ ...row, heard: row.heard === 1 }));
  }

  #components(): Promise<FleetCounts['components']> {
    const body = expressionBuilder<Tables, 'facts'>().ref('facts.body_json');
    const version = jsonText(this.#db, body, ['running', 'version']);
    const state = jsonText(this.#db, body, ['state']);
    return this.#db
      .selectFrom('facts')
      .innerJoin('devices', 'devices.id', 'facts.device')
      .where('facts.kind', '=', 'update')
      .where('devices.status', '=', 'enrolled')
      .select([
        'facts.component as component',
        'devices.group_name as group',
        version.as('version'),
        state.as('state'),
      ])
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .groupBy(['facts.component', 'devices.group_name', version, state])
      .execute();
  }

  #rollouts(): Promise<FleetCounts['rollouts']> {
    return this.#db
      .selectFrom('rollouts')
      .select('state')
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .groupBy('state')
      .execute();
  }

  #reached(): Promise<FleetCounts['reached']> {
    return this.#db
      .selectFrom('rollout_history')
      .select('state')
      .select((eb) => eb.fn.count<number>('rollout').distinct().as('count'))
      .groupBy('state')
      .execute();
  }

  /** At most one rollout of a component is active. */
  #active(): Promise<FleetCounts['active']> {
    return this.#db
      .selectFrom('rollouts')
      .select(['component', 'version', 'state', 'wave'])
      .where('state', 'in', ACTIVE)
      .execute();
  }

  #members(): Promise<FleetCounts['members']> {
    return this.#db
      .selectFrom('members')
      .innerJoin('rollouts', 'rollouts.id', 'members.rollout')
      .where('rollouts.state', 'in', ACTIVE)
      .select(['rollouts.component', 'rollouts.version', 'members.state'])
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .groupBy(['rollouts.component', 'rollouts.version', 'members.state'])
      .execute();
  }

  async #security(): Promise<FleetCounts['security']> {
    const rows = await this.#db
      .selectFrom('marks')
      .select(['name', 'value as count'])
      .where('name', 'like', `${SECURITY_COUNT_PREFIX}%`)
      .execute();
    return rows.map(({ name, count }) => ({
      code: name.slice(SECURITY_COUNT_PREFIX.length),
      count,
    }));
  }
}
