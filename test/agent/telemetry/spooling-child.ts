// Appends health records for ever and names each one, by its uptimeSeconds, once it is durable.
// Killed by its test at any moment, or run where the disk is full. Usage: spooling-child FILE FIRST
// COUNT (0: for ever).
import { Spool } from '../../../agent/telemetry/spool.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import { health } from '../../support/telemetry-broker.js';

const [, , file, first, count] = process.argv;
if (file === undefined) throw new Error('usage: spooling-child FILE FIRST COUNT');
const spool = new Spool(file, { maxBytes: 8 << 20, clock: realClock, random: realRandom });
const end = Number(count) === 0 ? Infinity : Number(first) + Number(count);
function next(n: number): void {
  if (n >= end) {
    process.stdout.write(`stats ${JSON.stringify(spool.stats())}\n`);
    return;
  }
  spool.append('health', health(n));
  process.stdout.write(`${n}\n`, () => setImmediate(next, n + 1));
}
next(Number(first));
