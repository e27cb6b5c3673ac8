// Devices: pending, enrolled or revoked, in a group, with labels; and claims, which enrol a device
// without an operator's approval. A claim is used up in the same transaction that enrols the
// device, so that it never admits one device too many. Devices are not deleted: a revoked one must
// stay known as revoked, and keeps its history under its id while another device takes its name.
// The exception: the oldest pending ones, when there are too many.
import { isDeepStrictEqual } from 'node:util';
import type { Selectable } from 'kysely';
import { limits } from '../../shared/base/limits.js';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Group } from '../../shared/protocol/operator-api.js';
import type { EnrolRequest } from '../../shared/protocol/device-api.js';
import { fromHex } from '../../shared/base/bytes.js';
import { publicKeyOf } from '../../shared/trust/signer.js';
import type {
  AuditAction,
  ClaimRow,
  DeviceChange,
  DeviceFilter,
  DeviceKey,
  DeviceRow,
  DeviceStore,
  PageRequest,
} from '../interfaces.js';
import { appendAudit } from './audit.js';
import { inOrder, isScan, scanConditions } from './device-filter.js';
import type { Db, Queries } from './database.js';
import { among, isPostgres } from './dialect.js';
import { GroupedReads } from './grouped-reads.js';
import { lastLookedAt, rowsLookedAt } from './scans.js';
import type { DevicesTable } from './tables.js';

/** The group of a device until an operator or a claim chooses another. */
const DEFAULT_GROUP = 'default';

export class SqlDeviceStore implements DeviceStore {
  readonly #db: Db;
  /** Each request of a device begins with its row. */
  readonly #rows: GroupedReads<DeviceRow>;

  constructor(db: Db) {
    this.#db = db;
    this.#rows = new GroupedReads((ids) => findAll(db, ids));
  }

  enrol(
    id: string,
    request: EnrolRequest,
    claimHash: string | null,
    now: number,
  ): Promise<DeviceRow> {
    return this.#db.transaction().execute(async (trx) => {
      const known = await findLocked(trx, id);
      if (known !== null && known.status !== 'pending') {
        // The components may have changed with the device's configuration; name, hardware and
        // status are the operator's. One that asks again and again, or was revoked, writes nothing.
        if (known.status === 'revoked' || isDeepStrictEqual(known.components, request.components))
          return known;
        await trx
          .updateTable('devices')
          .set({ components_json: JSON.stringify(request.components) })
          .where('id', '=', id)
          .execute();
        return { ...known, components: request.components };
      }
      const claim = claimHash === null ? null : await useClaim(trx, claimHash, now);
      if (known === null) {
        if (claim === null || 'refused' in claim) await makeRoom(trx);
        await insert(trx, id, request, now);
      }
      if (claim !== null) {
        const set =
          'refused' in claim
            ? { pending_reason: claim.refused }
            : {
                status: 'enrolled' as const,
                group_name: claim.group,
                enrolled_at: now,
                pending_reason: null,
              };
        await trx.updateTable('devices').set(set).where('id', '=', id).execute();
      }
      return (await find(trx, id)) as DeviceRow;
    });
  }

  async get(id: string): Promise<DeviceRow | null> {
    return (await this.#rows.get(id)) ?? null;
  }

  async named(idOrName: string, first: 'enrolled' | 'pending'): Promise<DeviceRow> {
    const byId = await find(this.#db, idOrName);
    if (byId !== null) return byId;
    const rows = await this.#db
      .selectFrom('devices')
      .selectAll()
      .where('name', '=', idOrName)
      .orderBy((eb) => eb.case().when('status', '=', first).then(0).else(1).end())
      .orderBy((eb) => eb.case().when('status', '=', 'revoked').then(1).else(0).end())
      .orderBy('id')
      .limit(limits.listedMaxCount)
      .execute();
    const [only] = rows;
    if (only === undefined)
      throw new Fault(
        'not_found',
        `no device has the id or name ${idOrName}; \`linnet device list\` lists the devices`,
      );
    const alike = rows.filter(({ status }) => status === only.status);
    if (alike.length > 1)
      throw new Fault(
        'conflict',
        `${alike.length} ${only.status} devices are named ${idOrName}: use an id ` +
          `(${alike.map((row) => row.id).join(', ')})`,
      );
    return fromRow(only);
  }

  async page(filter: DeviceFilter, { limit, after }: PageRequest<DeviceKey>): Promise<DeviceRow[]> {
    const looked = rowsLookedAt(isScan(filter), limit);
    const rows = await this.#db
      .selectFrom(inOrder(this.#db, filter, after).limit(looked).as('devices'))
      .selectAll()
      .where((eb) => eb.and(scanConditions(this.#db, filter)))
      .orderBy('group_name')
      .orderBy('name')
      .orderBy('id')
      .limit(limit)
      .execute();
    if (rows.length === 0 && filter.group !== undefined) await this.requireGroup(filter.group);
    return rows.map(fromRow);
  }

  async scanned(filter: DeviceFilter, after: DeviceKey | null): Promise<DeviceKey | null> {
    if (!isScan(filter)) return null;
    const row = await lastLookedAt(inOrder(this.#db, filter, after));
    return row === undefined ? null : [row.group_name, row.name, row.id];
  }

  async requireGroup(group: string): Promise<void> {
    const row = await this.#db
      .selectFrom('devices')
      .select('id')
      .where('group_name', '=', group)
      .limit(1)
      .executeTakeFirst();
    if (row === undefined)
      throw new Fault(
        'not_found',
        `no device is in group ${group}; \`linnet group list\` lists the groups`,
      );
  }

  async groups({ limit, after }: PageRequest<string>): Promise<Group[]> {
    let query = this.#db
      .selectFrom('devices')
      .select((eb) => ['group_name as name', eb.fn.countAll<number>().as('devices')])
      .where('status', '=', 'enrolled');
    if (after !== null) query = query.where('group_name', '>', after);
    return query.groupBy('group_name').orderBy('group_name').limit(limit).execute();
  }

  approve(id: string, audit: AuditAction, now: number): Promise<DeviceRow> {
    return this.#db.transaction().execute(async (trx) => {
      const device = await requireLocked(trx, id);
      if (device.status === 'revoked')
        throw new Fault(
          'conflict',
          `${device.name} (${id}) is revoked; give the device a new key and let it enrol again`,
        );
      if (device.status === 'pending')
        await trx
          .updateTable('devices')
          .set({ status: 'enrolled', enrolled_at: now, pending_reason: null })
          .where('id', '=', id)
          .execute();
      await appendAudit(trx, [audit], now);
      return requireDevice(trx, id);
    });
  }

  revoke(id: string, audit: AuditAction, now: number): Promise<DeviceRow> {
    return this.#db.transaction().execute(async (trx) => {
      await trx.updateTable('devices').set({ status: 'revoked' }).where('id', '=', id).execute();
      await appendAudit(trx, [audit], now);
      return requireDevice(trx, id);
    });
  }

  replace(old: string, by: string, audit: AuditAction, now: number): Promise<DeviceRow> {
    return this.#db.transaction().execute(async (trx) => {
      const before = await requireLocked(trx, old);
      const after = await requireLocked(trx, by);
      if (before.id === after.id)
        throw new Fault('conflict', `${before.name} (${old}) cannot replace itself`);
      if (after.status === 'revoked')
        throw new Fault('conflict', `${after.name} (${by}) is revoked: nothing can be moved to it`);
      await trx
        .updateTable('devices')
        .set({
          name: before.name,
          group_name: before.group,
          labels_json: JSON.stringify(before.labels),
          status: 'enrolled',
          enrolled_at: after.enrolledAt ?? now,
          pending_reason: null,
        })
        .where('id', '=', by)
        .execute();
      await trx.updateTable('devices').set({ status: 'revoked' }).where('id', '=', old).execute();
      await appendAudit(trx, [audit], now);
      return requireDevice(trx, by);
    });
  }

  change(
    id: string,
    { group, labels }: DeviceChange,
    audit: AuditAction,
    now: number,
  ): Promise<DeviceRow> {
    const set = {
      ...(group === undefined ? {} : { group_name: group }),
      ...(labels === undefined ? {} : { labels_json: JSON.stringify(labels) }),
    };
    return this.#db.transaction().execute(async (trx) => {
      if (Object.keys(set).length > 0)
        await trx.updateTable('devices').set(set).where('id', '=', id).execute();
      await appendAudit(trx, [audit], now);
      return requireDevice(trx, id);
    });
  }

  /** Claims that expired long ago are removed on the way. */
  addClaim(claim: ClaimRow, audit: AuditAction, now: number): Promise<void> {
    return this.#db.transaction().execute(async (trx) => {
      await trx
        .deleteFrom('claims')
        .where('expires_at', '<', now - limits.claimKeptMs)
        .execute();
      await trx
        .insertInto('claims')
        .values({
          hash: claim.hash,
          group_name: claim.group,
          uses_left: claim.uses,
          expires_at: claim.expiresAt,
          created_at: now,
          created_by: claim.createdBy,
        })
        .execute();
      await appendAudit(trx, [audit], now);
    });
  }
}

async function find(queries: Queries, id: string): Promise<DeviceRow | null> {
  const row = await queries
    .selectFrom('devices')
    .selectAll()
    .where('id', '=', id)
    .executeTakeFirst();
  return row === undefined ? null : fromRow(row);
}

async function findAll(queries: Queries, ids: readonly string[]): Promise<Map<string, DeviceRow>> {
  const rows = await queries
    .selectFrom('devices')
    .selectAll()
    .where(among(queries, 'id', ids))
    .execute();
  return new Map(rows.map((row) => [row.id, fromRow(row)]));
}

/** For a transaction that writes what it read here: no other one changes the row meanwhile. */
async function findLocked(queries: Queries, id: string): Promise<DeviceRow | null> {
  const row = await queries
    .selectFrom('devices')
    .selectAll()
    .where('id', '=', id)
    .$if(isPostgres(queries), (query) => query.forNoKeyUpdate())
    .executeTakeFirst();
  return row === undefined ? null : fromRow(row);
}

async function requireDevice(queries: Queries, id: string): Promise<DeviceRow> {
  return required(await find(queries, id), id);
}

async function requireLocked(queries: Queries, id: string): Promise<DeviceRow> {
  return required(await findLocked(queries, id), id);
}

function required(device: DeviceRow | null, id: string): DeviceRow {
  if (device === null)
    throw new Fault(
      'not_found',
      `no device has the id ${id}; \`linnet device list\` lists the devices`,
    );
  return device;
}

/**
 * Removes the oldest pending devices, so that one more fits the limit. A removed device enrols
 * again by itself: strangers can delay an approval but cannot fill the database.
 */
async function makeRoom(queries: Queries): Promise<void> {
  const tooMany = queries
    .selectFrom('devices')
    .select('id')
    .where('status', '=', 'pending')
    .orderBy('first_seen_at', 'desc')
    .orderBy('id')
    .offset(limits.pendingDevicesMaxCount - 1)
    .limit(limits.pendingDevicesMaxCount);
  await queries.deleteFrom('devices').where('id', 'in', tooMany).execute();
}

async function insert(
  queries: Queries,
  id: string,
  request: EnrolRequest,
  now: number,
): Promise<void> {
  await queries
    .insertInto('devices')
    .values({
      id,
      name: request.name,
      hardware: request.hardware,
      components_json: JSON.stringify(request.components),
      public_key: request.publicKey.keyval.public,
      status: 'pending',
      group_name: DEFAULT_GROUP,
      labels_json: '{}',
      first_seen_at: now,
      enrolled_at: null,
      last_seen_at: null,
      pending_reason: null,
      instances_json: '[]',
      cloned_at: null,
      assignment_revision: 0,
    })
    .execute();
}

/** The claim's group, with one use less of it; or why it enrols nobody any more. */
async function useClaim(
  queries: Queries,
  hash: string,
  now: number,
): Promise<{ group: string } | { refused: string }> {
  const claim = await queries
    .updateTable('claims')
    .set((eb) => ({ uses_left: eb('uses_left', '-', 1) }))
    .where('hash', '=', hash)
    .where('uses_left', '>', 0)
    .where('expires_at', '>', now)
    .returning('group_name')
    .executeTakeFirst();
  return claim === undefined
    ? { refused: await whyRefused(queries, hash, now) }
    : { group: claim.group_name };
}

async function whyRefused(queries: Queries, hash: string, now: number): Promise<string> {
  const claim = await queries
    .selectFrom('claims')
    .select('expires_at')
    .where('hash', '=', hash)
    .executeTakeFirst();
  if (claim === undefined) return 'its claim token is not one of this server, or expired long ago';
  return claim.expires_at <= now
    ? `its claim token expired at ${new Date(claim.expires_at).toISOString()}`
    : 'its claim token was used up by other devices';
}

function fromRow(row: Selectable<DevicesTable>): DeviceRow {
  return {
    id: row.id,
    name: row.name,
    hardware: row.hardware,
    components: JSON.parse(row.components_json) as string[],
    publicKey: publicKeyOf(fromHex(row.public_key)),
    status: row.status,
    group: row.group_name,
    labels: JSON.parse(row.labels_json) as Record<string, string>,
    enrolledAt: row.enrolled_at,
    lastSeenAt: row.last_seen_at,
    pendingReason: row.pending_reason,
    clonedAt: row.cloned_at,
  };
}
