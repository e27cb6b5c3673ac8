// What a group of telemetry batches costs the database, and what is stored of it.
import { beforeEach, expect, it } from 'vitest';
import type { TelemetryRecord } from '../../../shared/protocol/telemetry.js';
import { QuantileSketch } from '../../../shared/statistics/quantile-sketch.js';
import { by } from '../../support/audit-actions.js';
import { batchOf, idleUpdate, newDevice } from '../../support/fleet-server.js';
import { countedStore, type CountedStore } from '../../support/statements.js';

const NOW = 1_800_000_000_000;
const RELEASE = { component: 'digits', version: '1.0.0', digest: 'ab'.repeat(32) };
let counted: CountedStore;

beforeEach(async () => {
  counted = await countedStore();
  return () => counted.store.close();
});

async function enrolled(count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n++) {
    const { id, key, name } = newDevice(`d${n}`);
    const request = {
      publicKey: key.publicKey,
      name,
      hardware: 'sim',
      components: ['digits'],
      signature: 'not checked here',
    };
    await counted.store.devices.enrol(id, request, null, NOW);
    await counted.store.devices.approve(id, by('anna'), NOW);
    ids.push(id);
  }
  return ids;
}

const latency = new QuantileSketch();
latency.add(10, 5);

/** A batch with all that a device reports regularly. */
function records(seq: number): TelemetryRecord[] {
  const served = { served: 5, failed: 0, refused: 0, latencyMs: latency.toSketch() };
  return [
    { seq, at: 1, kind: 'update', body: idleUpdate({ directorVersion: seq }) },
    {
      seq: seq + 1,
      at: 1,
      kind: 'inference',
      body: { release: RELEASE, seconds: 2, answers: null, ...served },
    },
  ];
}

it('a_full_group_costs_as_many_statements_as_a_single_batch', async () => {
  const { store } = counted;
  const ids = await enrolled(100);
  const store1 = (devices: string[], seq: number): Promise<unknown> =>
    store.telemetry.insertBatches(
      devices.map((device) => ({ device, batch: batchOf(records(seq)) })),
      NOW,
    );
  await store1(ids, 1); // The first batch of an agent also notes its instance.
  const one = await counted.of(() => store1(ids.slice(0, 1), 11));
  const many = await counted.of(() => store1(ids, 21));
  expect(many.filter((sql) => sql === 'begin' || sql === 'commit')).toEqual(['begin', 'commit']);
  const withoutTrim = (statements: string[]): string[] =>
    statements.filter((sql) => !sql.includes(' offset '));
  expect(withoutTrim(many)).toHaveLength(withoutTrim(one).length);
  for (const device of ids) {
    const [sums] = await store.telemetry.inference(device);
    expect(sums?.served).toBe(device === ids[0] ? 15 : 10);
  }
});
