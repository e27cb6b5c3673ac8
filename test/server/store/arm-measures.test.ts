// What arms of a rollout are compared on, from stored telemetry: one device, one component, some
// hours by the server's clock.
import { beforeEach, expect, it } from 'vitest';
import type { Store } from '../../../server/store/store.js';
import { openTestStore } from '../../support/test-store.js';
import type { BodyOf, Kind, TelemetryBatch } from '../../../shared/protocol/telemetry.js';
import { QuantileSketch } from '../../../shared/statistics/quantile-sketch.js';
import { by } from '../../support/audit-actions.js';
import { newDevice } from '../../support/fleet-server.js';
import { T0, update } from '../../support/rollout-rows.js';
import { NOTHING_MEASURED, releaseOf } from '../../sim/fleet.js';

const device = newDevice('d0');
let store: Store;
let sent: number;

beforeEach(async () => {
  store = await openTestStore();
  sent = 0;
  const request = {
    publicKey: device.key.publicKey,
    name: device.name,
    hardware: 'pi4',
    components: ['digits', 'texts'],
    signature: 'not checked here',
  };
  await store.devices.enrol(device.id, request, null, T0);
  await store.devices.approve(device.id, by('anna'), T0);
  return () => store.close();
});

async function send<K extends Kind>(at: number, kind: K, body: BodyOf<K>): Promise<void> {
  sent += 1;
  const batch = {
    format: 'linnet.telemetry/1',
    batch: sent.toString(16).padStart(32, '0'),
    instance: '0'.repeat(32),
    records: [{ seq: sent, at, kind, body }],
  } as TelemetryBatch;
  await store.telemetry.insertBatches([{ device: device.id, batch }], at);
}

function requests(change: Partial<BodyOf<'inference'>>, ms = 10): BodyOf<'inference'> {
  const sketch = new QuantileSketch();
  sketch.add(ms, 100);
  return {
    release: releaseOf('1.1.0'),
    seconds: 60,
    served: 0,
    failed: 0,
    refused: 0,
    latencyMs: sketch.toSketch(),
    answers: null,
    ...change,
  };
}

const measured = (from = T0, to = T0 + 100) =>
  store.rollouts.measures('digits', device.id, { from, to });

it('requests_conditions_and_security_events_within_the_hours_are_counted', async () => {
  await send(T0, 'inference', requests({ served: 999, failed: 999 }));
  await send(T0 + 1, 'inference', requests({ served: 90, failed: 10 }));
  await send(T0 + 100, 'inference', requests({ served: 80, failed: 0, refused: 20 }, 40));
  await send(T0 + 101, 'inference', requests({ served: 999, failed: 999 }));
  const bad = (code: 'crashes' | 'memory') => ({ code, count: 3, since: T0, detail: '' });
  await send(T0 + 2, 'update', update({ conditions: [bad('crashes')] }));
  await send(T0 + 3, 'update', update({ conditions: [bad('crashes'), bad('memory')] }));
  await send(T0 + 4, 'security', { code: 'input_refused', detail: 'a' });
  const seen = await measured();
  expect(seen).toMatchObject({ failed: 10 / 180, refused: 0.1, conditions: 2, security: 1 });
  expect(seen.p50).toBeCloseTo(40, -1);
  expect(seen.p99).toBeCloseTo(40, -1);
});

it('another_component_counts_for_nothing', async () => {
  const release = { ...releaseOf('1.1.0'), component: 'texts' };
  await send(T0 + 1, 'inference', requests({ release, served: 1, failed: 1 }));
  expect(await measured()).toEqual({ ...NOTHING_MEASURED, conditions: 0, security: 0 });
});

it('device_that_reported_nothing_was_not_observed', async () => {
  expect(await measured()).toEqual(NOTHING_MEASURED);
});
