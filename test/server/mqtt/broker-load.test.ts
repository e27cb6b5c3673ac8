// The embedded broker alone, without a server around it, when it has very much to send.
import { connectAsync } from 'mqtt';
import { expect, test } from 'vitest';
import { openEmbeddedBroker } from '../../../server/mqtt/broker.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { realClock } from '../../../shared/platform/clock.js';
import { topics } from '../../../shared/protocol/telemetry.js';
import { newDevice } from '../../support/fleet-server.js';

const HINTS = 200;
const ABSENT = `dev-${'0'.repeat(20)}`;

test('thousands_of_hints_to_absent_devices_do_not_overflow_the_stack', async () => {
  const device = newDevice('present');
  const broker = await openEmbeddedBroker({
    host: '127.0.0.1',
    port: 0,
    tls: null,
    clock: realClock,
    log: silentLog,
    events: {
      ingest: () => Promise.resolve(null),
      keyOf: (id) => Promise.resolve(id === device.id ? device.key.publicKey : undefined),
      onReception: () => {},
      security: {
        report: () => {},
        record: () => Promise.resolve(),
        flush: () => Promise.resolve(),
      },
    },
  });
  const client = await connectAsync(`mqtt://127.0.0.1:${broker.port}`, {
    clientId: device.id,
    username: device.id,
    password: await device.token('mqtt'),
    reconnectPeriod: 0,
  });
  let hints = 0;
  client.on('message', () => (hints += 1));
  await client.subscribeAsync(topics.down(device.id), { qos: 1 });
  // Deliveries to the device fill the concurrency of the broker's queue; all that follow wait in
  // it, and nobody subscribed to them.
  for (let n = 0; n < HINTS; n++) broker.hint(device.id);
  for (let n = 0; n < 50_000; n++) broker.hint(ABSENT);
  await expect.poll(() => hints, { timeout: 30_000 }).toBe(HINTS);
  await client.endAsync(true);
  await broker.close();
});
