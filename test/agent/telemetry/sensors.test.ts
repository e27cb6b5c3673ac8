// The readings of a device. They share the supervisor's event loop, so none may start a process.
import { createRequire } from 'node:module';
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
