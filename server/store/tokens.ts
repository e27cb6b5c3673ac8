// Operator tokens by their SHA-256: a reader of the database learns no token.
import { Fault } from '../../shared/base/fault-codes.js';
import type { Role } from '../../shared/protocol/operator-api.js';
import type {
  AuditAction,
  PageRequest,
  TokenKey,
  TokenRow,
  TokenStore,
  TokenSummaryRow,
} from '../interfaces.js';
import { appendAudit } from './audit.js';
import type { Db, Queries } from './database.js';

export class SqlTokenStore implements TokenStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  add({ hash, name, role }: TokenRow, audit: AuditAction, now: number): Promise<void> {
    return this.#db.transaction().execute(async (trx) => {
      await trx
        .insertInto('tokens')
        .values({ hash, name, role, created_at: now, revoked_at: null })
        .execute();
      await appendAudit(trx, [audit], now);
    });
  }

  async valid(hash: string): Promise<TokenRow | null> {
    const row = await this.#db
      .selectFrom('tokens')
      .select(['hash', 'name', 'role'])
      .where('hash', '=', hash)
      .where('revoked_at', 'is', null)
      .executeTakeFirst();
    return row === undefined ? null : { hash: row.hash, name: row.name, role: row.role as Role };
  }

  async page({ limit, after }: PageRequest<TokenKey>): Promise<TokenSummaryRow[]> {
    let query = this.#db.selectFrom('tokens').selectAll();
    if (after !== null)
      query = query.where((eb) =>
        eb(eb.refTuple('created_at', 'hash'), '>', eb.tuple(after[0], after[1])),
      );
    const rows = await query.orderBy('created_at').orderBy('hash').limit(limit).execute();
    return rows.map((row) => ({
      hash: row.hash,
      name: row.name,
      role: row.role as Role,
      createdAt: row.created_at,
      revokedAt: row.revoked_at,
    }));
  }

  hasAdmin(): Promise<boolean> {
    return hasAdminIn(this.#db);
  }

  revoke(
    { name, isForced }: Parameters<TokenStore['revoke']>[0],
    audit: AuditAction,
    now: number,
  ): Promise<number> {
    return this.#db.transaction().execute(async (trx) => {
      const revoked = await revokeIn(trx, { name, except: null }, now);
      if (revoked === 0)
        throw new Fault(
          'not_found',
          `no valid token is named ${name}; \`linnet token list\` lists them`,
        );
      await appendAudit(trx, [audit], now);
      // After the audit entry, behind which others wait: two that revoke each other's see it.
      if (!isForced && !(await hasAdminIn(trx)))
        throw new Fault(
          'conflict',
          `${name} has the last admin token, and without one nobody can make tokens: make ` +
            'another one first (`linnet token create NAME --role admin`), or revoke this one ' +
            'with --force (in the API: "force": true) and run `linnet server init` for a new one',
        );
      return revoked;
    });
  }

  revokeOwn(own: OwnTokens, audit: AuditAction, now: number): Promise<number> {
    return this.#db.transaction().execute(async (trx) => {
      const revoked = await revokeIn(trx, own, now);
      await appendAudit(trx, [audit], now);
      return revoked;
    });
  }

  async count(name: string): Promise<number> {
    const { count } = await this.#db
      .selectFrom('tokens')
      .where('name', '=', name)
      .where('revoked_at', 'is', null)
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    return count;
  }
}

async function hasAdminIn(queries: Queries): Promise<boolean> {
  const row = await queries
    .selectFrom('tokens')
    .select('hash')
    .where('role', '=', 'admin' satisfies Role)
    .where('revoked_at', 'is', null)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

type OwnTokens = Parameters<TokenStore['revokeOwn']>[0];

async function revokeIn(trx: Queries, { name, except }: OwnTokens, now: number): Promise<number> {
  let query = trx
    .updateTable('tokens')
    .set({ revoked_at: now })
    .where('name', '=', name)
    .where('revoked_at', 'is', null);
  if (except !== null) query = query.where('hash', '<>', except);
  return Number((await query.executeTakeFirst()).numUpdatedRows);
}
