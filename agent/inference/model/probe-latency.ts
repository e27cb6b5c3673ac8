// The latency of a probed release, and what it would be on a device that does nothing else. A probe
// runs beside what the device serves, so a busy device makes every release slow; refusing one for
// that would stop a good release. While the probes run, the model process uses so much CPU time
// and takes so much longer by the clock: the rest it waited, for the CPU or the disk. Dividing by
// that ratio takes the waiting out. A process of several threads may use more CPU time than clock
// time; then nothing is taken out. Live latency is judged later, in pairs, by the trial.

export interface ProbeLatency {
  /** ms; nearest rank: the smallest value that at least 99 % of the values do not exceed. */
  readonly p99: number;
  /** The same in ms without the time in which the process waited. */
  readonly alone: number;
}

/** `latencies` in ms by the clock, of runs one after another; `cpuMs` of all of them together. */
export function probeLatency(latencies: readonly number[], cpuMs: number): ProbeLatency {
  const sorted = [...latencies].sort((a, b) => a - b);
  const p99 = sorted[Math.max(0, Math.ceil(sorted.length * 0.99) - 1)] ?? 0;
  const total = latencies.reduce((sum, one) => sum + one, 0);
  const waited = Math.max(1, total / Math.max(cpuMs, Number.MIN_VALUE));
  return { p99, alone: p99 / waited };
}
