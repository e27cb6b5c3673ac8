// The telemetry spool on real files: full disks, damage, its byte bound. Processes that are killed
// or limited are in spool-processes.test.ts.
import { execFileSync } from 'node:child_process';
import {
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, describe, expect, it } from 'vitest';
import type { Spool } from '../../../agent/telemetry/spool.js';
import { limits } from '../../../shared/base/limits.js';
import { realClock } from '../../../shared/platform/clock.js';
import { drain, openSpool, security, update, uptimes } from '../../support/spools.js';
import { health } from '../../support/telemetry-broker.js';

const cleanups: (() => unknown)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'linnet-spool-'));
  cleanups.push(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

function open(file: string, maxBytes?: number): Spool {
  const spool = openSpool(file, maxBytes);
  cleanups.push(() => spool.close());
  return spool;
}

describe('leases', () => {
  it('restart_leases_the_same_batch_again', () => {
    const file = join(folder(), 'spool.db');
    const first = open(file);
    for (let n = 0; n < 300; n += 1) first.append('health', health(n));
    const lease = first.lease();
    expect(lease?.records.length).toBe(limits.batchMaxCount);
    first.append('security', security('later'));
    expect(first.lease()).toEqual(lease);
    first.close();
    const second = open(file);
    expect(second.lease()).toEqual(lease);
    second.ack('0'.repeat(32));
    expect(second.lease()).toEqual(lease);
    second.ack(lease?.batch ?? '');
    const next = second.lease();
    expect(next?.batch).not.toBe(lease?.batch);
    expect(next?.records.length).toBe(101);
    second.ack(next?.batch ?? '');
    expect(second.lease()).toBeNull();
    expect(second.stats()).toEqual({ records: 0, bytes: 0, lost: 0 });
  });

  it('batch_is_limited_in_bytes', () => {
    const spool = open(join(folder(), 'spool.db'));
    const detail = 'x'.repeat(2000);
    for (let n = 0; n < 199; n += 1) spool.append('security', security(detail));
    const lease = spool.lease();
    expect(JSON.stringify(lease).length).toBeLessThanOrEqual(limits.batchMaxBytes);
    expect(JSON.stringify(lease).length).toBeGreaterThan(limits.batchMaxBytes * 0.9);
  });

  it('oldest_record_that_waits_is_told_until_it_is_acknowledged', () => {
    let now = 5_000;
    const spool = openSpool(join(folder(), 'spool.db'), undefined, {
      clock: { ...realClock, now: () => now },
    });
    cleanups.push(() => spool.close());
    expect(spool.oldestAt()).toBeNull();
    spool.append('health', health(0));
    const lease = spool.lease();
    now = 9_000;
    spool.append('health', health(1));
    expect(spool.oldestAt()).toBe(5_000);
    spool.ack(lease?.batch ?? '');
    expect(spool.oldestAt()).toBe(9_000);
  });

  it('sequence_numbers_are_never_used_again', () => {
    const file = join(folder(), 'spool.db');
    const first = open(file);
    for (let n = 0; n < 3; n += 1) first.append('health', health(n));
    expect(drain(first).map(({ seq }) => seq)).toEqual([1, 2, 3]);
    first.close();
    const second = open(file);
    second.append('health', health(3));
    expect(drain(second).map(({ seq }) => seq)).toEqual([4]);
  });

  it('damaged_rows_are_dropped_and_counted_and_the_rest_goes_out', () => {
    const file = join(folder(), 'spool.db');
    const first = open(file);
    for (let n = 0; n < 5; n += 1) first.append('health', health(n));
    first.close();
    const db = new Database(file);
    db.prepare('UPDATE record SET body = substr(body, 2) WHERE seq = 1').run();
    db.prepare("UPDATE record SET kind = 'heakth' WHERE seq = 3").run();
    db.prepare("UPDATE record SET body = '{}' WHERE seq = 5").run();
    db.close();
    const second = open(file);
    const lease = second.lease();
    expect(lease?.records.map(({ seq }) => seq)).toEqual([2, 4]);
    expect(second.lease()).toEqual(lease);
    expect(second.stats()).toMatchObject({ records: 2, lost: 3 });
    second.ack(lease?.batch ?? '');
    expect(second.stats()).toEqual({ records: 0, bytes: 0, lost: 3 });
    second.close();
    expect(open(file).stats().lost).toBe(3);
  });

  it('batch_of_damaged_rows_only_is_skipped', () => {
    const file = join(folder(), 'spool.db');
    const first = open(file);
    for (let n = 0; n < limits.batchMaxCount + 1; n += 1) first.append('health', health(n));
    first.lease();
    first.close();
    const db = new Database(file);
    db.prepare("UPDATE record SET body = 'x' WHERE batch IS NOT NULL").run();
    db.close();
    const second = open(file);
    expect(uptimes(second.lease()?.records ?? [])).toEqual([limits.batchMaxCount]);
    expect(uptimes(drain(second))).toEqual([limits.batchMaxCount]);
    expect(second.stats()).toEqual({ records: 0, bytes: 0, lost: limits.batchMaxCount });
  });

  it('refused_batch_is_dropped_and_counted_for_ever', () => {
    const file = join(folder(), 'spool.db');
    const first = open(file);
    for (let n = 0; n < 5; n += 1) first.append('health', health(n));
    const lease = first.lease();
    expect(first.refused(lease?.batch ?? '')).toBe(5);
    expect(first.refused(lease?.batch ?? '')).toBe(0);
    expect(first.stats()).toEqual({ records: 0, bytes: 0, lost: 5 });
    first.close();
    expect(open(file).stats().lost).toBe(5);
  });
});

describe('the byte bound', () => {
  it('oldest_of_the_least_important_kind_goes_first_and_is_counted', () => {
    const file = join(folder(), 'spool.db');
    const spool = open(file, 4000);
    spool.append('security', security('s0'));
    let n = 0;
    while (spool.stats().lost === 0) spool.append('health', health(n++));
    const kept = spool.stats().records;
    expect(spool.stats().bytes).toBeLessThanOrEqual(4000);
    for (let i = 1; i <= 6; i += 1) spool.append('security', security(`s${i}`));
    const { lost, records, bytes } = spool.stats();
    expect(bytes).toBeLessThanOrEqual(4000);
    expect(lost + records).toBe(n + 7);
    expect(lost).toBeGreaterThan(1);
    spool.close();
    const again = open(file, 4000);
    expect(again.stats()).toEqual({ lost, records, bytes });
    const all = drain(again);
    expect(
      all
        .filter(({ kind }) => kind === 'security')
        .map(({ body }) => (body as { detail: string }).detail),
    ).toEqual(['s0', 's1', 's2', 's3', 's4', 's5', 's6']);
    const healths = uptimes(all.filter(({ kind }) => kind === 'health'));
    expect(healths).toEqual(
      Array.from({ length: healths.length }, (_, i) => n - healths.length + i),
    ); // The newest ones.
    expect(healths.length).toBeLessThan(kept);
  });

  it('less_important_newcomer_is_itself_the_loss', () => {
    const spool = open(join(folder(), 'spool.db'), 2000);
    while (spool.stats().lost === 0) spool.append('security', security('important'));
    const before = spool.stats();
    spool.append('health', health(1));
    expect(spool.stats()).toEqual({ ...before, lost: before.lost + 1 });
    expect(drain(spool).every(({ kind }) => kind === 'security')).toBe(true);
  });

  it('leased_records_stay_and_leave_room_for_more_important_ones', () => {
    const spool = open(join(folder(), 'spool.db'), 4000);
    while (spool.stats().lost === 0) spool.append('health', health(0));
    const lease = spool.lease();
    for (let i = 0; i < 100; i += 1) spool.append('security', security(`s${i}`));
    expect(spool.lease()).toEqual(lease);
    spool.ack(lease?.batch ?? '');
    const details = drain(spool).map(({ body }) => (body as { detail: string }).detail);
    expect(details.length).toBeGreaterThan(5);
    expect(details.at(-1)).toBe('s99');
  });

  it('record_that_the_server_would_refuse_never_poisons_a_batch', () => {
    const spool = open(join(folder(), 'spool.db'));
    spool.append('health', { ...health(1), agentRssBytes: Number.NaN });
    spool.append('security', { code: 'x', detail: 'x'.repeat(limits.recordBodyMaxBytes) });
    spool.append('health', health(2));
    expect(spool.stats()).toMatchObject({ records: 1, lost: 2 });
    expect(uptimes(drain(spool))).toEqual([2]);
  });
});

describe('a damaged file', () => {
  it.each([
    ['garbage', (file: string) => writeFileSync(file, 'this is not a database '.repeat(1000))],
    [
      'a torn page',
      (file: string) => {
        const bytes = readFileSync(file);
        bytes.fill(0xa5, 4096, 8192);
        writeFileSync(file, bytes);
      },
    ],
    ['half of it', (file: string) => truncateSync(file, 4096)],
  ])('%s_is_set_aside_and_reported', (_name, damage) => {
    const base = folder();
    const file = join(base, 'spool.db');
    const first = open(file);
    for (let n = 0; n < 50; n += 1) first.append('health', health(n));
    first.close();
    damage(file);
    const highest: number[] = [50];
    for (let revision = 1; revision <= 3; revision += 1) {
      const spool = open(file);
      spool.append('health', health(999));
      const all = drain(spool);
      expect(all.map(({ kind }) => kind)).toEqual(['security', 'health']);
      expect(all[0]?.body).toMatchObject({ code: 'disk_failed' });
      expect(all[0]?.seq).toBeGreaterThan(highest.at(-1) ?? 0);
      highest.push(all[1]?.seq ?? 0);
      expect(Number.isSafeInteger(all[1]?.seq)).toBe(true);
      spool.close();
      expect(
        readdirSync(base).filter((name) => name.includes('.damaged-') && !name.endsWith('-wal')),
      ).toEqual([`spool.db.damaged-${revision}`]);
      writeFileSync(file, 'damaged again'.repeat(500));
    }
  });

  it('database_of_another_schema_is_set_aside', () => {
    const base = folder();
    const file = join(base, 'spool.db');
    const first = open(file);
    first.close();
    execFileSync(process.execPath, [
      '-e',
      `const D=require('better-sqlite3');const d=new D(${JSON.stringify(file)});d.exec('DROP ` +
        `TABLE record');d.close()`,
    ]);
    const spool = open(file);
    spool.append('health', health(1));
    expect(spool.stats()).toMatchObject({ records: 2 });
  });
});

describe('a full disk', () => {
  /** A folder on a small file system of its own; null where none can be mounted. */
  function smallTmpfs(size: string): string | null {
    const base = folder();
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', base], {
        stdio: 'pipe',
      });
    } catch (error) {
      console.log(`no small tmpfs here, the full disk is skipped: ${String(error)}`);
      return null;
    }
    cleanups.push(() => execFileSync('umount', ['-l', base]));
    return base;
  }

  it('small_tmpfs_fills_counts_and_recovers', ({ skip }) => {
    const base = smallTmpfs('1m');
    if (base === null) return skip('cannot mount a tmpfs');
    const file = join(base, 'spool.db');
    const spool = open(file);
    let n = 0;
    while (spool.stats().lost < 50 && n < 20_000) spool.append('health', health(n++));
    const full = spool.stats();
    expect(full.records).toBeGreaterThan(500);
    expect(full.records + full.lost).toBe(n);
    const lease = spool.lease();
    // On a disk this full even a mark or a deletion may find no room, but it never throws.
    if (lease !== null) spool.ack(lease.batch);
    spool.close();
    execFileSync('mount', ['-o', 'remount,size=4m', base]);
    const again = open(file);
    again.append('security', security('room again'));
    const all = drain(again);
    expect(all.at(-1)?.kind).toBe('security');
    expect(all.length - 1 + (lease?.records.length ?? 0)).toBeGreaterThanOrEqual(full.records);
  });

  it('disk_that_is_full_from_the_start_does_not_stop_the_agent', ({ skip }) => {
    const base = smallTmpfs('16k');
    if (base === null) return skip('cannot mount a tmpfs');
    const spool = open(join(base, 'spool.db'));
    for (let n = 0; n < 10; n += 1) spool.append('health', health(n));
    expect(spool.lease()).toBeNull();
    expect(spool.stats()).toMatchObject({ records: 0, lost: 10 });
    execFileSync('mount', ['-o', 'remount,size=4m', base]);
    spool.append('health', health(10));
    expect(spool.stats()).toMatchObject({ records: 1, lost: 10 });
    // The losses that could not be written before are on disk now, once.
    spool.append('health', health(11));
    spool.close();
    expect(open(join(base, 'spool.db')).stats()).toMatchObject({ records: 2, lost: 10 });
  });

  it('state_that_the_disk_refuses_is_still_told_and_only_the_latest', ({ skip }) => {
    const base = smallTmpfs('16k');
    if (base === null) return skip('cannot mount a tmpfs');
    const spool = open(join(base, 'spool.db'));
    spool.append('update', update(1));
    spool.append('update', update(2));
    const lease = spool.lease();
    expect(lease?.records).toMatchObject([{ seq: 1, kind: 'update', body: update(2) }]);
    expect(spool.lease()?.batch).toBe(lease?.batch); // Until it is acknowledged.
    spool.append('update', update(3));
    spool.ack(lease?.batch ?? '');
    expect(spool.lease()?.records).toMatchObject([{ body: update(3) }]);
    expect(spool.refused(spool.lease()?.batch ?? '')).toBe(1);
    expect(spool.stats()).toMatchObject({ records: 0, lost: 2 });
    execFileSync('mount', ['-o', 'remount,size=4m', base]);
    spool.append('update', update(4));
    expect(drain(spool).map(({ body }) => body)).toEqual([update(4)]);
  });
});
