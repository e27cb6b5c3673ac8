// Lists of the operator API: pages, cursors, and a cost that does not grow with the fleet.
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  AuditDetail,
  AuditPage,
  DevicePage,
  GroupPage,
  MemberPage,
  ReleasePage,
  RolloutDetail,
  RolloutPage,
  SecurityEventDetail,
  SecurityEventPage,
  TokenPage,
} from '../../../shared/protocol/operator-api.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { defaultTrialPolicy } from '../../../shared/statistics/trial-verdict.js';
import {
  clientAs,
  newDevice,
  publish,
  startFleet,
  type TestFleet,
} from '../../support/fleet-server.js';
import { statementRuns } from '../../support/sqlite-statements.js';

const DEVICES = 30;
let fleet: TestFleet;
const rollouts: string[] = [];

beforeAll(async () => {
  fleet = await startFleet();
  const values = Array.from({ length: DEVICES }, (_, n) => ({
    id: `dev-${n.toString(16).padStart(20, '0')}`,
    name: `cam-${String(n % 10).padStart(2, '0')}`,
    hardware: 'sim',
    components_json: '["digits"]',
    public_key: newDevice('x').key.publicKey.keyval.public,
    status: n % 5 === 0 ? ('pending' as const) : ('enrolled' as const),
    group_name: `group-${n % 3}`,
    labels_json: '{}',
    first_seen_at: n,
    enrolled_at: n,
    last_seen_at: null,
    assignment_revision: 0,
  }));
  await fleet.store.db.insertInto('devices').values(values).execute();
  for (const version of ['1.0.0', '1.1.0', '1.2.0']) await publish(fleet, version);
  for (let n = 0; n < 5; n++) rollouts.push((await draft()).id);
});
afterAll(async () => {
  await fleet.close();
});

const draft = (): Promise<RolloutDetail> =>
  fleet.admin.request('POST', '/rollouts', RolloutDetail, {
    component: 'digits',
    version: '1.0.0',
    policy: {
      waves: [{ name: 'all', percent: 100, soakSeconds: 0, approval: false }],
      trial: defaultTrialPolicy,
      acceptableFailurePermille: 10,
      alarmingFailurePermille: 100,
      falseAlarmPermille: 50,
      silentAfterSeconds: 60,
      deviceDeadlineSeconds: 600,
      autoRevert: true,
    },
  });

/** Every page of `limit` items each; a page that is not the last is full. */
async function paged<T>(
  path: string,
  limit: number,
  get: (path: string) => Promise<{ items: T[]; next: string | null }>,
): Promise<T[]> {
  const all: T[] = [];
  let cursor = '';
  for (;;) {
    const sign = path.includes('?') ? '&' : '?';
    const { items, next } = await get(`${path}${sign}limit=${limit}${cursor}`);
    all.push(...items);
    if (next === null) return all;
    expect(items).toHaveLength(limit);
    cursor = `&cursor=${encodeURIComponent(next)}`;
  }
}

describe('pages', () => {
  it('any_page_size_gives_every_device_once_in_one_order', async () => {
    const get = (path: string) => fleet.admin.request('GET', path, DevicePage);
    const whole = (await get('/devices?limit=1000')).items.map(({ id }) => id);
    expect(new Set(whole).size).toBe(DEVICES);
    for (const limit of [1, 7, DEVICES, DEVICES + 1])
      expect((await paged('/devices', limit, get)).map(({ id }) => id)).toEqual(whole);
  });

  it('filters_hold_on_every_page', async () => {
    const get = (path: string) => fleet.admin.request('GET', path, DevicePage);
    const pending = await paged('/devices?status=pending&group=group-1', 1, get);
    expect(pending.map(({ status, group }) => `${status} ${group}`)).toEqual(
      Array.from({ length: 2 }, () => 'pending group-1'),
    );
  });

  it('every_other_list_pages_the_same_way', async () => {
    await clientAs(fleet, 'viewer');
    const { admin } = fleet;
    expect(
      (await paged('/groups', 1, (path) => admin.request('GET', path, GroupPage))).map(
        ({ name, devices }) => [name, devices],
      ),
    ).toEqual([
      ['group-0', 8],
      ['group-1', 8],
      ['group-2', 8],
    ]);
    expect(
      (await paged('/releases', 1, (path) => admin.request('GET', path, ReleasePage))).map(
        ({ version }) => version,
      ),
    ).toEqual(['1.2.0', '1.1.0', '1.0.0']);
    const ids = (
      await paged('/rollouts', 2, (path) => admin.request('GET', path, RolloutPage))
    ).map(({ id }) => id);
    expect([...ids].sort()).toEqual([...rollouts].sort());
    const tokens = await paged('/tokens', 1, (path) => admin.request('GET', path, TokenPage));
    expect(tokens.map(({ name }) => name).sort()).toEqual(['a-viewer', 'first-admin']);
    const audit = await paged('/audit', 3, (path) => admin.request('GET', path, AuditPage));
    const seqs = audit.map(({ seq }) => seq);
    expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, at) => seqs.length - at));
  });

  it('the_devices_of_a_rollout_page_by_wave_and_rank', async () => {
    const path = `/rollouts/${rollouts[0] ?? ''}`;
    const get = (from: string) => fleet.admin.request('GET', from, MemberPage);
    const { counts } = await fleet.admin.request('GET', path, RolloutDetail);
    expect(counts).toEqual([{ wave: 0, state: 'waiting', devices: 24 }]);
    const whole = await paged(`${path}/members`, 1000, get);
    expect(new Set(whole.map(({ device }) => device)).size).toBe(24);
    for (const limit of [1, 7, 24])
      expect(await paged(`${path}/members`, limit, get)).toEqual(whole);
    expect(await paged(`${path}/members?state=waiting&wave=0`, 5, get)).toEqual(whole);
    expect((await get(`${path}/members?state=failed`)).items).toEqual([]);
    expect((await get(`${path}/members?failed=true`)).items).toEqual([]);
    expect(await paged(`${path}/members?failed=false`, 7, get)).toEqual(whole);
    expect((await get(`${path}/members?wave=1`)).items).toEqual([]);
    await expect(get('/rollouts/ro-nosuch/members')).rejects.toMatchObject({ code: 'not_found' });
  });

  it('a_device_that_joins_between_pages_moves_no_other', async () => {
    const get = (path: string) => fleet.admin.request('GET', path, DevicePage);
    const whole = (await get('/devices?limit=1000')).items.map(({ id }) => id);
    const first = await get('/devices?limit=10');
    const row = await fleet.store.db
      .selectFrom('devices')
      .selectAll()
      .limit(1)
      .executeTakeFirstOrThrow();
    const joined = { ...row, id: `dev-${'f'.repeat(20)}`, group_name: 'a-first-group' };
    await fleet.store.db.insertInto('devices').values(joined).execute();
    const rest = await get(`/devices?limit=1000&cursor=${encodeURIComponent(first.next ?? '')}`);
    expect([...first.items, ...rest.items].map(({ id }) => id)).toEqual(whole);
    await fleet.store.db.deleteFrom('devices').where('id', '=', joined.id).execute();
  });

  it.each(['nonsense', '%00', 'W10', Buffer.from('[1,2,3]').toString('base64url')])(
    'a_cursor_of_another_kind_is_refused_%s',
    async (cursor) => {
      await expect(
        fleet.admin.request('GET', `/devices?cursor=${cursor}`, DevicePage),
      ).rejects.toSatisfy((error) => isFault(error, 'message_undecodable'));
    },
  );

  it('a_group_without_devices_is_not_found_and_an_empty_status_is_an_empty_page', async () => {
    await expect(
      fleet.admin.request('GET', '/devices?group=nosuch', DevicePage),
    ).rejects.toMatchObject({
      code: 'not_found',
      detail: expect.stringContaining('linnet group list') as string,
    });
    expect(
      await fleet.admin.request('GET', '/devices?group=group-1&status=revoked', DevicePage),
    ).toEqual({ items: [], next: null });
  });
});

describe('summaries', () => {
  it('lists_carry_no_members_history_or_manifests', async () => {
    const [rollout] = (await fleet.admin.request('GET', '/rollouts?limit=1', RolloutPage)).items;
    expect(Object.keys(rollout ?? {}).sort()).toEqual([
      'createdAt',
      'createdBy',
      'devices',
      'id',
      'reasons',
      'release',
      'state',
      'wave',
      'waves',
    ]);
    expect(rollout?.devices).toBe(24);
    const [release] = (await fleet.admin.request('GET', '/releases?limit=1', ReleasePage)).items;
    expect(release).not.toHaveProperty('manifest');
    expect(release?.bytes).toBeGreaterThan(0);
  });

  it('an_audit_entry_and_a_security_event_have_a_detail_of_their_own', async () => {
    const [entry] = (await fleet.admin.request('GET', '/audit?limit=1', AuditPage)).items;
    const detail = await fleet.admin.request('GET', `/audit/${entry?.seq ?? 0}`, AuditDetail);
    expect(detail).toMatchObject({
      ...entry,
      hash: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    });
    await expect(fleet.admin.request('GET', '/audit/9999', AuditDetail)).rejects.toMatchObject({
      code: 'not_found',
    });
    await fetch(`${fleet.server.address}/api/v1/devices`, {
      headers: { authorization: `Bearer lnt_${'A'.repeat(43)}` },
    });
    const events = await fleet.admin.request('GET', '/security-events', SecurityEventPage);
    const [event] = events.items;
    const whole = await fleet.admin.request(
      'GET',
      `/security-events/${event?.id ?? 0}`,
      SecurityEventDetail,
    );
    expect(whole).toEqual(event);
  });
});

describe('statements', () => {
  /** What the server asks by itself: the conductor's look, and what other servers changed. */
  const OF_THE_CLOCK = ['"state" in', '"member_looks"', '"marks"'];
  const counted = async (path: string): Promise<string[]> => {
    const all = vi.spyOn(statementRuns, 'all');
    try {
      const response = await fetch(`${fleet.server.address}/api/v1${path}`, {
        headers: { authorization: `Bearer ${fleet.adminToken}` },
      });
      await response.arrayBuffer();
      expect([path, response.status]).toEqual([path, 200]);
      return all.mock.contexts
        .map(({ source }) => source)
        .filter((text) => !OF_THE_CLOCK.some((part) => text.includes(part)));
    } finally {
      all.mockRestore();
    }
  };

  it.each([
    '/devices',
    '/rollouts',
    '/releases',
    '/audit',
    '/groups',
    '/tokens',
    '/security-events',
  ])('a_page_of_%s_costs_as_many_statements_for_one_row_as_for_all', async (path) => {
    const one = await counted(`${path}?limit=1`);
    const all = await counted(`${path}?limit=1000`);
    expect(all).toHaveLength(one.length);
    // The token, the page, and at most one look-up of facts.
    expect(one.length).toBeLessThanOrEqual(3);
    for (const text of all.filter((line) => !line.includes('"tokens"')))
      expect(text).toMatch(/ limit \?|"facts"/);
  });

  it('a_list_of_rollouts_reads_neither_members_nor_history', async () => {
    const all = await counted('/rollouts?limit=1000');
    expect(all.filter((text) => text.includes('rollout_history'))).toEqual([]);
    expect(all.filter((text) => /select \* from "members"/.test(text))).toEqual([]);
  });
});
