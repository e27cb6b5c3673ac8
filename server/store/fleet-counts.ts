// The fleet in numbers, for metrics: what devices run, by group and state, and the rollouts. Each
// read walks the devices; its caller reads rarely (server/monitoring/fleet-metrics.ts).
import { expressionBuilder, sql } from 'kysely';
import type { RolloutState } from '../../shared/protocol/states.js';
import type { FleetCounts, FleetCountStore } from '../interfaces.js';
import type { Db } from './database.js';
import { jsonText } from './dialect.js';
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
