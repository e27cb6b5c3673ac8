// Every page of the console in a real browser: accessible in light and dark, no wider than a phone,
// text of strangers as text, focus and scroll kept while it changes, and 10,000 devices. With
// LINNET_SCREENSHOTS=1 the pictures of the README are written to docs/images.
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FAULT_CODES } from '../../shared/base/fault-codes.js';
import { HOUR_MS, KIB } from '../../shared/base/units.js';
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
import { LOSS_KEY } from '../../shared/release/quantization-loss.js';
import { simRelease } from '../sim/release.js';
import { loss } from '../support/quantization-losses.js';
import { Device, RolloutDetail } from '../../shared/protocol/operator-api.js';
import {
  clientAs,
  enrolBody,
  newDevice,
  post,
  publish,
  startFleet,
  type TestFleet,
} from '../support/fleet-server.js';
import { everybody, quickPolicy, startRollout } from '../support/journey-devices.js';
import { reportingDevices, type ReportingDevice } from '../support/reporting-devices.js';
import { isWhole } from '../support/whole.js';

const IMAGES = fileURLToPath(new URL('../../docs/images/', import.meta.url));
const IMAGE_MAX_BYTES = 150 * KIB;
const STRANGE = '<img src=x onerror=alert(1)>';
const MANY = 10_000;
const NODES_MAX_COUNT = 2_000;

let fleet: TestFleet;
let devices: ReportingDevice[];
let browser: Browser;
let rollout: string;

const setUp = async (): Promise<void> => {
  fleet = await startFleet();
  const { lineage } = simRelease('1.0.0').manifest;
  const quantization = { format: 'QDQ', [LOSS_KEY]: loss() };
  await publish(fleet, '1.0.0', { lineage: { ...lineage, quantization } });
  const names = Array.from({ length: 12 }, (_, n) => [`line-${n + 1}`, n < 3 ? 'canary' : 'fleet']);
  devices = await reportingDevices(() => fleet, names as [string, string][]);
  rollout = await startRollout(
    fleet,
    '1.0.0',
    quickPolicy([
      { name: 'canary', group: 'canary', soakSeconds: 0, approval: true },
      ...everybody,
    ]),
  );
  for (let round = 0; round < 3; round++) for (const device of devices) await device.step();
  await devices[11]!.report({
    trouble: { code: 'disk_full', detail: STRANGE, since: Date.now() },
    conditions: [{ code: 'crashes', count: 2, since: Date.now(), detail: 'the process ended' }],
  });
  await post(fleet, '/device/v1/enrol', await enrolBody(newDevice('waiting')));
  await pastHours();
  await fleet.store.versions.record(Date.now());
  browser = await launch();
};
/** Of the day before: 0.9.0 came to all, an hour a device; one hour was not counted. */
async function pastHours(): Promise<void> {
  const now = Date.now();
  const rows = Array.from({ length: 22 }, (_, ago) => {
    const done = Math.max(0, Math.min(12, 16 - ago));
    const hour = now - (now % HOUR_MS) - (ago + 1) * HOUR_MS;
    return [
      { hour, component: 'digits', version: '0.8.0', devices: 12 - done },
      { hour, component: 'digits', version: '0.9.0', devices: done },
    ];
  });
  await fleet.store.db
    .insertInto('fleet_versions')
    .values(rows.filter((_, ago) => ago !== 8).flat())
    .execute();
}

const tearDown = async (): Promise<void> => {
  await browser.close();
  for (const device of devices) await device.close();
  await fleet.close();
};

const pages = (): readonly (readonly [path: string, heading: string | RegExp])[] => [
  ['', 'Fleet'],
  ['/devices', 'Devices'],
  [`/devices/${devices[11]!.device.id}`, /^Device line-12/],
  ['/rollouts', 'Rollouts'],
  [`/rollouts/${rollout}`, /^Rollout of digits/],
  ['/new-rollout', 'New rollout'],
  ['/releases', 'Releases'],
  ['/releases/digits/1.0.0', 'Release digits 1.0.0'],
  ['/search?text=line', 'Search'],
  ['/enrol', 'Enrol devices'],
  ['/groups', 'Groups'],
  ['/security', 'Security events'],
  ['/audit', 'Audit log'],
  ['/tokens', 'Tokens'],
  ['/session', 'Your session'],
  ['/nowhere', 'There is no such page'],
];

async function open(page: Page, path: string, heading: string | RegExp): Promise<void> {
  await page.goto(`${fleet.server.address}/console${path}`);
  await page.getByRole('heading', { level: 1, name: heading }).waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
  await page.getByText('Loading.').first().waitFor({ state: 'detached' });
}

async function picture(page: Page, name: string): Promise<void> {
  if (process.env['LINNET_SCREENSHOTS'] !== '1') return;
  mkdirSync(IMAGES, { recursive: true });
  await page.screenshot({ path: `${IMAGES}${name}.png` });
  expect(statSync(`${IMAGES}${name}.png`).size).toBeLessThan(IMAGE_MAX_BYTES);
}

describe.skipIf(chromiumPath === null || !isWhole)('the pages of the console', () => {
  beforeAll(setUp);
  afterAll(tearDown);

  it.each(['light', 'dark'] as const)('are_accessible_in_%s', async (colorScheme) => {
    const { page, complaints, close } = await visit(browser, { colorScheme });
    await page.goto(`${fleet.server.address}/console`);
    await page.getByLabel('Operator token').waitFor();
    expect(await axe(page), 'sign-in').toEqual([]);
    await signIn(page, fleet.server.address, fleet.adminToken);
    for (const [path, heading] of pages()) {
      await open(page, path, heading);
      expect(await axe(page), path).toEqual([]);
    }
    await open(page, `/rollouts/${rollout}`, /^Rollout/);
    await page.getByRole('button', { name: 'Abort' }).click();
    await page.getByRole('dialog').waitFor();
    expect(await axe(page), 'dialog').toEqual([]);
    expect(complaints).toEqual([]);
    await close();
  });

  it('are_no_wider_than_a_phone_and_accessible_there_as_well', async () => {
    const { page, close } = await visit(browser, { viewport: PHONE });
    await signIn(page, fleet.server.address, fleet.adminToken);
    for (const [path, heading] of pages()) {
      await open(page, path, heading);
      await expectNoOverflow(page);
      expect(await axe(page), path).toEqual([]);
    }
    await close();
  });

  it('show_the_text_of_strangers_as_text', async () => {
    const { page, complaints, close } = await visit(browser);
    await signIn(page, fleet.server.address, fleet.adminToken);
    await open(page, `/devices/${devices[11]!.device.id}`, /^Device/);
    await page.getByRole('region', { name: 'What is wrong' }).getByText(STRANGE).waitFor();
    expect(await page.evaluate<number>('document.images.length')).toBe(0);
    expect(complaints).toEqual([]);
    await close();
  });

  it('of_a_device_in_trouble_say_what_to_do', async () => {
    const { page, close } = await visit(browser);
    await signIn(page, fleet.server.address, fleet.adminToken);
    await open(page, `/devices/${devices[11]!.device.id}`, /^Device/);
    const wrong = page.getByRole('region', { name: 'What is wrong' });
    await wrong.getByText(FAULT_CODES.disk_full.todo).waitFor();
    await close();
  });

  it('filter_devices_by_label_and_members_by_state_in_their_address', async () => {
    const { page, complaints, close } = await visit(browser);
    await signIn(page, fleet.server.address, fleet.adminToken);
    const { id } = devices[4]!.device;
    const client = await clientAs(fleet, 'operator');
    await client.request('PATCH', `/devices/${id}`, Device, { labels: { 'site.room': 'a=1' } });
    await open(page, '/devices', 'Devices');
    await tabTo(page, /^Label/);
    await page.keyboard.type('site.room=a=1');
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name: 'line-1' }).first().waitFor({ state: 'detached' });
    expect(await page.getByRole('link', { name: /^line-/ }).allInnerTexts()).toEqual(['line-5']);
    expect(page.url()).toContain('label=site.room%3Da%3D1');
    await open(page, `/rollouts/${rollout}?state=failed`, /^Rollout/);
    await page.getByText('No device.', { exact: true }).waitFor();
    expect(complaints).toEqual([]);
    await close();
  });

  it('find_by_a_text_what_has_a_name', async () => {
    const { page, complaints, close } = await visit(browser);
    await signIn(page, fleet.server.address, fleet.adminToken);
    await press(page, 'Search');
    await page.getByRole('heading', { level: 1, name: 'Search' }).waitFor();
    await tabTo(page, /^Name, id, release/);
    await page.keyboard.type('digits@1.0.0');
    await page.keyboard.press('Enter');
    const found = (title: string) => page.getByRole('region', { name: title, exact: true });
    await found('Releases').getByRole('link', { name: 'digits 1.0.0' }).waitFor();
    await found('Rollouts').getByText(rollout).waitFor();
    await found('Devices').getByText('None.').waitFor();
    await open(page, '/search?text=line-1', 'Search');
    await found('Devices').getByRole('link', { name: 'line-12' }).waitFor();
    expect(complaints).toEqual([]);
    await close();
  });

  it('filter_every_list_in_its_address', async () => {
    const { page, complaints, close } = await visit(browser);
    await signIn(page, fleet.server.address, fleet.adminToken);
    const row = page.getByRole('main').getByRole('row');
    const rows = async (path: string, heading: string, none: string): Promise<number> => {
      await open(page, path, heading);
      await row
        .or(page.getByText(none, { exact: true }))
        .first()
        .waitFor();
      return Math.max(0, (await row.count()) - 1);
    };
    const audit = (query: string) => rows(`/audit?${query}`, 'Audit log', 'No entry fits.');
    expect(await audit('until=2020-01-01T00:00:00Z')).toBe(0);
    expect(await audit('since=2020-01-01T00:00:00Z&action=rollout.start')).toBe(1);
    const rollouts = (query: string) => rows(`/rollouts?${query}`, 'Rollouts', 'No rollout fits.');
    expect(await rollouts('state=active&component=digits')).toBe(1);
    expect(await rollouts('state=completed')).toBe(0);
    const releases = (query: string) => rows(`/releases?${query}`, 'Releases', 'No release fits.');
    expect(await releases('search=0.0.77')).toBe(0);
    const security = (query: string) =>
      rows(`/security?${query}`, 'Security events', 'No event fits.');
    expect(await security('kind=server&until=2020-01-01T00:00:00Z')).toBe(0);
    await open(page, '', 'Fleet');
    await press(page, 'idle');
    await page.getByRole('heading', { level: 1, name: 'Devices' }).waitFor();
    await page.getByRole('link', { name: 'line-12' }).waitFor();
    expect(page.url()).toContain('update=idle');
    expect(complaints).toEqual([]);
    await close();
  });

  it('begin_a_rollout_at_its_release_for_one_hardware', async () => {
    const { page, complaints, close } = await visit(browser);
    await signIn(page, fleet.server.address, fleet.adminToken);
    await publish(fleet, '0.9.9');
    await open(page, '/releases/digits/1.0.0', /^Release digits/);
    await press(page, 'Roll it out');
    await page.getByRole('option', { name: 'sim', exact: true }).waitFor({ state: 'attached' });
    await page.getByRole('option', { name: 'digits 0.9.9' }).waitFor({ state: 'attached' });
    expect(await page.locator('select[name=release]').inputValue()).toBe('digits@1.0.0');
    await tabTo(page, /^Only devices of this hardware/);
    await page.keyboard.type('sim');
    await press(page, 'Create draft');
    await page.getByRole('heading', { level: 1, name: 'Rollout of digits 1.0.0' }).waitFor();
    await page.getByText('hardware sim', { exact: true }).waitFor();
    await open(page, '/releases', 'Releases');
    await page.getByText('None: no rollout is completed.').waitFor();
    expect(complaints).toEqual([]);
    await close();
  });

  it('keep_focus_and_scroll_while_they_change', async () => {
    const { page, close } = await visit(browser, { viewport: { width: 800, height: 400 } });
    await signIn(page, fleet.server.address, fleet.adminToken);
    await open(page, '/devices', 'Devices');
    await tabTo(page, 'line-9');
    const state = `[document.activeElement.textContent, scrollY]`;
    const before = await page.evaluate(state);
    await devices[11]!.report({ trouble: { code: 'disk_failed', detail: 'x', since: 1 } });
    await page.getByRole('cell', { name: 'disk_failed' }).waitFor();
    expect(await page.evaluate(state)).toEqual(before);
    await close();
  });

  it('keep_what_is_being_typed_while_they_change', async () => {
    const { page, close } = await visit(browser);
    await signIn(page, fleet.server.address, fleet.adminToken);
    await open(page, '/rollouts', 'Rollouts');
    await tabTo(page, /^Release or id/);
    await page.keyboard.type('nothing-li');
    const { id } = await fleet.admin.request('POST', '/rollouts', RolloutDetail, {
      ...{ component: 'digits', version: '1.0.0', policy: quickPolicy(everybody) },
    });
    await page.locator(`a[href$="${id}"]`).waitFor();
    expect(await page.getByLabel('Release or id').inputValue()).toBe('nothing-li');
    await page.keyboard.type('ke-this');
    await page.keyboard.press('Enter');
    await page.getByText('No rollout fits.').waitFor();
    expect(page.url()).toContain('search=nothing-like-this');
    await close();
  });

  it('of_a_release_say_who_signed_it_what_it_lost_and_what_it_is_made_of', async () => {
    const { page, complaints, close } = await visit(browser);
    await signIn(page, fleet.server.address, fleet.adminToken);
    await open(page, '/releases/digits/1.0.0', /^Release/);
    const part = (name: string) => page.getByRole('region', { name, exact: true });
    await part('Signatures').getByText('valid').waitFor();
    await part('Quantization').getByText('31.5 dB').waitFor();
    await part('Quantization').getByText('95.8 %').waitFor();
    await part('Acceptance').getByText('name no acceptance set').waitFor();
    await part('Rollouts of it').getByRole('link', { name: rollout }).waitFor();
    const downloading = page.waitForEvent('download');
    await press(page, 'Download the bill of materials');
    const file = await (await downloading).path();
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ bomFormat: 'CycloneDX' });
    await page.getByText('Downloaded the bill of materials').waitFor();
    expect(complaints).toEqual([]);
    await close();
  });

  it('of_the_fleet_show_its_versions_over_time_and_the_same_as_a_table', async () => {
    const { page, complaints, close } = await visit(browser);
    await signIn(page, fleet.server.address, fleet.adminToken);
    const part = page.getByRole('region', { name: 'Versions over time' });
    await part
      .getByRole('img', { name: /^Devices by version of digits, at .*: 0\.8\.0 0, 0\.9\.0 \d+, 1/ })
      .waitFor();
    await press(page, 'Devices by version of digits as a table');
    await part.getByRole('columnheader', { name: '1.0.0' }).waitFor();
    expect(await part.getByRole('row').count()).toBe(23);
    await tabTo(page, /^Over/);
    await page.keyboard.type('30 days');
    await part.getByRole('img').waitFor();
    expect(await axe(page)).toEqual([]);
    expect(complaints).toEqual([]);
    await close();
  });

  it('draw_what_the_readme_shows', async () => {
    const { page, close } = await visit(browser, { colorScheme: 'light' });
    await signIn(page, fleet.server.address, fleet.adminToken);
    await open(page, '', 'Fleet');
    await page.getByRole('region', { name: 'Versions' }).getByText('digits 1.0.0').waitFor();
    await picture(page, 'console-fleet');
    await open(page, `/rollouts/${rollout}`, /^Rollout/);
    await page
      .getByRole('img', { name: /^A dot for each/ })
      .first()
      .waitFor();
    await picture(page, 'console-rollout');
    await close();
  });

  it('with_10000_devices_hold_only_the_rows_in_view', async () => {
    const row = (n: number) => ({
      ...{ id: `dev-${String(n).padStart(20, '0')}`, name: `many-${String(n).padStart(5, '0')}` },
      ...{ hardware: 'sim', components_json: '["digits"]', public_key: 'c'.repeat(64) },
      ...{ status: 'enrolled' as const, group_name: 'many', labels_json: '{}', first_seen_at: 1 },
      ...{ enrolled_at: 1, last_seen_at: 1, assignment_revision: 0, pending_reason: null },
      ...{ instances_json: '[]', cloned_at: null },
    });
    const all = Array.from({ length: MANY }, (_, n) => row(n));
    for (let from = 0; from < MANY; from += 500)
      await fleet.store.db
        .insertInto('devices')
        .values(all.slice(from, from + 500))
        .execute();
    const { page, close } = await visit(browser);
    await signIn(page, fleet.server.address, fleet.adminToken);
    await open(page, '/devices?group=many', 'Devices');
    await page.evaluate(`(() => {
      window.frames_ = [];
      let last = performance.now();
      const turn = (now) => {
        window.frames_.push(now - last);
        last = now;
        requestAnimationFrame(turn);
      };
      requestAnimationFrame(turn);
    })()`);
    for (let step = 0; step < 200; step++) {
      await page.evaluate('scrollTo(0, document.body.scrollHeight)');
      if (await page.getByRole('link', { name: 'many-09999' }).isVisible()) break;
      await page.waitForTimeout(50);
    }
    await page.getByRole('link', { name: 'many-09999' }).waitFor();
    const nodes = await page.evaluate<number>('document.querySelectorAll("*").length');
    const frames = await page.evaluate<number[]>('window.frames_');
    console.log(
      `console: ${MANY} devices, ${nodes} nodes; longest of ${frames.length} frames ` +
        `${Math.max(...frames).toFixed(0)} ms, ` +
        `${frames.filter((ms) => ms > 100).length} above 100 ms`,
    );
    expect(nodes).toBeLessThan(NODES_MAX_COUNT);
    await close();
  });
});
