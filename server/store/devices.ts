// Devices: who knocked, who is enrolled, in which group, with which labels; and claims, the
// one-time passes that let a device in without a person. A claim is used up in the same transaction
// that enrols the device, so that it can never admit one device too many. Devices are not deleted
// (a revoked one must stay known as revoked), but for the oldest that knocked and was never
// approved, when too many knock.
import type { Selectable } from 'kysely';
import { limits } from '../../shared/base/limits.js';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Group } from '../../shared/protocol/operator-api.js';
import type { EnrolRequest } from '../../shared/protocol/device-api.js';
import { fromHex } from '../../shared/base/bytes.js';
import { publicKeyOf } from "../../shared/trust/signer.js";
import type { DeviceRow, DeviceStore } from '../interfaces.js';
import type { Db, Queries } from './database.js';
import type { DevicesTable } from './tables.js';

/** Where a device is put until somebody says otherwise. */
export const DEFAULT_GROUP = 'default';

export class SqlDeviceStore implements DeviceStore {
  constructor(private readonly db: Db) {}

  /**
   * Enrols or re-reads a device whose proof has been checked. Known devices keep what they have; a
   * pending one with a good claim becomes enrolled. Without one it waits; the oldest of those that
   * wait makes room. Faults: claim_invalid.
   */
  enrol(
    id: string,
    request: EnrolRequest,
    claimHash: string | null,
    now: number,
  ): Promise<DeviceRow> {
    return this.db.transaction().execute(async (trx) => {
      const known = await find(trx, id);
      if (known !== null && known.status !== 'pending') {
        // The components may have changed with the device's configuration; name, hardware and
        // status are the operator's.
        await trx
          .updateTable('devices')
          .set({ components_json: JSON.stringify(request.components) })
          .where('id', '=', id)
          .execute();
        return { ...known, components: request.components };
      }
      const group = claimHash === null ? null : await useClaim(trx, claimHash, now);
      if (known === null) {
        if (group === null) await makeRoom(trx);
        await insert(trx, id, request, now);
      }
      if (group !== null) {
        await trx
          .updateTable('devices')
          .set({ status: 'enrolled', group_name: group, enrolled_at: now })
          .where('id', '=', id)
          .execute();
      }
      return (await find(trx, id)) as DeviceRow;
    });
  }

  get(id: string): Promise<DeviceRow | null> {
    return find(this.db, id);
  }

  /** A device by id or by name. Faults: not_found; conflict when several carry the name. */
  async named(idOrName: string): Promise<DeviceRow> {
    const byId = await find(this.db, idOrName);
    if (byId !== null) return byId;
    const rows = await this.db
      .selectFrom('devices')
      .selectAll()
      .where('name', '=', idOrName)
      .limit(10)
      .execute();
    const [only] = rows;
    if (only === undefined)
      throw new Fault('not_found', `no device has the id or name ${idOrName}`);
    if (rows.length > 1)
      throw new Fault(
        'conflict',
        `${rows.length} devices are named ${idOrName}: use an id (${rows.map((row) => row.id).join(', ')})`,
      );
    return fromRow(only);
  }

  async list(): Promise<DeviceRow[]> {
    const rows = await this.db
      .selectFrom('devices')
      .selectAll()
      .orderBy('group_name')
      .orderBy('name')
      .orderBy('id')
      .execute();
    return rows.map(fromRow);
  }

  async groups(): Promise<Group[]> {
    return this.db
      .selectFrom('devices')
      .select((eb) => ['group_name as name', eb.fn.countAll<number>().as('devices')])
      .where('status', '=', 'enrolled')
      .groupBy('group_name')
      .orderBy('group_name')
      .execute();
  }

  /**
   * pending -> enrolled. Approving twice is once; a revoked device stays out (its key may be
   * stolen). Faults: conflict.
   */
  approve(id: string, now: number): Promise<DeviceRow> {
    return this.db.transaction().execute(async (trx) => {
      const device = await find(trx, id);
      if (device === null) throw new Fault('not_found', `no device has the id ${id}`);
      if (device.status === 'revoked')
        throw new Fault(
          'conflict',
          `${device.name} (${id}) is revoked; give the device a new key and let it enrol again`,
        );
      if (device.status === 'pending')
        await trx
          .updateTable('devices')
          .set({ status: 'enrolled', enrolled_at: now })
          .where('id', '=', id)
          .execute();
      return (await find(trx, id)) as DeviceRow;
    });
  }

  async revoke(id: string): Promise<void> {
    await this.db.updateTable('devices').set({ status: 'revoked' }).where('id', '=', id).execute();
  }

  async change(
    id: string,
    group: string | undefined,
    labels: Readonly<Record<string, string>> | undefined,
  ): Promise<void> {
    const set = {
      ...(group === undefined ? {} : { group_name: group }),
      ...(labels === undefined ? {} : { labels_json: JSON.stringify(labels) }),
    };
    if (Object.keys(set).length > 0)
      await this.db.updateTable('devices').set(set).where('id', '=', id).execute();
  }

  async addClaim(
    hash: string,
    group: string,
    uses: number,
    expiresAt: number,
    createdBy: string,
    now: number,
  ): Promise<void> {
    await this.db.deleteFrom('claims').where('expires_at', '<', now).execute();
    await this.db
      .insertInto('claims')
      .values({
        hash,
        group_name: group,
        uses_left: uses,
        expires_at: expiresAt,
        created_at: now,
        created_by: createdBy,
      })
      .execute();
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

/**
 * For one more that waits. Who is put out knocks again, so strangers can delay an approval but not
 * fill the server.
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
      assignment_revision: 0,
    })
    .execute();
}

/** The claim's group; one use less of it. */
async function useClaim(queries: Queries, hash: string, now: number): Promise<string> {
  const claim = await queries
    .updateTable('claims')
    .set((eb) => ({ uses_left: eb('uses_left', '-', 1) }))
    .where('hash', '=', hash)
    .where('uses_left', '>', 0)
    .where('expires_at', '>', now)
    .returning('group_name')
    .executeTakeFirst();
  if (claim === undefined)
    throw new Fault('claim_invalid', 'the claim token is unknown, used up or expired');
  return claim.group_name;
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
  };
}
