// Security events as log records of OTLP.
import type { SecurityEventChangeRow } from '../interfaces.js';
import type { ExportTarget } from './exporter.js';
import {
  attribute,
  nanoseconds,
  postOtlp,
  resourceOf,
  SCOPE,
  valueOf,
  type OtlpOptions,
} from './otlp-http.js';

/** SEVERITY_NUMBER_WARN of the log data model. */
const WARN = 13;

export const otlpTarget = (options: OtlpOptions): ExportTarget => ({
  name: 'otlp',
  send: (events) =>
    postOtlp(options, '/v1/logs', {
      resourceLogs: [
        {
          resource: resourceOf(options),
          scopeLogs: [{ scope: SCOPE, logRecords: events.map(recordOf) }],
        },
      ],
    }),
});

const recordOf = (event: SecurityEventChangeRow): unknown => ({
  timeUnixNano: nanoseconds(event.lastAt),
  observedTimeUnixNano: nanoseconds(event.lastAt),
  severityNumber: WARN,
  severityText: 'WARN',
  eventName: 'linnet.security_event',
  body: valueOf(event.detail),
  attributes: [
    attribute('linnet.event.id', event.id),
    attribute('linnet.event.code', event.code),
    attribute('linnet.event.source', event.source),
    attribute('linnet.event.source_kind', event.sourceKind),
    attribute('linnet.event.count', event.count),
  ],
});
