// Telemetry spools of tests on real files.
import { Spool } from '../../agent/telemetry/spool.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';

const SPOOL_BYTES = 8 * 1024 * 1024;

export const openSpool = (file: string, maxBytes: number = SPOOL_BYTES): Spool =>
  new Spool(file, { maxBytes, clock: realClock, random: realRandom });

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
