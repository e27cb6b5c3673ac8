// A person operates a fleet in a real browser, by keyboard: real fleet server, real stream of
// changes, devices that report over MQTT. The page is never reloaded.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  chromiumPath,
  DESKTOP,
  launch,
  PHONE,
  press,
  signIn,
  tabTo,
  visit,
  type Visit,
} from '../support/browser.js';
import { publish, startFleet, type TestFleet } from '../support/fleet-server.js';
import { ReportingDevice, reportingDevices } from '../support/reporting-devices.js';
import { orEach } from '../support/whole.js';

let fleet: TestFleet;
let devices: ReportingDevice[];
let browser: Browser;

const setUp = async (): Promise<void> => {
  fleet = await startFleet();
  for (const version of ['1.0.0', '1.1.0', '1.2.0']) await publish(fleet, version);
  devices = await reportingDevices(
    () => fleet,
    ['a', 'b', 'c', 'd', 'e', 'f'].map((name, at) => [`line-${name}`, at < 2 ? 'canary' : 'fleet']),
  );
  browser = await launch();
};
const tearDown = async (): Promise<void> => {
  await browser.close();
  for (const device of devices) await device.close();
  await fleet.close();
};

/** Devices do what they do until the page shows it. */
async function until(page: Page, what: string, shown: () => Promise<boolean>): Promise<void> {
  for (let step = 0; step < 100; step++) {
    if (await shown()) return;
    for (const device of devices) await device.step();
    await page.waitForTimeout(100);
  }
  const text = await page.locator('main').innerText();
  throw new Error(`the page never showed: ${what}; it showed: ${text}`);
}

const stateIs =
  (page: Page, state: string): (() => Promise<boolean>) =>
  () =>
    page
      .locator('main > .heading')
      .getByText(new RegExp(`^\\S ${state}$`))
      .isVisible();

const untilState = (page: Page, state: string): Promise<void> =>
  until(page, state, stateIs(page, state));

/** A button of the page, its question answered. */
async function command(page: Page, name: string, reason: string): Promise<void> {
  await press(page, name);
  await page.getByRole('dialog').waitFor();
  await tabTo(page, /^Reason/);
  await page.keyboard.type(reason);
  await press(page, name);
  await page.getByRole('dialog').waitFor({ state: 'detached' });
}

async function typeInto(page: Page, label: RegExp, text: string): Promise<void> {
  await tabTo(page, label);
  await page.keyboard.press('Control+A');
  await page.keyboard.type(text);
}

/** From any page: a draft of the version by the form. */
async function draft(page: Page, version: string, options: { approval: boolean }): Promise<void> {
  await press(page, 'Rollouts');
  await page.getByRole('heading', { level: 1, name: 'Rollouts' }).waitFor();
  await press(page, 'New rollout');
  await page.getByRole('option', { name: `digits ${version}` }).waitFor({ state: 'attached' });
  await page.getByRole('option', { name: 'canary', exact: true }).first().waitFor({
    state: 'attached',
  });
  await tabTo(page, /^Release/);
  await page.keyboard.type(`digits ${version}`);
  await tabTo(page, /^It is for/);
  await page.keyboard.press('End');
  await tabTo(page, /^Group/);
  await page.keyboard.type('canary');
  await typeInto(page, /^Soak/, '0');
  if (options.approval) {
    await tabTo(page, /^The step beyond/);
    await page.keyboard.press('Space');
  }
  await typeInto(page, /^Comparisons that/, '0');
  await typeInto(page, /^A trial lasts at least/, '0');
  await press(page, 'Dry run');
  await page.getByText('would reach 6 devices').waitFor();
  await page.getByRole('cell', { name: /line-a/ }).waitFor();
  await press(page, 'Create draft');
  await page.getByRole('heading', { name: `Rollout of digits ${version}` }).waitFor();
}

async function expectClean({ complaints }: Visit): Promise<void> {
  expect(complaints).toEqual([]);
}

describe.skipIf(chromiumPath === null)('a person at the console', () => {
  beforeAll(setUp);
  afterAll(tearDown);

  it.each(
    orEach(2, [
      ['a_desktop', DESKTOP, '1.0.0'],
      ['a_phone', PHONE, '1.1.0'],
    ] as const),
  )('%s_rolls_out_pauses_resumes_approves_and_undoes_by_keyboard', async (...row) => {
    const [, viewport, version] = row;
    const visited = await visit(browser, { viewport });
    const { page } = visited;
    await signIn(page, fleet.server.address, fleet.adminToken);
    await draft(page, version, { approval: true });
    expect(await stateIs(page, 'draft')()).toBe(true);
    await command(page, 'Start', 'the day has begun');
    await page.getByText('started by first-admin: the day has begun').first().waitFor();
    await command(page, 'Pause', 'lunch');
    await untilState(page, 'held');
    await command(page, 'Resume', 'after lunch');
    await until(page, 'both canaries', () =>
      page.getByLabel('States of wave 1').getByText('2 ✓ confirmed').isVisible(),
    );
    expect(await stateIs(page, 'rolling')()).toBe(true);
    await command(page, 'Approve', 'looks good');
    await untilState(page, 'completed');
    await command(page, 'Undo', 'marketing wants the old one');
    await untilState(page, 'reverted');
    await page.getByText('undone by first-admin: marketing wants the old one').first().waitFor();
    await expectClean(visited);
    await visited.close();
  });

  it('aborts_one_that_is_under_way', async () => {
    const visited = await visit(browser);
    const { page } = visited;
    await signIn(page, fleet.server.address, fleet.adminToken);
    await draft(page, '1.2.0', { approval: true });
    await command(page, 'Start', 'try');
    await until(page, 'a canary that has it', () =>
      page
        .getByLabel('States of wave 1')
        .getByText(/[12] ✓ confirmed/)
        .isVisible(),
    );
    await command(page, 'Abort', 'wrong release');
    await untilState(page, 'reverted');
    await expectClean(visited);
    await visited.close();
  });

  it('finds_out_why_a_rollout_stopped', async () => {
    for (const device of devices) device.bad.add('1.2.0');
    const visited = await visit(browser);
    const { page } = visited;
    await signIn(page, fleet.server.address, fleet.adminToken);
    await draft(page, '1.2.0', { approval: false });
    await command(page, 'Start', 'again');
    await untilState(page, 'reverted');
    const why = page.getByRole('region', { name: 'History' });
    await why
      .getByText(/devices that took it failed; acceptable is 5 %.*: halted/)
      .first()
      .waitFor();
    await page.getByRole('img', { name: /took it failed.*halt/ }).waitFor();
    await press(page, 'digits 1.2.0');
    const failed = page.getByRole('region', { name: 'Devices on which it failed' });
    await failed
      .getByRole('cell', { name: /answers_differ|answers differ/ })
      .first()
      .waitFor();
    await press(page, 'line-a');
    await page.getByRole('heading', { name: 'Device line-a' }).waitFor();
    await page.getByRole('region', { name: 'Outcomes' }).getByText('answers differ').waitFor();
    await expectClean(visited);
    await visited.close();
  });

  it('revokes_a_device_by_the_fingerprint_of_its_key', async () => {
    const visited = await visit(browser);
    const { page } = visited;
    await signIn(page, fleet.server.address, fleet.adminToken);
    await press(page, 'Devices');
    await press(page, 'line-f');
    await page.getByRole('heading', { name: 'Device line-f' }).waitFor();
    await press(page, 'Revoke');
    const dialog = page.getByRole('dialog');
    const fingerprint = (await dialog.locator('code').textContent()) ?? '';
    expect(fingerprint).toMatch(/^[0-9a-f]{64}$/);
    await press(page, 'Revoke');
    await dialog.waitFor({ state: 'detached' });
    await page
      .locator('main > .heading')
      .getByText(/revoked/)
      .waitFor();
    const row = await fleet.store.devices.named('line-f', 'enrolled');
    expect(row.status).toBe('revoked');
    await expectClean(visited);
    await visited.close();
  });

  it('learns_that_the_server_is_gone_and_goes_on_when_it_is_back', async () => {
    const { page, close } = await visit(browser);
    await signIn(page, fleet.server.address, fleet.adminToken);
    await page.getByText('Live', { exact: true }).waitFor();
    const port = Number(new URL(fleet.server.address).port);
    const before = await page.evaluate<number>('performance.timeOrigin');
    fleet = await fleet.restart({ http: { ...fleet.settings.http, port } });
    await page.getByText('The server does not answer').waitFor();
    await page.getByText('Live', { exact: true }).waitFor();
    for (const device of devices.slice(0, 2)) await device.connect();
    await press(page, 'Groups');
    await page.getByRole('link', { name: 'canary' }).waitFor();
    expect(await page.evaluate<number>('performance.timeOrigin')).toBe(before);
    await close();
  });

  it('whose_token_is_revoked_is_asked_for_another_one', async () => {
    const { page, close } = await visit(browser);
    const made = await fetch(`${fleet.server.address}/api/v1/tokens`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${fleet.adminToken}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ name: 'guest', role: 'viewer' }),
    });
    const { token } = (await made.json()) as { token: string };
    await signIn(page, fleet.server.address, token);
    expect(page.url()).not.toContain(token);
    await page.getByText('guest (viewer)').waitFor();
    expect(await page.getByRole('link', { name: 'Tokens' }).count()).toBe(0);
    await press(page, 'Rollouts');
    expect(await page.getByRole('link', { name: 'New rollout' }).count()).toBe(0);
    await fleet.store.tokens.revoke(
      { name: 'guest', isForced: false },
      { actor: 'test', action: 'token.revoke', subject: 'guest', detail: '', trace: null },
      Date.now(),
    );
    await press(page, 'Groups');
    await page.getByRole('alert').getByText('the operator token is unknown or revoked').waitFor();
    expect(await page.evaluate('sessionStorage.length')).toBe(0);
    await close();
  });
});
