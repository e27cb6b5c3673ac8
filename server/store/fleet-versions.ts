// How many enrolled devices ran which version of a component, by the hour: one row for an hour,
// component and version, written again until the hour is over. Limited: few versions of a component
// have a name, the rest is OTHER_VERSIONS, and old hours are deleted.
import { sql, type Expression, type RawBuilder } from 'kysely';
import { limits } from '../../shared/base/limits.js';
import { HOUR_MS } from '../../shared/base/units.js';
import { OTHER_VERSIONS } from '../../shared/protocol/operator-api.js';
import type { FleetVersionsRow, FleetVersionsStore } from '../interfaces.js';
import type { Db } from './database.js';
import { jsonText } from './dialect.js';

/** In the table, for "nothing runs": a part of the key is not null. */
const NOTHING = '';

export class SqlFleetVersionsStore implements FleetVersionsStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  async record(now: number): Promise<void> {
    const hour = now - (now % HOUR_MS);
    const rows = limited(await this.#present()).map((row) => ({ hour, ...row }));
    await this.#db.transaction().execute(async (trx) => {
      await trx.deleteFrom('fleet_versions').where('hour', '=', hour).execute();
      if (rows.length > 0) await trx.insertInto('fleet_versions').values(rows).execute();
      await trx
        .deleteFrom('fleet_versions')
        .where('hour', '<', hour - limits.fleetVersionsKeptMs)
        .execute();
    });
  }

  async read(since: number): Promise<FleetVersionsRow[]> {
    const rows = await this.#db
      .selectFrom('fleet_versions')
      .selectAll()
      .where('hour', '>=', since)
      .orderBy('hour')
      .orderBy('component')
      .orderBy('version')
      .execute();
    return rows.map(({ version, ...row }) => ({
      ...row,
      version: version === NOTHING ? null : version,
    }));
  }

  #present(): Promise<Present[]> {
    const body: Expression<string> = sql.ref('facts.body_json');
    const version = jsonText(this.#db, body, ['running', 'version']);
    const running: RawBuilder<string> = sql<string>`coalesce(${version}, ${sql.lit(NOTHING)})`;
    return this.#db
      .selectFrom('facts')
      .innerJoin('devices', 'devices.id', 'facts.device')
      .where('facts.kind', '=', 'update')
      .where('devices.status', '=', 'enrolled')
      .select(['facts.component as component', running.as('version')])
      .select((eb) => eb.fn.countAll<number>().as('devices'))
      .groupBy(['facts.component', running])
      .orderBy('devices', 'desc')
      .execute();
  }
}

interface Present {
  readonly component: string;
  readonly version: string;
  readonly devices: number;
}

/** `all`: the most frequent first. */
function limited(all: readonly Present[]): Present[] {
  const byComponent = new Map<string, Present[]>();
  for (const row of all)
    byComponent.set(row.component, [...(byComponent.get(row.component) ?? []), row]);
  return [...byComponent.values()].slice(0, limits.fleetVersionsComponentsMaxCount).flatMap(few);
}

function few(rows: readonly Present[]): Present[] {
  const most = limits.fleetVersionsMaxCount;
  const rest = rows.slice(most);
  const [first] = rest;
  if (first === undefined) return [...rows];
  const devices = rest.reduce((sum, row) => sum + row.devices, 0);
  return [...rows.slice(0, most), { ...first, version: OTHER_VERSIONS, devices }];
}
