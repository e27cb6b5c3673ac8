// Probes a candidate before it may serve: a process of its own runs every golden input once, then
// more runs for the latency, then reports its peak memory. It never touches the serving release.
// The resource contract is measured like this. Latency: the time from handing inputs to the process
// until its outputs are back, at the 99th percentile (nearest rank) of probeRunsMaxCount runs, or
// of as many as fit into probeRunsMs; what the device was busy with besides is not charged to the
// release (probe-latency.ts). Memory: the peak resident size of the whole model process,
// ONNX Runtime and libraries included, because a device must have that much free. A candidate that
// fails is a report, not an error.
import { Fault, type FaultCode } from '../../../shared/base/fault-codes.js';
import type { AcceptanceSet } from '../../../shared/release/acceptance-set.js';
import type { Installed, ProbeReport } from '../../interfaces.js';
import type { InferenceLimits } from '../inference-limits.js';
import { worstOf } from './compare.js';
import { newHost, type Host, type HostOptions } from '../model-process/host.js';
import { runAcceptance } from './acceptance.js';
import { probeLatency } from './probe-latency.js';
import { readProbes, type GoldenProbe } from './probes-file.js';

const MIB = 1024 * 1024;

const NOT_THE_RELEASES: ReadonlySet<string> = new Set<FaultCode>([
  'host_start',
  'disk_failed',
  'installation_incomplete',
]);

interface Measured {
  readonly worst: number;
  readonly differs: string;
  readonly latencies: number[];
  /** CPU time of the process over these runs. */
  readonly cpuMs: number;
}

/**
 * Throws only Faults that are not the release's and where a retry may help (`host_start`,
 * `disk_failed`, `installation_incomplete`). Everything else is in the report.
 */
export async function probeRelease(
  candidate: Installed,
  acceptance: AcceptanceSet | null,
  options: HostOptions,
): Promise<ProbeReport> {
  const host = newHost(options, candidate);
  try {
    const probes = await readProbes(candidate, options.limits.probesFileMaxBytes);
    await host.start(probes[0]?.inputs ?? []);
    const measured = await measure(host, probes, candidate, options);
    const accepted =
      acceptance === null || measured.differs !== ''
        ? null
        : await runAcceptance(
            host,
            acceptance,
            candidate.release.manifest,
            options.limits.requestMaxBytes,
          );
    const { peakBytes } = await host.usage();
    const report = judge(candidate, probes.length, measured, peakBytes / MIB, options.limits);
    if (accepted === null) return report;
    if (!accepted.passed)
      return { ...report, passed: false, code: 'acceptance_failed', reasons: accepted.text };
    return { ...report, reasons: `${report.reasons}; ${accepted.text}` };
  } catch (error) {
    const isRelease = error instanceof Fault && !NOT_THE_RELEASES.has(error.code);
    if (!isRelease) throw error;
    return {
      passed: false,
      code: error.code,
      reasons: error.detail,
      p99LatencyMs: 0,
      peakMemoryMiB: 0,
      worstDifference: 0,
    };
  } finally {
    await host.stop();
  }
}

async function measure(
  host: Host,
  probes: readonly GoldenProbe[],
  candidate: Installed,
  { clock, limits }: HostOptions,
): Promise<Measured> {
  const { tolerance } = candidate.release.manifest.probes;
  const latencies: number[] = [];
  let worst = 0;
  let differs = '';
  const before = await host.usage();
  for (const probe of probes) {
    const from = clock.monotonic();
    const outputs = await host.run(probe.inputs);
    latencies.push(clock.monotonic() - from);
    const difference = worstOf(outputs, probe.outputs, tolerance);
    worst = Math.max(worst, difference.worst);
    if (!difference.within && differs === '') differs = `probe ${probe.id}: ${difference.reasons}`;
  }
  // With the default of 200 runs the nearest-rank p99 leaves out the two slowest, so that one
  // hiccup of the device is not charged to the model.
  const until = clock.monotonic() + limits.probeRunsMs;
  while (
    differs === '' &&
    latencies.length < limits.probeRunsMaxCount &&
    clock.monotonic() < until
  ) {
    const probe = probes[latencies.length % probes.length] as GoldenProbe;
    const from = clock.monotonic();
    await host.run(probe.inputs);
    latencies.push(clock.monotonic() - from);
  }
  const { cpuMs } = await host.usage();
  return { worst, differs, latencies, cpuMs: cpuMs - before.cpuMs };
}

function judge(
  candidate: Installed,
  count: number,
  { worst, differs, latencies, cpuMs }: Measured,
  peakMemoryMiB: number,
  { probeRunsMinCount, probeRunsMs }: InferenceLimits,
): ProbeReport {
  const { contract, probes } = candidate.release.manifest;
  const { p99: p99LatencyMs, alone } = probeLatency(latencies, cpuMs);
  const numbers = { p99LatencyMs, peakMemoryMiB, worstDifference: worst };
  const { absolute, relative } = probes.tolerance;
  const report = (code: ProbeReport['code'], reasons: string): ProbeReport => ({
    passed: code === null,
    code,
    reasons,
    ...numbers,
  });
  if (differs !== '')
    return report('probe_differs', `${differs} (tolerance ${absolute} + ${relative} * |golden|)`);
  const sample =
    latencies.length < probeRunsMinCount
      ? `${latencies.length} runs, all that fit into ${probeRunsMs} ms`
      : `${latencies.length} runs`;
  const busy =
    alone < p99LatencyMs
      ? `, ${alone.toFixed(2)} ms without the time that it waited for this device`
      : '';
  if (alone > contract.p99LatencyMs) {
    return report(
      'probe_slow',
      `p99 latency ${p99LatencyMs.toFixed(2)} ms of ${sample}${busy} ` +
        `is above the contract's ${contract.p99LatencyMs} ms`,
    );
  }
  if (peakMemoryMiB > contract.peakMemoryMiB) {
    return report(
      'probe_memory',
      `the model process peaked at ${peakMemoryMiB.toFixed(1)} MiB, ` +
        `above the contract's ${contract.peakMemoryMiB} MiB`,
    );
  }
  return report(
    null,
    `${count} of ${count} probes agree (worst difference ${worst.toPrecision(3)}), ` +
      `p99 ${p99LatencyMs.toFixed(2)} ms of ${sample}` +
      (p99LatencyMs > contract.p99LatencyMs ? busy : '') +
      ` (contract ${contract.p99LatencyMs}), ` +
      `peak ${peakMemoryMiB.toFixed(1)} MiB (contract ${contract.peakMemoryMiB})`,
  );
}
