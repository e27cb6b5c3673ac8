// Telemetry spools of tests on real files.
import { Spool, type SpoolOptions } from '../../agent/telemetry/spool.js';
import { silentLog, type Log } from '../../shared/base/interfaces.js';
import type { SecurityBody, UpdateBody } from '../../shared/protocol/telemetry.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';

const SPOOL_BYTES = 8 * 1024 * 1024;

export const openSpool = (
  file: string,
  maxBytes: number = SPOOL_BYTES,
  other: Partial<SpoolOptions> = {},
): Spool => new Spool(file, { maxBytes, clock: realClock, random: realRandom, ...other });

/** A log that keeps its warnings and errors, each as level, message and fields. */
export function keptLog(): { log: Log; lines: [string, string, object][] } {
  const lines: [string, string, object][] = [];
  const log: Log = {
    ...silentLog,
    warn: (fields, message) => void lines.push(['warn', message, fields]),
    error: (fields, message) => void lines.push(['error', message, fields]),
  };
  return { log, lines };
}

export const security = (detail: string): SecurityBody => ({ code: 'file_digest', detail });

export const update = (assignmentId: number): UpdateBody => ({
  component: 'digits',
  state: 'idle',
  running: null,
  previous: null,
  updatingTo: null,
  assignmentId,
  progress: null,
  outcome: null,
  trouble: { code: 'disk_full', detail: 'cannot write x: ENOSPC', since: 1 },
  conditions: [],
  directorVersion: 0,
});

/** Everything in the spool, batch by batch; empties it. */
export function drain(spool: Spool): { seq: number; kind: string; body: unknown }[] {
  const all: { seq: number; kind: string; body: unknown }[] = [];
  for (let lease = spool.lease(); lease !== null; lease = spool.lease()) {
    all.push(...lease.records);
    spool.ack(lease.batch);
  }
  return all;
}

/** The number that each record of `health(n)` carries. */
export const uptimes = (records: { body: unknown }[]): number[] =>
  records.map(({ body }) => (body as { uptimeSeconds: number }).uptimeSeconds);
