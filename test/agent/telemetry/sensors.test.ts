// The readings of a device. They share the supervisor's event loop, so none may start a process.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const STARTERS = ['exec', 'execSync', 'execFile', 'spawn', 'spawnSync'];

it.skipIf(process.platform !== 'linux')('on_linux_no_reading_starts_a_process', async () => {
  const started: unknown[] = [];
  const module = createRequire(import.meta.url)('node:child_process') as Record<string, unknown>;
  for (const name of STARTERS)
    module[name] = (command: unknown): never => {
      started.push(command);
      throw new Error(`${name} in a reading`);
    };
  // Imported now, so that the library below it gets these functions.
  const { realSensors } = await import('../../../agent/telemetry/sensors.js');
  for (let reading = 0; reading < 2; reading += 1) {
    expect((await realSensors.memory()).available).toBeGreaterThan(0);
    expect((await realSensors.disk('/')).total).toBeGreaterThan(0);
    await realSensors.temperature().catch(() => null);
    const load = await realSensors.cpuUse();
    if (!Number.isNaN(load)) expect(Math.abs(load - 0.5)).toBeLessThan(0.6);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  expect(started).toEqual([]);
});

it('memory_is_what_the_kernel_says_in_bytes_and_unknown_where_it_says_nothing', async () => {
  const { linuxMemory } = await import('../../../agent/telemetry/sensors.js');
  const folder = mkdtempSync(join(tmpdir(), 'linnet-sensors-'));
  const path = join(folder, 'meminfo');
  writeFileSync(path, 'MemTotal:        1000 kB\nMemFree:  1 kB\nMemAvailable:     10 kB\n');
  expect(await linuxMemory(path)).toEqual({ total: 1_024_000, available: 10_240 });
  writeFileSync(path, 'MemTotal:        1000 kB\n');
  expect(await linuxMemory(path)).toEqual({ total: 1_024_000, available: NaN });
  rmSync(folder, { recursive: true });
});
