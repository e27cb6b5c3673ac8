// The readings of this device. A sensor may reject; what is then reported is the caller's choice.
// Reading must be cheap, because it shares the event loop of the supervisor: on Linux no child
// process is started. systeminformation's disk, temperature and load calls start shells, two of
// them synchronously, and loading it takes 2 MiB: on Linux statfs, /sys and node:os are read here,
// and it is loaded on other systems only.
import { cpus, freemem, totalmem } from 'node:os';
import { readFile, readdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Each may reject or give NaN. Load as a share in [0, 1], memory and disk in bytes, temperature in
 * degrees Celsius.
 */
export interface Sensors {
  cpuUse(): Promise<number>;
  memory(): Promise<{ total: number; available: number }>;
  temperature(): Promise<number | null>;
  disk(folder: string): Promise<{ total: number; free: number }>;
}

export const realSensors: Sensors = {
  cpuUse: cpuMeter(),
  memory: async () => {
    // There libuv reads MemTotal and MemAvailable, the kernel's own estimate.
    if (process.platform === 'linux') return { total: totalmem(), available: freemem() };
    const { total, available } = await (await otherSystems()).mem();
    return { total, available };
  },
  temperature: async () =>
    process.platform === 'linux'
      ? linuxTemperature('/sys/class/thermal')
      : (await (await otherSystems()).cpuTemperature()).main,
  disk: async (folder) => {
    const { blocks, bavail, bsize } = await statfs(folder);
    return { total: blocks * bsize, free: bavail * bsize };
  },
};

const otherSystems = async () => (await import('systeminformation')).default;

/** Load since the call before, of all processors together; since the system's start at first. */
function cpuMeter(): () => Promise<number> {
  let before = { idle: 0, total: 0 };
  return () => {
    const now = { idle: 0, total: 0 };
    for (const { times } of cpus()) {
      now.idle += times.idle;
      now.total += times.user + times.nice + times.sys + times.idle + times.irq;
    }
    const idleShare = (now.idle - before.idle) / (now.total - before.total);
    before = now;
    return Promise.resolve(1 - idleShare);
  };
}

/**
 * The hottest thermal zone (kernel Documentation/driver-api/thermal/sysfs-api: millidegrees); null
 * when there is none.
 */
export async function linuxTemperature(folder: string): Promise<number | null> {
  const zones = (await readdir(folder)).filter((name) => name.startsWith('thermal_zone'));
  const readings = await Promise.allSettled(
    zones.map((zone) => readFile(join(folder, zone, 'temp'), 'utf8')),
  );
  const degrees = readings
    .flatMap((reading) =>
      reading.status === 'fulfilled' ? [Number.parseInt(reading.value, 10) / 1000] : [],
    )
    .filter((value) => value > -60 && value < 200); // A zone without a sensor.
  return degrees.length === 0 ? null : Math.max(...degrees);
}
