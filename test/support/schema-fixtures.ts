// Databases as older versions of the server left them: test/fixtures/schema/STEP.sql, made by
// write-schema-fixture.ts of that version. Keys come from a seed, so that a repository made today
// signs the very releases that such a database names, and no fixture ever expires.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { initRepository } from '../../firmware-tools/release/repository.js';
import { serverSettings, type ServerSettings } from '../../server/config.js';
import type { Random } from '../../shared/base/interfaces.js';
import { realClock } from '../../shared/platform/clock.js';
import { deviceIdOf } from '../../shared/trust/device-token.js';
import { signerFromSeed } from '../../shared/trust/signer.js';
import { tokenOf, type TestDevice } from './fleet-server.js';
import { seeded } from './random.js';

export const FIXTURES = join('test', 'fixtures', 'schema');
export const GATES = 4;
const SEED = 7;
const TOKEN_LINE = /^-- The admin token is (\S+)\.$/m;

/** Repository of the fixtures, in `folder`/repo; `data` is a folder in it. */
export async function fixtureRepository(folder: string): Promise<void> {
  const fraction = seeded(SEED);
  const random: Random = {
    fraction,
    bytes: (length) => Uint8Array.from({ length }, () => Math.floor(fraction() * 256)),
  };
  await initRepository({ out: join(folder, 'repo'), passphrase: null, clock: realClock, random });
}

export const fixtureSettings = (folder: string, data: string): ServerSettings =>
  serverSettings(
    `data_dir = "${folder}/${data}"\nrepository = "${folder}/repo/server"\n` +
      `[http]\nport = 0\n[mqtt]\nport = 0\n`,
    {},
  );

/** The devices of the fixtures: gate-0 and so on, and what others there are by higher numbers. */
export function fixtureDevice(n: number): TestDevice {
  const key = signerFromSeed(new Uint8Array(32).fill(81).map((byte, at) => (at === 0 ? n : byte)));
  const id = deviceIdOf(key.publicKey);
  return {
    id,
    key,
    name: `gate-${n}`,
    token: tokenOf(id, key),
  };
}

/** Everything in a SQLite database, as readable text. */
export function dumped(file: string, adminToken: string): string {
  const db = new Database(file, { readonly: true, fileMustExist: true });
  const objects = db
    .prepare('select name, type, sql from sqlite_master where sql is not null order by rowid')
    .all() as { name: string; type: string; sql: string }[];
  const lines = [`-- The admin token is ${adminToken}.`];
  for (const { name, type, sql } of objects) {
    lines.push(`${sql.replace(/^\s+/gm, '  ').trim()};`);
    if (type !== 'table') continue;
    for (const row of db.prepare(`select * from "${name}"`).raw().all() as unknown[][])
      lines.push(`insert into "${name}" values (${row.map(literal).join(', ')});`);
  }
  db.close();
  return `${lines.join('\n')}\n`;
}

function literal(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'number') return String(value);
  if (value instanceof Uint8Array)
    return `cast(${literal(Buffer.from(value).toString('utf8'))} as blob)`;
  if (typeof value === 'string') return `'${value.replaceAll("'", "''")}'`;
  throw new Error(`no literal for a ${typeof value}`);
}

/** Makes the database of a fixture; its admin token. */
export function writeFixture(step: string, file: string): string {
  const text = readFileSync(join(FIXTURES, `${step}.sql`), 'utf8');
  const db = new Database(file);
  db.exec(text);
  db.close();
  return TOKEN_LINE.exec(text)?.[1] ?? '';
}
