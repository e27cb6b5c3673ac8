// The telemetry side of an agent as a process of its own: appends a health record every few
// milliseconds, names it once it is durable, and reports to the broker. Killed by its test. Usage:
// reporting-child FOLDER PORT DEVICE FIRST COUNT.
import { join } from 'node:path';
import { MqttLink } from '../../../agent/platform/mqtt-link.js';
import { TelemetryUploader } from '../../../agent/telemetry/uploader.js';
import { Spool } from '../../../agent/telemetry/spool.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import { health } from '../../support/telemetry-broker.js';

const [, , folder, port, device, first, count] = process.argv;
if (folder === undefined || device === undefined)
  throw new Error('usage: reporting-child FOLDER PORT DEVICE FIRST COUNT');
const token = (): Promise<string> => Promise.resolve('x');
const fixture = { clock: realClock, random: realRandom, log: silentLog };
const spool = new Spool(join(folder, 'spool.db'), { maxBytes: 8 << 20, ...fixture });
const link = new MqttLink({ url: `mqtt://127.0.0.1:${port}`, device, token, ...fixture });
const reporter = new TelemetryUploader({
  device,
  instance: 'ab'.repeat(16),
  spool,
  link,
  ...fixture,
});
reporter.start();
const end = Number(first) + Number(count);
function next(n: number): void {
  if (n >= end) return;
  reporter.report('health', health(n));
  process.stdout.write(`${n}\n`, () => setTimeout(next, 3, n + 1));
}
next(Number(first));
