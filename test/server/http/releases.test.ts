// One release over the API: who signed it, its rollouts and which of them stands, what quantization
// cost, and its bill of materials.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ReleaseDetail, StandingReleases } from '../../../shared/protocol/operator-api.js';
import { LOSS_KEY } from '../../../shared/release/quantization-loss.js';
import { simRelease } from '../../sim/release.js';
import { enrolled, publish, startFleet, type TestFleet } from '../../support/fleet-server.js';
import { everybody, quickPolicy, startRollout } from '../../support/journey-devices.js';
import { loss } from '../../support/quantization-losses.js';

let fleet: TestFleet;
beforeAll(async () => {
  fleet = await startFleet();
  await publish(fleet, '1.0.0');
  const { lineage } = simRelease('1.1.0').manifest;
  const quantization = { format: 'QDQ', [LOSS_KEY]: loss() };
  await publish(fleet, '1.1.0', { lineage: { ...lineage, quantization } });
  await enrolled(fleet, 'cam-1');
});
afterAll(() => fleet.close());

const detailOf = (version: string): Promise<ReleaseDetail> =>
  fleet.admin.request('GET', `/releases/digits/${version}`, ReleaseDetail);

const ended = (id: string, state: string, at: number): Promise<unknown> =>
  fleet.store.db
    .updateTable('rollouts')
    .set({ state, created_at: at })
    .where('id', '=', id)
    .execute();

it('a_release_says_who_signed_it_and_what_its_quantization_cost', async () => {
  const old = await detailOf('1.0.0');
  expect(old.signatures).toMatchObject([{ valid: true }]);
  expect(old).toMatchObject({ signersNeeded: 1, acceptance: null, quantization: null });
  expect((await detailOf('1.1.0')).quantization).toEqual(loss());
});

it('a_completed_rollout_stands_until_a_later_one_for_the_same_devices_is_completed', async () => {
  const first = await startRollout(fleet, '1.0.0', quickPolicy(everybody));
  expect((await detailOf('1.0.0')).rollouts).toMatchObject([
    { id: first, state: 'rolling', standing: false, counts: [{ state: 'waiting', devices: 1 }] },
  ]);
  await ended(first, 'completed', 1);
  expect((await detailOf('1.0.0')).rollouts).toMatchObject([{ id: first, standing: true }]);
  const second = await startRollout(fleet, '1.1.0', quickPolicy(everybody));
  await ended(second, 'completed', 2);
  expect((await detailOf('1.0.0')).rollouts).toMatchObject([{ id: first, standing: false }]);
  expect((await detailOf('1.1.0')).rollouts).toMatchObject([{ id: second, standing: true }]);
});

it('one_for_a_group_does_not_stand_beside_a_later_one_for_all_devices_and_neither_list_says_so', async () => {
  const all = await startRollout(fleet, '1.1.0', quickPolicy(everybody));
  await ended(all, 'completed', 4);
  const group = await startRollout(fleet, '1.0.0', quickPolicy(everybody));
  const selector_json = JSON.stringify({ groups: ['canary'] });
  await fleet.store.db
    .updateTable('rollouts')
    .set({ selector_json })
    .where('id', '=', group)
    .execute();
  await ended(group, 'completed', 3);
  const standing = await fleet.admin.request('GET', '/standing-releases', StandingReleases);
  expect(standing.items.map(({ rollout }) => rollout)).toEqual([all]);
  const rollouts = [...(await detailOf('1.0.0')).rollouts, ...(await detailOf('1.1.0')).rollouts];
  expect(rollouts.filter((one) => one.standing).map(({ id }) => id)).toEqual([all]);
});

it('its_bill_of_materials_is_cyclonedx', async () => {
  const response = await fetch(`${fleet.server.address}/api/v1/releases/digits/1.1.0/bom`, {
    headers: { authorization: `Bearer ${fleet.adminToken}` },
  });
  expect(response.headers.get('content-type')).toContain('application/vnd.cyclonedx+json');
  const { digest } = await detailOf('1.1.0');
  expect(await response.json()).toMatchObject({
    bomFormat: 'CycloneDX',
    metadata: {
      component: {
        name: 'digits',
        properties: expect.arrayContaining([
          { name: 'linnet:release:digest', value: digest },
        ]) as unknown,
      },
    },
  });
});
