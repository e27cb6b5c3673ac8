// Measures of this process and of the disk of its database, for the metrics.
import { dirname } from 'node:path';
import { freeBytes, sizeOf } from './checks.js';

/** `database`: its file. */
export const processMeasures = (database: string) => ({
  storeBytes: () => sizeOf([database, `${database}-wal`]),
  freeBytes: () => freeBytes(dirname(database)),
  memoryBytes: () => process.memoryUsage.rss(),
  cpuSeconds: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  },
});
