// New conditions of releases, as devices report them, until the fleet's watch has counted them; and
// the state of its detectors.
import { expressionBuilder } from 'kysely';
import type { DetectorState } from '../../shared/statistics/condition-detector.js';
import type { ConditionSlot, ConditionStore, ConditionStream, Fence } from '../interfaces.js';
import type { Db } from './database.js';
import { jsonText } from './dialect.js';
import { requireLease } from './leases.js';
import type { Tables } from './tables.js';

export class SqlConditionStore implements ConditionStore {
  readonly #db: Db;
  readonly #fence: (() => Fence | null) | null;

  /** With `fence`, a slot is committed only while the lease that it returns is held. */
  constructor(db: Db, fence: (() => Fence | null) | null = null) {
    this.#db = db;
    this.#fence = fence;
  }

  async lastSlot(): Promise<number | null> {
    const row = await this.#db
      .selectFrom('condition_slots')
      .select((eb) => eb.fn.max('at').as('at'))
      .executeTakeFirst();
    return row?.at ?? null;
  }

  async slot(from: number, to: number): Promise<ConditionSlot[]> {
    const body = expressionBuilder<Tables, 'facts'>().ref('facts.body_json');
    const digest = jsonText(this.#db, body, ['running', 'digest']);
    const version = jsonText(this.#db, body, ['running', 'version']);
    const running = await this.#db
      .selectFrom('facts')
      .innerJoin('devices', 'devices.id', 'facts.device')
      .select(['facts.component', digest.as('digest'), version.as('version')])
      .select((eb) =>
        eb.fn.countAll<number>().filterWhere('devices.last_seen_at', '>', from).as('devices'),
      )
      .where('facts.kind', '=', 'update')
      .where('devices.status', '=', 'enrolled')
      .where(digest, 'is not', null)
      .groupBy(['facts.component', digest, version])
      .execute();
    const events = await this.#db
      .selectFrom('condition_events')
      .select(['component', 'digest', 'code'])
      .select((eb) => eb.fn.count<number>('device').distinct().as('devices'))
      .where('at', '<=', to)
      .groupBy(['component', 'digest', 'code'])
      .execute();
    return running.map((one) => ({
      release: { component: one.component, version: one.version, digest: one.digest },
      devices: one.devices,
      events: Object.fromEntries(
        events
          .filter((event) => event.component === one.component && event.digest === one.digest)
          .map((event) => [event.code, event.devices]),
      ),
    }));
  }

  async streams(): Promise<ConditionStream[]> {
    const rows = await this.#db.selectFrom('condition_streams').selectAll().execute();
    return rows.map(({ component, digest, code, detector_json }) => ({
      component,
      digest,
      code,
      detector: JSON.parse(detector_json) as DetectorState,
    }));
  }

  /** In one transaction, so that no slot is counted twice. */
  async commitSlot(at: number, streams: readonly ConditionStream[]): Promise<void> {
    await this.#db.transaction().execute(async (trx) => {
      if (this.#fence !== null) await requireLease(trx, this.#fence());
      await trx.deleteFrom('condition_streams').execute();
      for (const { component, digest, code, detector } of streams)
        await trx
          .insertInto('condition_streams')
          .values({ component, digest, code, detector_json: JSON.stringify(detector) })
          .execute();
      await trx.deleteFrom('condition_events').where('at', '<=', at).execute();
      await trx.deleteFrom('condition_slots').execute();
      await trx.insertInto('condition_slots').values({ at }).execute();
    });
  }
}
