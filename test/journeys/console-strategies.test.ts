// The pictures of the strategies in a real browser: a real server, devices that report over MQTT.
// Each says the same as text, is accessible in light and dark, and is no wider than a phone.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { counted } from '../../server/rollout/arms.js';
import type { ArmsState } from '../../server/interfaces.js';
import type { ArmsPolicy, RolloutPolicy } from '../../shared/protocol/operator-api.js';
import { NOTHING_MEASURED } from '../sim/fleet.js';
import {
  axe,
  chromiumPath,
  expectNoOverflow,
  launch,
  PHONE,
  press,
  signIn,
  visit,
} from '../support/browser.js';
import { publish, startFleet, type TestFleet } from '../support/fleet-server.js';
import {
  everybody,
  quickPolicy,
  rolloutOf,
  startRollout,
  until,
} from '../support/journey-devices.js';
import { reportingDevices, type ReportingDevice } from '../support/reporting-devices.js';
import { defaultTrialPolicy } from '../../shared/statistics/trial-verdict.js';
import { isWhole } from '../support/whole.js';

let fleet: TestFleet;
let devices: ReportingDevice[];
let browser: Browser;

const setUp = async (): Promise<void> => {
  fleet = await startFleet();
  for (const version of ['1.0.0', '1.1.0', '1.2.0']) await publish(fleet, version);
  const names = Array.from({ length: 8 }, (_, n) => [`line-${n + 1}`, 'fleet'] as const);
  devices = await reportingDevices(() => fleet, names);
  browser = await launch();
};
const tearDown = async (): Promise<void> => {
  await browser.close();
  for (const device of devices) await device.close();
  await fleet.close();
};

const trial = { ...defaultTrialPolicy, minSeconds: 1, minPairs: 50 };

async function stepUntil(id: string, state: string): Promise<void> {
  await until(`rollout ${id} is ${state}`, async () => {
    for (const device of devices) await device.step();
    return (await rolloutOf(fleet, id)).state === state;
  });
}

/** In all forms; what is checked last is shown on a desktop. */
async function seen(id: string, region: string, check: (page: Page) => Promise<void>) {
  for (const options of [
    { colorScheme: 'dark' as const, viewport: PHONE },
    { colorScheme: 'light' as const },
  ]) {
    const { page, complaints, close } = await visit(browser, options);
    await signIn(page, fleet.server.address, fleet.adminToken);
    await page.goto(`${fleet.server.address}/console/rollouts/${id}`);
    await page.getByRole('region', { name: region }).waitFor();
    await check(page);
    await expectNoOverflow(page);
    expect(await axe(page)).toEqual([]);
    expect(complaints).toEqual([]);
    await close();
  }
}

describe.skipIf(chromiumPath === null || !isWhole)('the picture of a strategy', () => {
  beforeAll(setUp);
  afterAll(tearDown);

  it('shadow_shows_each_output_against_its_limit', async () => {
    devices[0]!.bad.add('1.0.0');
    const policy = quickPolicy(everybody, { strategy: 'shadow', trial });
    const id = await startRollout(fleet, '1.0.0', policy);
    await stepUntil(id, 'reported');
    await seen(id, 'Comparison beside what serves', async (page) => {
      const part = page.getByRole('region', { name: 'Comparison beside what serves' });
      await part.getByText('1 would go back').waitFor();
      await part
        .getByRole('img', {
          name: /logits: differs by .* over 8 devices .* at most by 39.9 % on line-1/,
        })
        .waitFor();
    });
  });

  it('blue_green_shows_who_is_ready_and_the_go_by_keyboard', async () => {
    const policy = quickPolicy(everybody, { strategy: 'blue-green', blueGreen: { go: 'ask' } });
    const id = await startRollout(fleet, '1.1.0', policy);
    await stepUntil(id, 'held');
    await seen(id, 'Readiness', async (page) => {
      await page.getByRole('img', { name: 'Wave 1, all: 8 ready' }).waitFor();
    });
    const { page, close } = await visit(browser);
    await signIn(page, fleet.server.address, fleet.adminToken);
    await page.goto(`${fleet.server.address}/console/rollouts/${id}`);
    await press(page, 'Resume');
    await page.getByRole('dialog').waitFor();
    await press(page, 'Resume');
    await page.getByRole('region', { name: 'Readiness' }).getByText('The go was given').waitFor();
    await stepUntil(id, 'completed');
    await page.getByRole('img', { name: 'Wave 1, all: 8 serve it, confirmed' }).waitFor();
    await close();
  });

  it('arms_show_means_intervals_and_evidence', async () => {
    const ab: ArmsPolicy = {
      ...{ sharePercent: 50, observeSeconds: 3600, metrics: ['failed', 'p99'] },
      ...{ falseWinnerPermille: 50, winner: 'ask' },
    };
    const policy: RolloutPolicy = quickPolicy(everybody, { strategy: 'ab', ab });
    const id = await startRollout(fleet, '1.2.0', policy);
    let arms: ArmsState = { done: [], metrics: {}, told: true };
    for (let n = 0; n < 12; n++) {
      const b = { ...NOTHING_MEASURED, failed: 0.05 };
      arms = counted(arms, { device: `d${n}`, b, a: [{ ...NOTHING_MEASURED, failed: 0.01 }] }, ab);
    }
    await fleet.store.db
      .updateTable('rollouts')
      .set({ arms_json: JSON.stringify(arms) })
      .where('id', '=', id)
      .execute();
    await seen(id, 'Arms', async (page) => {
      const part = page.getByRole('region', { name: 'Arms' });
      await part.getByText('arm A is better').waitFor();
      await part.getByText('Mean in arm A 0.01, in arm B 0.05.').waitFor();
      await part
        .getByRole('img', { name: /^Higher in arm B on 100 % of 12 comparisons; .* to 100 %/ })
        .waitFor();
      await part.getByRole('img', { name: /^Evidence that B is worse: .* 80 decides/ }).waitFor();
      await part.getByText('99 % latency in ms: nothing was compared yet').waitFor();
    });
  });
});
