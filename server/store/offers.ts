// Which rollouts may have something for a device now: those in which it waits, and the standing
// releases. Devices that ask at once are answered by the same four statements.
import type { Selector } from '../../shared/protocol/operator-api.js';
import type { UpdateBody } from '../../shared/protocol/telemetry.js';
import { matches } from '../rollout/selector.js';
import { ACTIVE_STATES } from '../rollout/transitions.js';
import type { Queries } from './database.js';
import { among } from './dialect.js';

/** By device, the oldest first. Devices without offers are absent. */
export async function offersTo(
  queries: Queries,
  devices: readonly string[],
): Promise<Map<string, string[]>> {
  const open = await queries
    .selectFrom('members')
    .innerJoin('rollouts', 'rollouts.id', 'members.rollout')
    .select(['members.device', 'rollouts.id', 'rollouts.component'])
    .where(among(queries, 'members.device', devices))
    .where('members.state', '=', 'waiting')
    .where('rollouts.state', '=', 'rolling')
    .whereRef('members.wave', '<=', 'rollouts.wave')
    .orderBy('rollouts.created_at')
    .orderBy('rollouts.id')
    .execute();
  const offered = new Set(open.map(({ device, component }) => `${device}/${component}`));
  const standing = await standingFor(queries, devices, offered);
  const found = new Map<string, string[]>();
  for (const { device, id } of [...open, ...standing]) {
    const known = found.get(device);
    if (known === undefined) found.set(device, [id]);
    else known.push(id);
  }
  return found;
}

interface Offer {
  readonly device: string;
  /** The rollout's. */
  readonly id: string;
}

/**
 * The standing releases: of each component of a device the last completed rollout that selects it,
 * unless another rollout of the component is under way (one is, where device and component are in
 * `offered`), or the device was decided in it.
 */
async function standingFor(
  queries: Queries,
  devices: readonly string[],
  offered: ReadonlySet<string>,
): Promise<Offer[]> {
  const rows = await queries
    .selectFrom('devices')
    .select(['id', 'group_name', 'hardware', 'labels_json', 'components_json', 'status'])
    .where(among(queries, 'id', devices))
    .execute();
  // By a condition on the status, SQLite would read every enrolled device.
  const enrolled = rows.filter(({ status }) => status === 'enrolled');
  const asked = enrolled.flatMap(({ components_json, ...row }) =>
    (JSON.parse(components_json) as string[])
      .filter((component) => !offered.has(`${row.id}/${component}`))
      .map((component) => ({ ...row, component })),
  );
  const completed = await completedOf(
    queries,
    asked.map(({ component }) => component),
  );
  const offers = asked.flatMap(({ id: device, group_name, hardware, labels_json, component }) => {
    const labels = JSON.parse(labels_json) as Record<string, string>;
    const selectable = { group: group_name, hardware, labels };
    const last = completed
      .get(component)
      ?.find(({ selector_json }) => matches(JSON.parse(selector_json) as Selector, selectable));
    return last === undefined ? [] : [{ device, id: last.id, digest: last.digest }];
  });
  return wantedOf(queries, offers);
}

interface Completed {
  readonly id: string;
  readonly digest: string;
  /** Not parsed before it is looked at: mostly the newest of many selects the device. */
  readonly selector_json: string;
}

/** The newest first; none of a component of which another rollout is under way. */
async function completedOf(
  queries: Queries,
  components: readonly string[],
): Promise<Map<string, Completed[]>> {
  if (components.length === 0) return new Map();
  const rows = await queries
    .selectFrom('rollouts')
    .select(['id', 'component', 'state', 'selector_json', 'digest'])
    .where(among(queries, 'component', [...new Set(components)]))
    .where('state', 'in', [...ACTIVE_STATES, 'completed'])
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .execute();
  const busy = new Set(
    rows.filter(({ state }) => state !== 'completed').map(({ component }) => component),
  );
  const found = new Map<string, Completed[]>();
  for (const { id, component, digest, selector_json } of rows) {
    if (busy.has(component)) continue;
    const known = found.get(component) ?? [];
    known.push({ id, digest, selector_json });
    found.set(component, known);
  }
  return found;
}

/** The device waits for the release, is no member yet, or has lost it since its confirmation. */
async function wantedOf(
  queries: Queries,
  offers: readonly (Offer & { readonly digest: string })[],
): Promise<Offer[]> {
  if (offers.length === 0) return [];
  const devices = [...new Set(offers.map(({ device }) => device))];
  const rollouts = [...new Set(offers.map(({ id }) => id))];
  const rows = await queries
    .selectFrom('members')
    .innerJoin('rollouts', 'rollouts.id', 'members.rollout')
    .leftJoin('facts', (join) =>
      join
        .onRef('facts.device', '=', 'members.device')
        .onRef('facts.component', '=', 'rollouts.component')
        .on('facts.kind', '=', 'update'),
    )
    .select(['members.device', 'members.rollout', 'members.state', 'facts.body_json'])
    .where(among(queries, 'members.device', devices))
    .where(among(queries, 'members.rollout', rollouts))
    .execute();
  const members = new Map(rows.map((row) => [`${row.rollout}/${row.device}`, row]));
  return offers.filter(({ device, id, digest }) => {
    const member = members.get(`${id}/${device}`);
    if (member === undefined || member.state === 'waiting') return true;
    if (member.state !== 'confirmed' || member.body_json === null) return false;
    return (JSON.parse(member.body_json) as UpdateBody).running?.digest !== digest;
  });
}
