// The tables that a step of migrations.ts leaves behind, as the steps make them in a temporary
// SQLite database: so backups need no second list of tables, and none of a database's other tables
// gets into them.
import { sql } from 'kysely';
import { openUnmigrated } from './database.js';
import { migrate } from './schema-version.js';

export type Column = { readonly name: string; readonly type: 'text' | 'integer' | 'blob' };

export interface SchemaTable {
  readonly name: string;
  readonly columns: readonly Column[];
}

/** A table comes after those that its rows refer to. */
export async function schemaTables(step: string): Promise<SchemaTable[]> {
  const { db, name: database } = openUnmigrated(':memory:', { isNew: true });
  try {
    await migrate(db, database, { last: step });
    const found = await sql<{ name: string }>`
      select name from sqlite_master
      where type = 'table' and name not like 'sqlite_%' and name not like 'kysely_%'
      order by name`.execute(db);
    const left = new Map<string, { table: SchemaTable; needs: string[] }>();
    for (const { name } of found.rows) {
      const columns = await sql<{ name: string; type: string }>`
        select name, lower(type) as type from pragma_table_info(${name})`.execute(db);
      const needs = await sql<{ table: string }>`
        select "table" from pragma_foreign_key_list(${name})`.execute(db);
      const table = { name, columns: columns.rows as Column[] };
      left.set(name, { table, needs: needs.rows.map((row) => row.table) });
    }
    return inOrder(left);
  } finally {
    await db.destroy();
  }
}

function inOrder(left: Map<string, { table: SchemaTable; needs: string[] }>): SchemaTable[] {
  const ordered: SchemaTable[] = [];
  while (left.size > 0) {
    const next = [...left.values()].find(({ table, needs }) =>
      needs.every((need) => need === table.name || !left.has(need)),
    );
    if (next === undefined) throw new Error(`tables refer in a circle: ${[...left.keys()].join()}`);
    left.delete(next.table.name);
    ordered.push(next.table);
  }
  return ordered;
}
