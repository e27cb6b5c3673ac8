// Operator tokens, by hash only: who reads the database learns no token.
import type { Role } from '../../shared/protocol/operator-api.js';
import type { TokenRow, TokenStore } from '../interfaces.js';
import type { Db } from './database.js';

export class SqlTokenStore implements TokenStore {
  constructor(private readonly db: Db) {}

  async add(token: TokenRow, now: number): Promise<void> {
    await this.db
      .insertInto('tokens')
      .values({ ...token, created_at: now, revoked_at: null })
      .execute();
  }

  async valid(hash: string): Promise<TokenRow | null> {
    const row = await this.db
      .selectFrom('tokens')
      .select(['hash', 'name', 'role'])
      .where('hash', '=', hash)
      .where('revoked_at', 'is', null)
      .executeTakeFirst();
    return row === undefined ? null : { hash: row.hash, name: row.name, role: row.role as Role };
  }

  async list(): Promise<
    { name: string; role: Role; createdAt: number; revokedAt: number | null }[]
  > {
    const rows = await this.db
      .selectFrom('tokens')
      .selectAll()
      .orderBy('created_at')
      .orderBy('name')
      .execute();
    return rows.map((row) => ({
      name: row.name,
      role: row.role as Role,
      createdAt: row.created_at,
      revokedAt: row.revoked_at,
    }));
  }

  /** How many tokens of that name were revoked: 0 when there was none. */
  async revoke(name: string, now: number): Promise<number> {
    const done = await this.db
      .updateTable('tokens')
      .set({ revoked_at: now })
      .where('name', '=', name)
      .where('revoked_at', 'is', null)
      .executeTakeFirst();
    return Number(done.numUpdatedRows);
  }
}
