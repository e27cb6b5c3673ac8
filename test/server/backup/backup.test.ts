// Backups of a real server that runs, and what a restore accepts and refuses.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { appendFile, cp, mkdir, rm, truncate } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sql } from 'kysely';
import { backupServer, restoreServer } from '../../../server/backup-main.js';
import { verifyBackup } from '../../../server/backup/restore.js';
import type { ServerSettings } from '../../../server/config.js';
import { startServer } from '../../../server/main.js';
import { schemaTables } from '../../../server/store/schema-tables.js';
import { knownSteps } from '../../../server/store/schema-version.js';
import type { Store } from '../../../server/store/store.js';
import { isFault, type FaultCode } from '../../../shared/base/fault-codes.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import {
  batchOf,
  enrolled,
  idleUpdate,
  mqttOf,
  publish,
  startFleet,
  type TestFleet,
} from '../../support/fleet-server.js';
import { emptyPlaces } from '../../support/restored-fleet.js';
import { tempFolder } from '../../support/temp-folders.js';
import { isOnPostgres, openTestStore, testTarget } from '../../support/test-store.js';

const ALL = { keys: true, artifacts: true };
let fleet: TestFleet;
let folder: string;
let file: string;

beforeAll(async () => {
  fleet = await startFleet();
  folder = tempFolder();
  file = join(folder, 'fleet.tar');
  await publish(fleet, '1.0.0');
  const device = await enrolled(fleet, 'gate-1');
  const session = await mqttOf(fleet, device);
  const detail = '"1" \\ \u2028 ö \u{1f600}\n\0';
  const body = { code: 'file_digest', detail };
  await session.send(
    JSON.stringify(
      batchOf([
        { seq: 1, at: 1, kind: 'update', body: idleUpdate() } as const,
        { seq: 2, at: 2, kind: 'security', body } as const,
      ]),
    ),
  );
  while (session.acks.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  await session.client.endAsync();
  await fleet.store.db
    .insertInto('director_documents')
    .values({
      ...{ device: device.id, revision: 0, expires_at: 0 },
      ...{ targets_version: 1, snapshot_version: 1, timestamp_version: 1 },
      targets: Buffer.from([0, 255, 128, 10]),
      snapshot: Buffer.from(''),
      timestamp: Buffer.from('{}'),
    })
    .onConflict((oc) => oc.doNothing())
    .execute();
  await backupServer(fleet.settings, { ...ALL, out: file });
});
afterAll(() => fleet.close());

async function refusal(work: Promise<unknown>, code: FaultCode): Promise<string> {
  const fault = await work.then(
    () => null,
    (error: unknown) => error,
  );
  if (!isFault(fault)) throw new Error(`not refused with ${code}: ${String(fault)}`);
  expect(fault.code, fault.detail).toBe(code);
  return fault.detail;
}

/** Every row of every table. */
async function rowsIn(store: Store): Promise<Map<string, unknown[]>> {
  const last = (await knownSteps()).at(-1) ?? '';
  const found = new Map<string, unknown[]>();
  for (const { name, columns } of await schemaTables(last)) {
    const { rows } = await sql`select * from ${sql.table(name)}`.execute(store.db);
    const keyed = rows.map((row) =>
      JSON.stringify(columns.map((column) => (row as Record<string, unknown>)[column.name])),
    );
    found.set(name, keyed.sort());
  }
  // The server that runs renews it; the backup has what it was.
  for (const ever of ['leases', 'marks']) found.delete(ever);
  return found;
}

/** Relative path and digest of every file below. */
function filesIn(root: string): Map<string, string> {
  const entries = readdirSync(root, { recursive: true, withFileTypes: true });
  return new Map(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((path) => [
        relative(root, path),
        createHash('sha256').update(readFileSync(path)).digest('hex'),
      ]),
  );
}

async function storeOf({ data_dir }: ServerSettings): Promise<Store> {
  return openTestStore(join(data_dir, 'fleet.sqlite'));
}

async function damaged(change: (copy: string) => Promise<void> | void): Promise<string> {
  const copy = join(tempFolder(), 'copy.tar');
  await cp(file, copy);
  await change(copy);
  return copy;
}

describe('a backup of a running server', () => {
  it('gives_every_row_and_every_file_back', async () => {
    const places = await emptyPlaces(fleet);
    await restoreServer(places, file);
    const store = await storeOf(places);
    const restored = await rowsIn(store);
    expect(restored).toEqual(await rowsIn(fleet.store));
    expect(restored.get('telemetry')?.length).toBeGreaterThan(0);
    expect(restored.get('director_documents')?.length).toBe(1);
    await store.close();
    expect(filesIn(places.repository)).toEqual(filesIn(fleet.settings.repository));
    for (const name of ['device-ca.crt', 'device-ca.key'])
      expect(readFileSync(join(places.data_dir, name))).toEqual(
        readFileSync(join(fleet.settings.data_dir, name)),
      );
  });

  it('goes_on_with_keys_that_the_database_makes_above_those_that_it_has', async () => {
    const places = await emptyPlaces(fleet);
    await restoreServer(places, file);
    const store = await storeOf(places);
    const device = (await store.db.selectFrom('devices').select('id').executeTakeFirstOrThrow()).id;
    const before = await store.db.selectFrom('telemetry').select('id').execute();
    await store.db
      .insertInto('telemetry')
      .values({ device, seq: 99, kind: 'update', device_at: 1, at: 1, body_json: '{}' })
      .execute();
    const { id } = await store.db
      .selectFrom('telemetry')
      .select('id')
      .where('seq', '=', 99)
      .executeTakeFirstOrThrow();
    expect(id).toBeGreaterThan(Math.max(...before.map((row) => row.id)));
    await store.close();
  });

  it('is_for_its_owner_only_and_so_are_the_keys_that_come_out_of_it', async () => {
    const places = await emptyPlaces(fleet);
    await restoreServer(places, file);
    const modeOf = (path: string): number => statSync(path).mode & 0o777;
    expect(modeOf(file)).toBe(0o600);
    expect(modeOf(join(places.data_dir, 'device-ca.key'))).toBe(0o600);
    expect(modeOf(join(places.repository, 'online', 'timestamp.key.json'))).toBe(0o600);
    expect(modeOf(join(places.repository, 'online'))).toBe(0o700);
  });

  it('replaces_no_file_and_leaves_none_where_it_fails', async () => {
    await refusal(backupServer(fleet.settings, { ...ALL, out: file }), 'conflict');
    const to = tempFolder();
    const broken = { ...fleet.settings, repository: tempFolder() };
    await refusal(backupServer(broken, { ...ALL, out: join(to, 'b.tar') }), 'not_found');
    expect(readdirSync(to)).toEqual([]);
  });

  it('without_keys_and_files_has_none_and_says_so', async () => {
    const out = join(folder, 'bare.tar');
    await backupServer(fleet.settings, { keys: false, artifacts: false, out });
    const { head, list } = await verifyBackup(out);
    expect(head).toMatchObject({ keys: false, artifacts: 'left-out' });
    expect(list.entries.filter(({ name }) => /key|artifacts/.test(name))).toEqual([]);
    expect(readFileSync(out, 'latin1')).not.toContain('PRIVATE KEY');
  });

  it('is_refused_where_a_file_of_a_release_is_damaged_on_the_servers_disk', async () => {
    const files = tempFolder();
    const folders = { ...fleet.settings, artifacts: `file:${files}` };
    writeFileSync(join(files, 'a'.repeat(64)), 'other bytes');
    const out = join(folder, 'never.tar');
    expect(await refusal(backupServer(folders, { ...ALL, out }), 'file_digest')).toContain(files);
    expect(existsSync(out)).toBe(false);
  });
});

describe('a restore', () => {
  it.each([
    ['cut_short', (copy: string) => truncate(copy, statSync(copy).size - 4096)],
    ['without_an_end', (copy: string) => truncate(copy, 3 * 512)],
    ['another_file', (copy: string) => writeFileSync(copy, 'x'.repeat(2000))],
    ['short_text', (copy: string) => writeFileSync(copy, 'data_dir = "x"')],
    ['empty', (copy: string) => writeFileSync(copy, '')],
    ['followed_by_more', (copy: string) => followed(copy)],
    ['damaged_in_one_byte', (copy: string) => flipped(copy, '"digits"')],
    ['damaged_in_its_list', (copy: string) => flipped(copy, '"entries"')],
  ])('of_a_file_that_is_%s_is_refused_before_anything_is_written', async (_what, change) => {
    const copy = await damaged(change);
    const places = await emptyPlaces(fleet);
    await refusal(verifyBackup(copy), 'backup_invalid');
    await refusal(restoreServer(places, copy), 'backup_invalid');
    expect(existsSync(places.data_dir)).toBe(false);
    expect(existsSync(places.repository)).toBe(false);
  });

  it('of_a_folder_is_refused_as_no_backup', async () => {
    await refusal(verifyBackup(tempFolder()), 'file_unreadable');
    await refusal(restoreServer(await emptyPlaces(fleet), tempFolder()), 'file_unreadable');
  });

  it('writes_nothing_where_something_is', async () => {
    const occupied = async (change: (places: ServerSettings) => Promise<void>): Promise<string> => {
      const places = await emptyPlaces(fleet);
      await change(places);
      return refusal(restoreServer(places, file), 'conflict');
    };
    const note = async (at: string): Promise<void> => {
      await mkdir(at, { recursive: true });
      await appendFile(join(at, 'note'), 'mine');
    };
    expect(await occupied(({ data_dir }) => note(data_dir))).toContain('note');
    expect(await occupied(({ repository }) => note(repository))).toContain('note');
  });

  it('may_run_again_after_it_was_cut_anywhere_and_no_server_starts_before', async () => {
    const places = await emptyPlaces(fleet);
    const files = join(places.repository, 'metadata');
    // A file where a folder must be: the restore stops in the middle.
    await mkdir(join(places.repository, 'files'), { recursive: true });
    writeFileSync(join(places.repository, 'lost+found'), '');
    const blocked = { ...places, artifacts: `file:${join(places.repository, 'lost+found', 'x')}` };
    await refusal(restoreServer(blocked, file), 'disk_failed');
    expect(existsSync(files)).toBe(true);
    await refusal(startServer(places, { log: silentLog }), 'restore_unfinished');
    await restoreServer(places, file);
    const store = await storeOf(places);
    expect(await rowsIn(store)).toEqual(await rowsIn(fleet.store));
    await store.close();
    await refusal(restoreServer(places, file), 'conflict');
  });

  it('that_was_cut_after_its_last_write_ends_when_it_runs_again', async () => {
    const places = await emptyPlaces(fleet);
    await restoreServer(places, file);
    const { list } = await verifyBackup(file);
    const mark = createHash('sha256').update(JSON.stringify(list)).digest('hex');
    writeFileSync(join(places.data_dir, 'restore-unfinished'), mark);
    await restoreServer(places, file);
    expect(existsSync(join(places.data_dir, 'restore-unfinished'))).toBe(false);
    const store = await storeOf(places);
    expect(await rowsIn(store)).toEqual(await rowsIn(fleet.store));
    await store.close();
  });

  it('of_another_backup_does_not_go_on_where_one_was_cut', async () => {
    const places = await emptyPlaces(fleet);
    await mkdir(places.data_dir, { recursive: true });
    writeFileSync(join(places.data_dir, 'restore-unfinished'), '0'.repeat(64));
    expect(await refusal(restoreServer(places, file), 'conflict')).toContain('another backup');
  });

  it('into_the_database_that_a_server_uses_is_refused', async ({ skip }) => {
    if (!isOnPostgres()) skip('a SQLite database is in data_dir, which must be empty');
    const { database = '' } = fleet.settings;
    const places = { ...(await emptyPlaces(fleet)), database };
    expect(await refusal(restoreServer(places, file), 'conflict')).toContain('not empty');
    expect(existsSync(join(places.data_dir, 'restore-unfinished'))).toBe(false);
  });

  it('takes_a_backup_of_sqlite_into_postgresql', async ({ skip }) => {
    if (!isOnPostgres()) skip('needs PostgreSQL');
    const alone = await emptyPlaces(fleet);
    delete alone.database;
    await restoreServer(alone, file);
    const out = join(folder, 'from-sqlite.tar');
    await backupServer(alone, { ...ALL, out });
    const places = await emptyPlaces(fleet);
    await restoreServer(places, out);
    const store = await storeOf(places);
    expect(await rowsIn(store)).toEqual(await rowsIn(fleet.store));
    await store.close();
  });
});

it('a_database_without_tables_and_one_that_is_not_there_are_no_backup', async () => {
  const places = await emptyPlaces(fleet);
  const target = await testTarget(join(places.data_dir, 'fleet.sqlite'));
  await refusal(backupServer(places, { ...ALL, out: join(folder, 'none.tar') }), 'not_found');
  if (typeof target === 'string') expect(existsSync(target)).toBe(false);
  await rm(places.data_dir, { recursive: true, force: true });
});

/** One byte of a text inside the file is another one. */
function flipped(copy: string, text: string): void {
  const bytes = readFileSync(copy);
  const at = bytes.indexOf(text);
  expect(at).toBeGreaterThan(0);
  bytes[at + 1] = (bytes[at + 1] ?? 0) ^ 1;
  writeFileSync(copy, bytes);
}

/** The first entry stands once more after the list. */
function followed(copy: string): void {
  const bytes = readFileSync(copy);
  writeFileSync(
    copy,
    Buffer.concat([
      bytes.subarray(0, bytes.length - 1024),
      bytes.subarray(0, 1024),
      Buffer.alloc(1024),
    ]),
  );
}
