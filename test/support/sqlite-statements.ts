// Where each run of a statement on SQLite can be seen: statements are prepared once and kept.
import Database from 'better-sqlite3';

interface Runs {
  all: (this: Database.Statement, ...parameters: unknown[]) => unknown;
  run: (this: Database.Statement, ...parameters: unknown[]) => unknown;
}

export const statementRuns = Object.getPrototypeOf(
  new Database(':memory:').prepare('select 1'),
) as Runs;
