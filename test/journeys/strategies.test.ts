// Strategies on real parts: real agents under traffic, a real server. In a shadow, a wrong release
// answers no client and is reported; in a blue-green rollout, devices hold the release, one of them
// loses its power meanwhile, and one go swaps them all.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadDigits } from '../../firmware-tools/demo/digits/data.js';
import { Traffic, digitTask } from '../../firmware-tools/demo/traffic.js';
import { RolloutDetail } from '../../shared/protocol/operator-api.js';
import { startFleet, type TestFleet } from '../support/fleet-server.js';
import {
  AgentProcess,
  comparing,
  enrolledAndInstalled,
  everybody,
  freePorts,
  publishDigits,
  quickPolicy,
  rolloutOf,
  settled,
  startRollout,
  until,
} from '../support/journey-devices.js';
import { isWhole } from '../support/whole.js';

const DEVICES = 2;
const TRAFFIC_PER_SECOND = 20;

let fleet: TestFleet;
let devices: AgentProcess[] = [];
let traffic: Traffic[] = [];

beforeAll(async () => {
  fleet = await startFleet();
  for (const version of ['1.0.0', '1.1.0', '1.2.0'] as const) await publishDigits(fleet, version);
  const ports = await freePorts(DEVICES);
  devices = await Promise.all(
    ports.map((port, n) => AgentProcess.make(fleet, `device-${n}`, port)),
  );
  for (const device of devices) device.start();
  await enrolledAndInstalled(fleet, DEVICES);
  const { images, labels } = loadDigits().test;
  traffic = devices.map(
    ({ port }, n) => new Traffic({ port, task: digitTask({ images, labels }), first: n * 100 }),
  );
  for (const one of traffic) one.start(TRAFFIC_PER_SECOND);
}, 120_000);

afterAll(async () => {
  await Promise.all(traffic.map((one) => one.stop()));
  await Promise.all(devices.map((device) => device.stop()));
  await fleet.close();
}, 60_000);

const serving = (): Promise<(string | null)[]> =>
  Promise.all(devices.map((device) => device.serving()));
const memberStates = async (id: string): Promise<string[]> =>
  (await rolloutOf(fleet, id)).members.map(({ state }) => state);

it.skipIf(!isWhole)(
  'a_wrong_release_in_a_shadow_is_reported_and_answers_no_client',
  async () => {
    const policy = quickPolicy(everybody, { strategy: 'shadow', trial: comparing });
    const id = await startRollout(fleet, '1.2.0', policy);
    const view = await settled(fleet, id);
    expect([view.state, ...view.reasons].join('\n')).toMatch(
      /^reported\nshadow: 2 of 2 devices compared 1\.2\.0 with what they serve/,
    );
    expect(view.reasons.join('\n')).toMatch(/2 (would roll it back|differ more than declared): /);
    expect(await serving()).toEqual(['1.0.0', '1.0.0']);
    for (const { counts } of traffic) {
      expect([...counts.byRelease.keys()]).toEqual([expect.stringMatching(/1\.0\.0/)]);
      expect(counts.lost, counts.complaints.join()).toBe(0);
    }
  },
  180_000,
);

it.skipIf(!isWhole)(
  'devices_that_hold_a_release_swap_together_at_the_go_also_after_a_power_cut',
  async () => {
    const blueGreen = { go: 'ask' } as const;
    const policy = quickPolicy(everybody, { strategy: 'blue-green', blueGreen });
    const id = await startRollout(fleet, '1.1.0', policy);
    expect((await settled(fleet, id)).state).toBe('held');
    expect(await memberStates(id)).toEqual(['ready', 'ready']);
    expect(await serving()).toEqual(['1.0.0', '1.0.0']);

    await devices[0]!.stop('SIGKILL');
    devices[0]!.start();
    await until('it serves again', async () => (await devices[0]!.serving()) === '1.0.0');
    expect(await memberStates(id)).toEqual(['ready', 'ready']);

    await fleet.admin.request('POST', `/rollouts/${id}/resume`, RolloutDetail, {});
    const view = await settled(fleet, id);
    expect(view.state, JSON.stringify(view, null, 1)).toBe('completed');
    expect(await serving()).toEqual(['1.1.0', '1.1.0']);
    // The second device was never cut off.
    const { lost, complaints } = traffic[1]!.counts;
    expect(lost, complaints.join()).toBe(0);
  },
  180_000,
);
