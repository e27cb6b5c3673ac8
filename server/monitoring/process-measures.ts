// Measures of this process and of the disk of its data folder, for the metrics.
import { freeBytes } from './checks.js';

export const processMeasures = (dataDir: string) => ({
  freeBytes: () => freeBytes(dataDir),
  memoryBytes: () => process.memoryUsage.rss(),
  cpuSeconds: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  },
});
