// Who gets in, at the console and by keyboard, on a desktop and on a phone: devices that wait are
// approved or denied, a claim enrols another one, and a person revokes the own tokens.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  axe,
  chromiumPath,
  DESKTOP,
  expectNoOverflow,
  launch,
  PHONE,
  press,
  signIn,
  tabTo,
  visit,
} from '../support/browser.js';
import { AuditPage, DevicePage, NewToken } from '../../shared/protocol/operator-api.js';
import {
  enrolBody,
  newDevice,
  post,
  startFleet,
  type TestDevice,
  type TestFleet,
} from '../support/fleet-server.js';
import { isWhole } from '../support/whole.js';

let fleet: TestFleet;
let browser: Browser;

const setUp = async (): Promise<void> => {
  fleet = await startFleet();
  browser = await launch();
};
const tearDown = async (): Promise<void> => {
  await browser.close();
  await fleet.close();
};

async function asking(name: string): Promise<TestDevice> {
  const device = newDevice(name);
  const { body } = await post(fleet, '/device/v1/enrol', await enrolBody(device));
  expect(body).toMatchObject({ status: 'pending' });
  return device;
}

const statusOf = async ({ id }: TestDevice): Promise<string | undefined> =>
  (await fleet.store.devices.get(id))?.status;

async function answer(page: Page, button: string, action: string): Promise<void> {
  await press(page, button);
  const dialog = page.getByRole('dialog');
  await dialog.waitFor();
  await press(page, action);
  await dialog.waitFor({ state: 'detached' });
}

const tokenOf = async (name: string): Promise<string> => {
  const made = { name, role: 'operator' };
  return (await fleet.admin.request('POST', '/tokens', NewToken, made)).token;
};
const isTaken = async (token: string): Promise<boolean> => {
  const headers = { authorization: `Bearer ${token}` };
  return (await fetch(`${fleet.server.address}/api/v1/self`, { headers })).ok;
};

describe.skipIf(chromiumPath === null || !isWhole)('access at the console', () => {
  beforeAll(setUp);
  afterAll(tearDown);

  it.each([
    ['a_desktop', DESKTOP],
    ['a_phone', PHONE],
  ] as const)('on_%s_a_person_approves_denies_and_claims_by_keyboard', async (where, viewport) => {
    const good = await asking(`good-on-${where}`);
    const odd = await asking(`odd-on-${where}`);
    const { page, complaints, close } = await visit(browser, { viewport });
    await signIn(page, fleet.server.address, fleet.adminToken);
    await press(page, 'Enrol');
    await page.getByRole('heading', { level: 1, name: 'Enrol devices' }).waitFor();
    const table = page.getByRole('region', { name: 'Waiting for approval' });
    const { fingerprint } = (await fleet.admin.list('/devices', DevicePage)).find(
      ({ id }) => id === good.id,
    )!;
    await table.getByText(fingerprint!).waitFor();
    expect(await axe(page)).toEqual([]);
    await answer(page, `Approve ${good.name}`, 'Approve');
    await table.getByRole('link', { name: good.name }).waitFor({ state: 'detached' });
    await answer(page, `Deny ${odd.name}`, 'Deny');
    await table.getByText('No device waits').waitFor();
    expect([await statusOf(good), await statusOf(odd)]).toEqual(['enrolled', 'revoked']);
    // The focus went to the part of the page, not to its beginning.
    expect(await page.evaluate('document.activeElement === document.body')).toBe(false);

    await tabTo(page, /^Its components/);
    await page.keyboard.press('Control+A');
    await page.keyboard.type('digits, faces');
    await press(page, 'Create claim');
    const toml = (await page.getByLabel('agent.toml').textContent()) ?? '';
    expect(toml).toContain('components = ["digits","faces"]');
    expect(toml).toContain(`url = "${fleet.server.address}"`);
    const commands = (await page.getByLabel('Commands for the device').textContent()) ?? '';
    const [claim] = /lnc_\S+/.exec(commands) ?? [''];
    const device = newDevice(`claimed-on-${where}`);
    await post(fleet, '/device/v1/enrol', await enrolBody(device, { claim }));
    expect(await statusOf(device)).toBe('enrolled');
    expect(await axe(page)).toEqual([]);
    await expectNoOverflow(page);
    expect(complaints).toEqual([]);
    await close();
  });

  it('a_person_revokes_the_other_tokens_and_then_signs_out_everywhere', async () => {
    const [mine, lost] = [await tokenOf('anna'), await tokenOf('anna')];
    const { page, complaints, close } = await visit(browser);
    await signIn(page, fleet.server.address, mine);
    await press(page, 'anna (operator)');
    await page.getByRole('heading', { level: 1, name: 'Your session' }).waitFor();
    await page.getByText('2 tokens').waitFor();
    await answer(page, 'Revoke my other tokens', 'Revoke my other tokens');
    await page.getByText('1 token', { exact: true }).waitFor();
    expect([await isTaken(mine), await isTaken(lost)]).toEqual([true, false]);
    await answer(page, 'Sign out everywhere', 'Sign out everywhere');
    await page.getByRole('alert').getByText('Every token of anna was revoked.').waitFor();
    expect(await isTaken(mine)).toBe(false);
    expect(await isTaken(fleet.adminToken)).toBe(true);
    const entries = (await fleet.admin.list('/audit', AuditPage)).filter(
      ({ action }) => action === 'token.revoke_own',
    );
    expect(entries).toMatchObject([
      { actor: 'anna', subject: 'anna' },
      { actor: 'anna', subject: 'anna' },
    ]);
    expect(complaints).toEqual([]);
    await close();
  });
});
