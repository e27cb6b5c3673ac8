// The form of a new rollout in a real browser: every strategy's settings, one like another, and the
// question whose answer lets a held rollout go on.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  Device,
  RolloutDetail,
  type RolloutPolicy,
  type Wave,
} from '../../shared/protocol/operator-api.js';
import { defaultTrialPolicy } from '../../shared/statistics/trial-verdict.js';
import {
  axe,
  chromiumPath,
  expectNoOverflow,
  launch,
  PHONE,
  press,
  signIn,
  tabTo,
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
import { isWhole } from '../support/whole.js';

/** Arms are drawn by a hash: of so many devices some are in each. */
const DEVICES = 20;
const LABELS = { note: 'a,b' };

let fleet: TestFleet;
let devices: ReportingDevice[];
let browser: Browser;

const setUp = async (): Promise<void> => {
  fleet = await startFleet();
  for (const version of ['1.0.0', '1.1.0']) await publish(fleet, version);
  devices = await reportingDevices(
    () => fleet,
    Array.from({ length: DEVICES }, (_, n) => [`line-${n}`, n < 2 ? 'canary' : 'fleet']),
  );
  for (const { device } of devices)
    await fleet.admin.request('PATCH', `/devices/${device.id}`, Device, { labels: LABELS });
  browser = await launch();
};
const tearDown = async (): Promise<void> => {
  await browser.close();
  for (const device of devices) await device.close();
  await fleet.close();
};

async function at(
  path: string,
  options: Parameters<typeof visit>[1] = {},
): Promise<Awaited<ReturnType<typeof visit>>> {
  const visited = await visit(browser, options);
  await signIn(visited.page, fleet.server.address, fleet.adminToken);
  await visited.page.goto(`${fleet.server.address}/console/${path}`);
  return visited;
}

/** Creates the draft; its policy and selector as the API has them. */
async function created(page: Page) {
  await press(page, 'Create draft');
  await page.getByRole('heading', { name: /^Rollout of digits/ }).waitFor();
  const id = decodeURIComponent(new URL(page.url()).pathname.split('/').at(-1)!);
  const { policy, selector } = await rolloutOf(fleet, id);
  await press(page, 'Drop');
  await page.getByRole('dialog').waitFor();
  await press(page, 'Drop');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  return { policy, selector };
}

describe.skipIf(chromiumPath === null || !isWhole)('the form of a new rollout', () => {
  beforeAll(setUp);
  afterAll(tearDown);

  it('gives_the_arms_their_settings_and_a_wave_is_added_and_removed_by_keyboard', async () => {
    const { page, complaints, close } = await at('new-rollout?release=digits%401.0.0');
    await tabTo(page, /^Strategy/);
    for (const key of ['Home', 'ArrowDown', 'ArrowDown']) await page.keyboard.press(key);
    await tabTo(page, /^Devices in arm B/);
    await page.keyboard.press('Control+A');
    await page.keyboard.type('40');
    await tabTo(page, /^security events/);
    await page.keyboard.press('Space');
    await press(page, 'Add a wave');
    await page.getByRole('group', { name: 'Wave 3' }).waitFor();
    await press(page, 'Remove wave 2');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Add a wave');
    await press(page, 'Hours, pace and deadline');
    await tabTo(page, /^Only within hours/);
    await page.keyboard.type('22:00-05:00');
    await tabTo(page, /^Pace/);
    await page.keyboard.type('40');
    const { policy } = await created(page);
    expect(policy).toMatchObject({
      strategy: 'ab',
      ab: { sharePercent: 40, metrics: ['failed', 'p99', 'security'], winner: 'ask' },
      waves: [{ percent: 50 }, { percent: 100, soakSeconds: 0 }, { name: 'arm A' }],
      hours: { windows: ['22:00-05:00'] },
      takesPerHour: 40,
    });
    expect(complaints).toEqual([]);
    await close();
  });

  const ARMS: RolloutPolicy['ab'] = {
    ...{ sharePercent: 50, observeSeconds: 600, metrics: ['p50'] },
    ...{ falseWinnerPermille: 25, winner: 'auto' },
  };
  const GROUP: Wave = {
    ...{ name: 'first', group: 'canary', soakSeconds: 3, minProven: 1, approval: true },
  };
  it.each([
    ['blue-green', { blueGreen: { go: 'auto' } }, [GROUP]],
    ['ab', { ab: ARMS }, []],
  ] as const)('begins_with_the_policy_and_the_devices_of_another_%s', async (...row) => {
    const [strategy, more, first] = row;
    const given: RolloutPolicy = {
      ...quickPolicy([
        ...first,
        { name: '3', count: 3, soakSeconds: 2, approval: false },
        { name: 'everybody', percent: 100, soakSeconds: 0, approval: false },
      ]),
      ...{ strategy, ...more, kindWindow: 2 },
      hours: { windows: ['00:00-23:59'], zone: 'Europe/Berlin' },
      deadline: '2030-01-31T18:00:00.000Z',
    };
    const { id, policy, selector } = await fleet.admin.request('POST', '/rollouts', RolloutDetail, {
      ...{ component: 'digits', version: '1.0.0', policy: given },
      selector: { groups: ['canary', 'fleet'], labels: LABELS },
    });
    const { page, complaints, close } = await at(`rollouts/${id}`);
    await press(page, 'Draft one like it');
    await page.getByRole('heading', { level: 1, name: 'New rollout' }).waitFor();
    await page.getByRole('option', { name: 'digits 1.0.0' }).waitFor({ state: 'attached' });
    expect(await created(page)).toEqual({ policy, selector });
    expect(complaints).toEqual([]);
    await close();
  });

  it('opens_what_is_closed_where_a_value_in_it_is_wrong', async () => {
    const { page, close } = await at('new-rollout');
    await press(page, 'Hours, pace and deadline');
    await tabTo(page, /^Pace/);
    await page.keyboard.type('0');
    await press(page, 'Hours, pace and deadline');
    await page.getByLabel(/^Pace/).waitFor({ state: 'hidden' });
    await press(page, 'Create draft');
    await page.getByLabel(/^Pace/).waitFor({ state: 'visible' });
    await close();
  });

  it.each(['light', 'dark'] as const)(
    'is_accessible_with_all_fields_in_%s',
    async (colorScheme) => {
      const { page, complaints, close } = await at('new-rollout', { colorScheme, viewport: PHONE });
      for (const strategy of ['blue-green', 'ab']) {
        await page.getByLabel('Strategy').selectOption(strategy);
        for (const title of ['Limits of the trial on each device', 'Hours, pace and deadline'])
          if (await page.locator('details:not([open])', { hasText: title }).count())
            await page.getByText(title).click();
        await page.getByLabel('It is for').first().selectOption('group');
        await expectNoOverflow(page);
        expect(await axe(page)).toEqual([]);
      }
      expect(complaints).toEqual([]);
      await close();
    },
  );
});

describe.skipIf(chromiumPath === null || !isWhole)(
  'a rollout that is held for a difference',
  () => {
    beforeAll(setUp);
    afterAll(tearDown);

    it('goes_on_when_a_person_accepts_it', async () => {
      for (const device of devices) device.different.add('1.1.0');
      const trial = { ...defaultTrialPolicy, minSeconds: 1, minPairs: 50 };
      const id = await startRollout(fleet, '1.1.0', quickPolicy(everybody, { trial }));
      const stepUntil = async (state: string): Promise<void> => {
        await until(`rollout ${id} is ${state}`, async () => {
          for (const device of devices) await device.step();
          return (await rolloutOf(fleet, id)).state === state;
        });
      };
      await stepUntil('held');
      const { page, complaints, close } = await at(`rollouts/${id}`);
      await press(page, 'Resume');
      await page.getByRole('dialog').waitFor();
      await tabTo(page, /went back for answers that differ/);
      await page.keyboard.type('19.5');
      for (const device of devices) device.different.clear();
      await press(page, 'Resume');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      await page.getByText(/up to 19\.5 % accepted by a person/).waitFor();
      await stepUntil('completed');
      expect(complaints).toEqual([]);
      await close();
    });
  },
);
