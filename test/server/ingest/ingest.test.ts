// The queue before the database, without a broker: what it takes, what it drops, and whose silence
// a drop excuses.
import { beforeEach, expect, it } from 'vitest';
import { Ingest } from '../../../server/ingest/ingest.js';
import { SecurityEventBus } from '../../../server/security-events/bus.js';
import { Store } from '../../../server/store/store.js';
import { limits } from '../../../shared/base/limits.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { topics, type TelemetryAck } from '../../../shared/protocol/telemetry.js';
import { realClock } from '../../../shared/platform/clock.js';
import { by } from '../../support/audit-actions.js';
import { batchOf, newDevice, type TestDevice } from '../../support/fleet-server.js';

let store: Store;
let ingest: Ingest;
let acks: string[];
let unheard: number;

beforeEach(async () => {
  store = await Store.open(':memory:');
  acks = [];
  unheard = 0;
  ingest = new Ingest({
    store,
    security: new SecurityEventBus({
      store: (events) => store.security.add(events),
      clock: realClock,
      log: silentLog,
    }),
    clock: realClock,
    log: silentLog,
    ack: (device: string, ack: TelemetryAck) => acks.push(`${device} ${ack.result}`),
    onUnheard: () => (unheard += 1),
  });
});

async function known(name: string): Promise<TestDevice> {
  const device = newDevice(name);
  const asked = {
    publicKey: device.key.publicKey,
    name,
    hardware: 'sim',
    components: ['digits'],
    proof: 'not checked here',
  };
  await store.devices.enrol(device.id, asked, null, 1);
  await store.devices.approve(device.id, by('anna'), 1);
  return device;
}

const say = (device: TestDevice, size = 1): void => {
  const body = { code: 'x', detail: 'y'.repeat(size) };
  ingest.take(
    topics.telemetry(device.id),
    Buffer.from(JSON.stringify(batchOf([{ seq: 1, at: 1, kind: 'security', body }]))),
  );
};

it('a_device_that_floods_keeps_only_its_own_messages_out', async () => {
  const [loud, quiet] = [await known('loud'), await known('quiet')];
  for (let n = 0; n < 1000; n++) say(loud);
  say(quiet);
  await ingest.settled();
  expect(acks).toEqual([
    ...Array.from({ length: limits.ingestWaitingPerDeviceMaxCount }, () => `${loud.id} stored`),
    `${quiet.id} stored`,
  ]);
  expect(unheard).toBe(0);
  acks.length = 0;
  say(loud); // What was stored makes room.
  await ingest.settled();
  expect(acks).toEqual([`${loud.id} stored`]);
});

it('waiting_bytes_are_bounded_and_what_is_dropped_for_them_blames_no_device', async () => {
  const large = Buffer.alloc(limits.mqttPayloadMaxBytes);
  const fits = limits.ingestQueueMaxBytes / limits.mqttPayloadMaxBytes;
  for (let n = 0; n < fits; n++) ingest.take(`nobody/${n}`, large);
  expect(unheard).toBe(0);
  say(newDevice('late'));
  expect(unheard).toBe(1);
  await ingest.settled();
});
