// The telemetry spool at its edges: limits met exactly, a file that another process holds or that
// breaks while it is open, a disk without room, and what the log then says.
import { mkdirSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, describe, expect, it } from 'vitest';
import type { Spool, SpoolOptions } from '../../../agent/telemetry/spool.js';
import { limits } from '../../../shared/base/limits.js';
import type { UpdateBody } from '../../../shared/protocol/telemetry.js';
import { realClock } from '../../../shared/platform/clock.js';
import { mountSmallDisk } from '../../support/small-disk.js';
import { drain, keptLog, openSpool, security, update, uptimes } from '../../support/spools.js';
import { health } from '../../support/telemetry-broker.js';
import { tempFolder } from '../../support/temp-folders.js';

const cleanups: (() => unknown)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

const newFile = (): string => join(tempFolder(), 'spool.db');

function open(file: string, maxBytes?: number, other?: Partial<SpoolOptions>): Spool {
  const spool = openSpool(file, maxBytes, other);
  cleanups.push(() => spool.close());
  return spool;
}

/** Bytes of one record of `health(n)` with one digit, as they count in the spool. */
const HEALTH_BYTES = JSON.stringify(health(1)).length + limits.recordExtraBytes;

/** An update record of exactly this length as JSON; its schema allows more. */
function updateOfLength(bytes: number): UpdateBody {
  const of = (escaped: number, plain: number): UpdateBody => ({
    ...update(1),
    trouble: { code: 'disk_full', detail: 'x'.repeat(plain), since: 1 },
    conditions: Array.from({ length: limits.conditionsMaxCount }, () => ({
      code: 'errors' as const,
      count: 1,
      since: 1,
      detail: '\u0001'.repeat(escaped), // Six bytes each in JSON.
    })),
  });
  const missing = bytes - JSON.stringify(of(0, 0)).length;
  const escaped = Math.floor(missing / 6 / limits.conditionsMaxCount);
  return of(escaped, missing - escaped * 6 * limits.conditionsMaxCount);
}

describe('limits met exactly', () => {
  it('longest_record_is_kept_and_one_byte_more_is_lost_and_logged', () => {
    const { log, lines } = keptLog();
    const spool = open(newFile(), undefined, { log });
    spool.append('update', updateOfLength(limits.recordBodyMaxBytes));
    expect(spool.stats()).toMatchObject({ records: 1, lost: 0 });
    spool.append('update', updateOfLength(limits.recordBodyMaxBytes + 1));
    expect(spool.stats()).toMatchObject({ records: 1, lost: 1 });
    expect(drain(spool)).toHaveLength(1);
    const over = `${limits.recordBodyMaxBytes + 1} bytes, more than ${limits.recordBodyMaxBytes}`;
    expect(lines).toEqual([
      [
        'error',
        'telemetry record does not fit its kind: dropped',
        { kind: 'update', wrong: [over] },
      ],
    ]);
  });

  it('spool_that_is_full_to_the_byte_drops_nothing', () => {
    const spool = open(newFile(), 3 * HEALTH_BYTES);
    for (let n = 0; n < 3; n += 1) spool.append('health', health(n));
    expect(spool.stats()).toEqual({ records: 3, bytes: 3 * HEALTH_BYTES, lost: 0 });
    spool.append('health', health(3));
    expect(spool.stats()).toEqual({ records: 3, bytes: 3 * HEALTH_BYTES, lost: 1 });
    expect(uptimes(drain(spool))).toEqual([1, 2, 3]);
  });

  it('batch_takes_half_the_spool_to_the_byte', () => {
    const spool = open(newFile(), 4 * HEALTH_BYTES);
    for (let n = 0; n < 3; n += 1) spool.append('health', health(n));
    expect(uptimes(spool.lease()?.records ?? [])).toEqual([0, 1]);
  });

  it('record_that_is_longer_than_half_the_spool_is_sent_alone', () => {
    const spool = open(newFile(), 1.5 * HEALTH_BYTES);
    spool.append('health', health(1));
    expect(uptimes(spool.lease()?.records ?? [])).toEqual([1]);
  });

  it('limit_lowered_below_the_leased_batch_costs_the_newcomer_only', () => {
    const file = newFile();
    const first = open(file, 8 * HEALTH_BYTES);
    for (let n = 0; n < 8; n += 1) first.append('health', health(n));
    const lease = first.lease();
    expect(lease?.records).toHaveLength(4);
    first.ack('0'.repeat(32)); // The others would go first: only the leased ones stay.
    first.close();
    const second = open(file, 2 * HEALTH_BYTES);
    second.append('health', health(9));
    expect(second.stats()).toEqual({ records: 4, bytes: 4 * HEALTH_BYTES, lost: 5 });
    expect(second.lease()).toEqual(lease);
  });

  it('time_of_a_record_is_whole_and_never_below_zero', () => {
    let now = 1234.9;
    const spool = open(newFile(), undefined, { clock: { ...realClock, now: () => now } });
    spool.append('health', health(1));
    now = -5.5;
    spool.append('health', health(2));
    expect(spool.lease()?.records.map(({ at }) => at)).toEqual([1234, 0]);
  });
});

describe('a closed spool', () => {
  it('takes_nothing_gives_nothing_and_leaves_the_file_to_others', () => {
    const file = newFile();
    const closed = open(file);
    closed.append('health', health(1));
    const batch = closed.lease()?.batch ?? '';
    closed.close();
    closed.append('health', health(2));
    expect(closed.lease()).toBeNull();
    closed.ack(batch);
    expect(closed.refused(batch)).toBe(0);
    closed.close();
    const next = open(file);
    expect(next.stats()).toMatchObject({ records: 1, lost: 0 });
    expect(uptimes(drain(next))).toEqual([1]);
  });
});

describe('a file that cannot be opened', () => {
  it('second_spool_on_the_file_is_a_conflict_that_names_it', () => {
    const file = newFile();
    open(file);
    expect(() => openSpool(file)).toThrow(
      expect.objectContaining({
        code: 'conflict',
        detail: `another process holds ${file}`,
        cause: expect.objectContaining({ code: 'SQLITE_BUSY' }) as unknown,
      }),
    );
  });

  it('file_that_another_takes_later_stops_nothing', () => {
    const file = newFile();
    mkdirSync(file); // At the start something else is in its place.
    const late = open(file);
    rmdirSync(file);
    const holder = open(file);
    late.append('update', update(1));
    expect(late.lease()?.records).toMatchObject([{ kind: 'update', body: update(1) }]);
    expect(holder.stats()).toEqual({ records: 0, bytes: 0, lost: 0 });
  });

  it('missing_folder_is_said_at_the_start', () => {
    expect(() => openSpool(join(tempFolder(), 'missing', 'spool.db'))).toThrow(
      'directory does not exist',
    );
  });

  it('folder_in_its_place_is_left_alone_and_each_call_is_logged', () => {
    const file = newFile();
    mkdirSync(file);
    const { log, lines } = keptLog();
    const spool = open(file, undefined, { log });
    spool.append('health', health(1));
    expect(spool.lease()).toBeNull();
    spool.ack('0'.repeat(32));
    expect(spool.refused('0'.repeat(32))).toBe(0);
    expect(spool.stats()).toEqual({ records: 0, bytes: 0, lost: 1 });
    expect(statSync(file).isDirectory()).toBe(true);
    const err = 'SqliteError: unable to open database file';
    expect(lines).toEqual(
      ['open', 'append', 'lease', 'ack', 'drop'].map((what) => [
        'warn',
        'cannot write the telemetry spool',
        { what, err },
      ]),
    );
  });
});

describe('a damaged file', () => {
  it('damaged_row_is_named_in_the_log', () => {
    const file = newFile();
    const first = open(file);
    first.append('health', health(1));
    first.close();
    const db = new Database(file);
    db.prepare("UPDATE record SET body = '{}'").run();
    db.close();
    const { log, lines } = keptLog();
    expect(open(file, undefined, { log }).lease()).toBeNull();
    expect(lines).toEqual([
      [
        'error',
        'telemetry record is damaged: dropped',
        { seq: 1, kind: 'health', err: expect.stringContaining('telemetry record 1: ') as unknown },
      ],
    ]);
  });

  it('repaired_at_the_start_without_a_warning', () => {
    const file = newFile();
    writeFileSync(file, 'this is not a database '.repeat(1000));
    const { log, lines } = keptLog();
    const spool = open(file, undefined, { log });
    expect(spool.stats()).toMatchObject({ records: 1, lost: 0 });
    expect(lines).toEqual([
      [
        'error',
        'telemetry spool was damaged: begun anew',
        { aside: `${file}.damaged-1`, err: 'SqliteError: file is not a database' },
      ],
    ]);
  });

  it('file_that_breaks_while_open_has_its_records_and_losses_counted', () => {
    const file = newFile();
    const first = open(file);
    for (let n = 0; n < 3; n += 1) first.append('health', health(n));
    first.refused(first.lease()?.batch ?? '');
    for (let n = 0; n < 4; n += 1) first.append('health', health(n));
    first.close();
    // An index of other columns: it names values as batches that are none.
    const db = new Database(file).unsafeMode();
    db.pragma('writable_schema = ON');
    db.exec(
      `UPDATE sqlite_schema SET sql = replace(sql, '(batch, importance', '(importance, batch') ` +
        `WHERE name = 'record_by_eviction'`,
    );
    db.close();
    const second = open(file);
    expect(second.stats()).toMatchObject({ records: 4, lost: 3 });
    expect(second.lease()?.records).toMatchObject([{ kind: 'security' }]);
    expect(second.stats()).toMatchObject({ records: 1, lost: 7 });
    second.append('health', health(1));
    second.close();
    expect(open(file).stats()).toMatchObject({ records: 2, lost: 7 });
  });

  it('file_that_cannot_be_moved_aside_is_named_and_stops_nothing', () => {
    // A name that is as long as the system permits with what SQLite adds, but not with ours.
    const file = join(tempFolder(), 's'.repeat(255 - '-journal'.length));
    writeFileSync(file, 'this is not a database '.repeat(1000));
    const { log, lines } = keptLog();
    const spool = open(file, undefined, { log });
    expect(lines).toEqual([
      [
        'error',
        'telemetry spool is damaged and cannot be moved aside',
        { err: expect.stringContaining('ENAMETOOLONG') as unknown },
      ],
      [
        'warn',
        'cannot write the telemetry spool',
        { what: 'open', err: 'SqliteError: file is not a database' },
      ],
    ]);
    spool.append('health', health(1));
    expect(spool.stats()).toEqual({ records: 0, bytes: 0, lost: 1 });
    rmSync(file);
    spool.append('health', health(2));
    expect(spool.stats()).toMatchObject({ records: 1, lost: 1 });
  });
});

describe('a disk without room', () => {
  /** A spool on such a disk, with room in the file but none beside it; undefined: not possible. */
  function fullDisk(): { file: string; fill: () => void; clear: () => void } | undefined {
    const disk = mountSmallDisk(1, 'a spool on a full disk');
    if (disk === null) return undefined;
    cleanups.push(() => disk.unmount());
    const filler = join(disk.folder, 'filler');
    const fill = (): void => {
      expect(() => writeFileSync(filler, Buffer.alloc(2 ** 20))).toThrow('ENOSPC');
    };
    return { file: join(disk.folder, 'spool.db'), fill, clear: () => rmSync(filler) };
  }

  it('log_is_folded_into_the_file_and_its_room_is_used', ({ skip }) => {
    const disk = fullDisk();
    if (disk === undefined) return skip('cannot mount a tmpfs');
    const before = open(disk.file);
    for (let n = 0; n < 200; n += 1) before.append('health', health(n));
    drain(before); // The file has free pages now.
    before.close();
    const { log, lines } = keptLog();
    const spool = open(disk.file, undefined, { log });
    for (let n = 0; n < 10; n += 1) spool.append('health', health(n));
    disk.fill();
    for (let n = 10; n < 30; n += 1) spool.append('health', health(n));
    expect(spool.stats()).toMatchObject({ records: 30, lost: 0 });
    expect(lines).toEqual([]);
  });

  it('folding_that_makes_no_room_is_tried_once', ({ skip }) => {
    const disk = fullDisk();
    if (disk === undefined) return skip('cannot mount a tmpfs');
    open(disk.file).close();
    const { log, lines } = keptLog();
    const spool = open(disk.file, undefined, { log });
    disk.fill();
    spool.append('security', security('no room'));
    expect(spool.stats()).toEqual({ records: 0, bytes: 0, lost: 1 });
    expect(lines).toEqual([
      [
        'warn',
        'cannot write the telemetry spool',
        { what: 'append', err: 'SqliteError: database or disk is full' },
      ],
    ]);
    disk.clear();
    spool.append('security', security('room'));
    expect(spool.stats()).toMatchObject({ records: 1, lost: 1 });
  });
});
