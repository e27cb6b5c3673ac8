// Which steps of migrations.ts a database has, and the running of those that it lacks. A database
// with a step that this program does not know was made by a newer one, whose columns and rules this
// one would ignore: it is refused, and nothing is changed.
import { Migrator, sql, type Kysely, type MigrationProvider } from 'kysely';
import { Fault } from '../../shared/base/fault-codes.js';
import { databaseFault } from '../database-fault.js';
import { migrations } from './migrations.js';
import type { Tables } from './tables.js';

/** The names of all steps of this program, in their order. */
export async function knownSteps(provider: MigrationProvider = migrations): Promise<string[]> {
  return Object.keys(await provider.getMigrations()).sort();
}

/** The names of the steps that a database has, in their order; none when it has no tables. */
export async function appliedSteps(db: Kysely<Tables>, name: string): Promise<string[]> {
  try {
    const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
    if (!tables.some((table) => table.name === 'kysely_migration')) return [];
    const { rows } = await sql<{ name: string }>`select name from kysely_migration`.execute(db);
    return rows.map((row) => row.name).sort();
  } catch (error) {
    throw databaseFault(error, `reading the schema of ${name}`);
  }
}

/** Fault schema_newer. `what` has the steps. */
export function requireKnown(
  what: string,
  steps: readonly string[],
  known: readonly string[],
): void {
  const unknown = steps.find((step) => !known.includes(step));
  if (unknown === undefined) return;
  throw new Fault(
    'schema_newer',
    `${what} has the schema step ${unknown}; this version of Linnet ends at ${known.at(-1)}`,
  );
}

/** Runs the steps up to `last`, or all. Faults: schema_newer, disk_*, database_unreachable. */
export async function migrate(
  db: Kysely<Tables>,
  name: string,
  { provider = migrations, last }: { provider?: MigrationProvider; last?: string } = {},
): Promise<void> {
  requireKnown(name, await appliedSteps(db, name), await knownSteps(provider));
  const migrator = new Migrator({ db, provider });
  const { error, results } = await (last === undefined
    ? migrator.migrateToLatest()
    : migrator.migrateTo(last));
  if (error === undefined) return;
  const failed =
    results?.find((result) => result.status === 'Error')?.migrationName ?? 'before the first step';
  throw databaseFault(error, `migrating ${name} (${failed})`);
}
