// The rehearsal on real parts: a device under traffic refuses a quietly wrong release before it has
// answered a live request, and takes a good one with the evidence of its rehearsal.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadDigits } from '../../firmware-tools/demo/digits/data.js';
import { Traffic } from '../../firmware-tools/demo/traffic.js';
import { startFleet, type TestFleet } from '../support/fleet-server.js';
import {
  AgentProcess,
  enrolledAndInstalled,
  everybody,
  freePorts,
  LINNET,
  publishDigits,
  quickPolicy,
  settled,
  startRollout,
  until,
} from '../support/journey-devices.js';

const TRAFFIC_PER_SECOND = 20;
/** Enough for a ring of 100 inputs. */
const REQUESTS_BEFORE = 150;
const ON = { LINNET_AGENT__REHEARSAL__DIGITS__MAX_AGE_HOURS: '1' };

let fleet: TestFleet;
let device: AgentProcess;
let traffic: Traffic;

beforeAll(async () => {
  fleet = await startFleet();
  for (const version of ['1.0.0', '1.1.0', '1.2.0'] as const) await publishDigits(fleet, version);
  const [port = 0] = await freePorts(1);
  device = await AgentProcess.make(fleet, 'dev', port);
  device.start(LINNET, [], ON);
  await enrolledAndInstalled(fleet, 1);
  traffic = new Traffic({ port, digits: loadDigits().test, first: 0 });
  traffic.start(TRAFFIC_PER_SECOND);
}, 120_000);

afterAll(async () => {
  await traffic.stop();
  await device.stop();
  await fleet.close();
}, 60_000);

const served = (version: string): number =>
  traffic.counts.byRelease.get(`digits@${version}`)?.served ?? 0;
const roll = async (version: string) =>
  settled(fleet, await startRollout(fleet, version, quickPolicy(everybody)));

describe('a device that rehearses', () => {
  it('refuses_a_quietly_wrong_release_that_has_answered_no_live_request', async () => {
    await until('requests came', () => served('1.0.0') >= REQUESTS_BEFORE);
    const { state, reasons } = await roll('1.2.0');
    expect(state).toBe('reverted');
    expect(reasons.join('\n')).toMatch(
      /rehearsal_differs: answers of \w+ differ by \d+ % on \d+ of its own recent inputs/,
    );
    expect(served('1.2.0')).toBe(0);
    expect(traffic.counts.lost).toBe(0);
  });

  it('takes_a_good_release_with_the_evidence_of_its_rehearsal', async () => {
    const { state, members } = await roll('1.1.0');
    expect(state).toBe('completed');
    expect(members[0]?.reasons).toMatch(/on \d+ live inputs and \d+ of its own recent ones/);
    expect(served('1.1.0')).toBeGreaterThan(0);
    expect(traffic.counts.lost).toBe(0);
  });
});
