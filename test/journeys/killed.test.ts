// kill -9 of a real agent in every state of an update, on real parts: each device comes back
// serving the old or the new release, finishes the update, and leaves no model process behind.
import { readFileSync, readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadDigits } from '../../firmware-tools/demo/digits/data.js';
import { Traffic, digitTask } from '../../firmware-tools/demo/traffic.js';
import { startFleet, type TestFleet } from '../support/fleet-server.js';
import {
  AgentProcess,
  CRASHING_AGENT,
  everybody,
  enrolledAndInstalled,
  freePorts,
  publishDigits,
  quickPolicy,
  rolloutOf,
  settled,
  startRollout,
  until,
} from '../support/journey-devices.js';
import { orEach } from '../support/whole.js';

const KILLS = orEach(5, [
  ['swapped', 'before'],
  ['assigned', 'after'],
  ['downloaded', 'after'],
  ['swapped', 'after'],
  ['verified', 'after'],
  ['probed', 'after'],
  ['staged', 'after'],
  ['rehearsed', 'after'],
  ['idle', 'after'],
  ['idle', 'before'],
] as const);

let fleet: TestFleet;
let devices: AgentProcess[] = [];
let traffic: Traffic[] = [];

beforeAll(async () => {
  fleet = await startFleet();
  await publishDigits(fleet, '1.0.0');
  await publishDigits(fleet, '1.1.0');
  const ports = await freePorts(KILLS.length);
  devices = await Promise.all(
    KILLS.map(([state, when], at) => AgentProcess.make(fleet, `${state}-${when}`, ports[at] ?? 0)),
  );
}, 120_000);

afterAll(async () => {
  await Promise.all(traffic.map((one) => one.stop()));
  await Promise.all(devices.map((device) => device.stop()));
  await fleet.close();
}, 60_000);

/** Model processes whose agent is gone. */
function orphans(): string[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
        return command.includes('host-child.js') && parent === '1';
      } catch {
        return false; // It ended while we looked.
      }
    });
}

describe('a real agent, killed with -9', () => {
  it('in_every_state_comes_back_on_the_old_or_the_new_release_and_finishes', async () => {
    for (const device of devices) device.start();
    await enrolledAndInstalled(fleet, devices.length);
    await Promise.all(devices.map((device) => device.stop()));

    devices.forEach((device, at) => device.start(CRASHING_AGENT, [...(KILLS[at] ?? [])]));
    const { images, labels } = loadDigits().test;
    traffic = devices.map(
      ({ port }, at) => new Traffic({ port, task: digitTask({ images, labels }), first: at * 100 }),
    );
    for (const device of devices)
      await until(`${device.name} serves 1.0.0`, async () => (await device.serving()) === '1.0.0');
    for (const one of traffic) one.start(10);
    const id = await startRollout(fleet, '1.1.0', quickPolicy(everybody));

    // The devices take the release one after the other, as the window lets them.
    await Promise.all(
      devices.map(async (device, at) => {
        const signal = await device.died().catch(async (error: unknown) => {
          const { members, state, reasons } = await rolloutOf(fleet, id);
          const told = members.map((one) => `${one.name} ${one.state}: ${one.reasons}`);
          throw new Error([state, ...reasons, ...told].join('\n'), { cause: error });
        });
        expect(signal, `${device.name}: ${device.stderr}`).toBe('SIGKILL');
        device.start();
        const version = await until(`${device.name} serves again`, () => device.serving());
        const [state, when] = KILLS[at] ?? ['', ''];
        const swapDone = state === 'idle' || (state === 'swapped' && when === 'after');
        // At once after the restart; a device may have finished by the time we look.
        const why = `${device.name}: ${device.stderr}`;
        expect(swapDone ? ['1.1.0'] : ['1.0.0', '1.1.0'], why).toContain(version);
      }),
    );
    const view = await settled(fleet, id, 180_000);
    expect(
      view.reasons.join(' ') +
        view.members.map(({ name, state, reasons }) => `\n${name} ${state} ${reasons}`).join(''),
      'rollout',
    ).toBeTruthy();
    expect(view.state, JSON.stringify(view.members, null, 1)).toBe('completed');
    for (const device of devices) expect(await device.serving(), device.name).toBe('1.1.0');
    await until('no model process outlives its agent', () => orphans().length === 0);
  }, 400_000);
});
