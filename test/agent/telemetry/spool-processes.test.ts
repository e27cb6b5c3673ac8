// The telemetry spool in processes of its own: killed at any moment, and with a file that may not
// grow.
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { SpoolStats } from '../../../agent/telemetry/spool.js';
import { drain, openSpool, uptimes } from '../../support/spools.js';
import { tempFolder } from '../../support/temp-folders.js';

const child = join(import.meta.dirname, '../../../dist/test/agent/telemetry/spooling-child.js');

describe('kill -9', () => {
  it('killed_at_any_moment_every_appended_record_is_there_once', { timeout: 120_000 }, async () => {
    const file = join(tempFolder(), 'spool.db');
    const named: number[] = [];
    for (let round = 0; round < 6; round += 1) {
      const process_ = spawn(process.execPath, [child, file, String(round * 100_000), '0'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let text = '';
      process_.stdout.on('data', (piece: Buffer) => (text += piece.toString()));
      const gone = new Promise((resolve) => process_.once('close', resolve));
      await expect
        .poll(() => text.split('\n').length, { timeout: 30_000, interval: 3 })
        .toBeGreaterThan(20 + round * 7);
      process_.kill('SIGKILL');
      await gone;
      named.push(...text.split('\n').slice(0, -1).map(Number));
    }
    const spool = openSpool(file);
    expect(spool.stats().lost).toBe(0);
    const kept = uptimes(drain(spool));
    spool.close();
    expect(new Set(kept).size).toBe(kept.length);
    const missing = named.filter((n) => !kept.includes(n));
    expect(missing).toEqual([]);
    // One a kill may be durable without having been named.
    expect(kept.length - named.length).toBeLessThanOrEqual(6);
  });

  it('second_process_on_the_same_spool_is_refused', () => {
    const file = join(tempFolder(), 'spool.db');
    const first = openSpool(file);
    const second = spawnSync(process.execPath, [child, file, '0', '1'], { encoding: 'utf8' });
    first.close();
    expect(second.status).not.toBe(0);
    expect(second.stderr).toContain('conflict: another process holds');
  });
});

describe('a file that may not grow', () => {
  const statsOf = (text: string): SpoolStats =>
    JSON.parse(/stats (.*)/.exec(text)?.[1] ?? 'null') as SpoolStats;

  it('file_size_limit_counts_losses_and_never_throws', () => {
    const file = join(tempFolder(), 'spool.db');
    // EFBIG at every write past 64 KiB (Node ignores SIGXFSZ): what a disk that takes no more does,
    // without root.
    const run = spawnSync(
      'bash',
      ['-c', `ulimit -f 64; exec "${process.execPath}" "${child}" "${file}" 0 1000`],
      {
        encoding: 'utf8',
      },
    );
    expect(run.stderr).toBe('');
    expect(run.status).toBe(0);
    const stats = statsOf(run.stdout);
    expect(stats.lost).toBeGreaterThan(0);
    expect(stats.records + stats.lost).toBe(1000);
    const after = openSpool(file);
    expect(after.stats().records).toBe(stats.records);
    expect(uptimes(drain(after))).toEqual(Array.from({ length: stats.records }, (_, n) => n));
    after.close();
  });
});
