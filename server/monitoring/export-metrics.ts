// What exporters of security events did, as metrics.
import { Counter, Gauge } from 'prom-client';
import type { ExportCounts } from '../exports/exporter.js';
import type { MetricRegistry } from './server-metrics.js';

export function exportMetrics(registry: MetricRegistry): ExportCounts {
  const labelNames = ['exporter'] as const;
  const registers = [registry];
  const sent = new Counter({
    name: 'linnet_export_events_total',
    help: 'Security events that an exporter delivered.',
    labelNames,
    registers,
  });
  const dropped = new Counter({
    name: 'linnet_export_dropped_total',
    help: 'Changes of security events that an exporter left out because it was too far behind.',
    labelNames,
    registers,
  });
  const failures = new Counter({
    name: 'linnet_export_failures_total',
    help: 'Tries of an exporter that failed.',
    labelNames,
    registers,
  });
  const behind = new Gauge({
    name: 'linnet_export_behind',
    help: 'Changes of security events that an exporter has not delivered yet.',
    labelNames,
    registers,
  });
  return {
    sent: (exporter, count) => sent.inc({ exporter }, count),
    dropped: (exporter, count) => dropped.inc({ exporter }, count),
    failed: (exporter) => failures.inc({ exporter }),
    behind: (exporter, count) => behind.set({ exporter }, count),
  };
}
