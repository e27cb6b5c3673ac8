// Filters of the lists of rollouts, releases, security events and audit entries, by time and by
// what they are about: what fits, that pages are whole, and that none of them reads a whole table.
import { sql } from 'kysely';
import { beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import type {
  AuditKey,
  RolloutFilter,
  SecurityEventFilter,
  SecuritySource,
} from '../../../server/interfaces.js';
import type { Store } from '../../../server/store/store.js';
import { deviceRow } from '../../support/device-rows.js';
import { ALL } from '../../support/fleet-server.js';
import { rollout } from '../../support/rollout-rows.js';
import { countedStore } from '../../support/statements.js';
import { isOnPostgres, openTestStore } from '../../support/test-store.js';

const DAY_MS = 86_400_000;
const NOW = Date.parse('2027-01-15T08:00:00Z');

let store: Store;
beforeEach(async () => {
  store = await openTestStore();
  return () => store.close();
});

describe('the audit log', () => {
  const add = (action: string, at: number, actor = 'ann') =>
    store.audit.append({ actor, action, subject: '', detail: '', trace: null }, at);
  const actions = async (filter: object): Promise<string[]> =>
    (await store.audit.page(ALL, filter)).map(({ action }) => action);

  beforeEach(async () => {
    await add('a', 100);
    await add('b', 200, 'bob');
    // The clock of the server was set back.
    await add('c', 150);
    await add('d', 300);
  });

  it('is_listed_by_time_from_since_on_and_before_until', async () => {
    expect(await actions({})).toEqual(['d', 'b', 'c', 'a']);
    expect(await actions({ since: 150, until: 300 })).toEqual(['b', 'c']);
    expect(await actions({ since: 151 })).toEqual(['d', 'b']);
    expect(await actions({ until: 150 })).toEqual(['a']);
    expect(await actions({ since: 101, actor: 'ann' })).toEqual(['d', 'c']);
    expect(await store.audit.newest()).toBe(4);
  });

  it('looks_at_a_bounded_number_of_entries_for_two_exact_filters_together', async () => {
    expect(await actions({ actor: 'ann', action: 'c' })).toEqual(['c']);
    expect(await store.audit.scanned({ actor: 'ann', action: 'c' }, null)).toBeNull();
    const rows = Array.from({ length: limits.listScanRowsCount }, (_, n) => ({
      ...{ seq: 10 + n, at: 1000 + n, actor: 'bulk', action: 'x' },
      ...{ subject: '', detail: '', hash: String(n), trace: null },
    }));
    for (let from = 0; from < rows.length; from += 1000)
      await store.db
        .insertInto('audit')
        .values(rows.slice(from, from + 1000))
        .execute();
    await add('x', 1, 'odd');
    const filter = { actor: 'odd', action: 'x' };
    expect(await store.audit.page(ALL, filter)).toEqual([]);
    const after = await store.audit.scanned(filter, null);
    expect(after).toEqual([1000, 10]);
    expect((await store.audit.page({ limit: 9, after }, filter)).length).toBe(1);
    expect(await store.audit.scanned(filter, after)).toBeNull();
  });

  it('gives_each_entry_once_on_pages_of_one_also_where_the_clock_went_back', async () => {
    const seen: string[] = [];
    let after: AuditKey | null = null;
    for (;;) {
      const [row] = await store.audit.page({ limit: 1, after }, { since: 150 });
      if (row === undefined) break;
      seen.push(row.action);
      after = [row.at, row.seq];
    }
    expect(seen).toEqual(['d', 'b', 'c']);
  });
});

describe('security events', () => {
  const device = (id: string): SecuritySource => ({ kind: 'device', id });
  const add = (source: SecuritySource, code: string, at: number) =>
    store.security.add([{ source, code, detail: code, count: 1, firstAt: at, lastAt: at }]);
  const found = async (filter: SecurityEventFilter): Promise<string[]> =>
    (await store.security.page(filter, ALL)).map(({ source, code }) => `${source} ${code}`);

  beforeEach(async () => {
    const rows = ['north', 'south'].map((group, n) =>
      deviceRow(n, { id: `dev-${n + 1}`, group_name: group }),
    );
    await store.db.insertInto('devices').values(rows).execute();
    await add(device('dev-1'), 'file_digest', NOW);
    await add(device('dev-2'), 'file_digest', NOW + 1);
    await add(device('dev-1'), 'clock_wrong', NOW + DAY_MS);
    await add({ kind: 'anonymous', address: '10.0.0.1' }, 'auth_missing', NOW + 2 * DAY_MS);
  });

  it('are_found_by_time_code_kind_source_and_group', async () => {
    expect(await found({ since: NOW + 1, until: NOW + DAY_MS })).toEqual(['dev-2 file_digest']);
    expect(await found({ code: 'file_digest' })).toEqual([
      'dev-2 file_digest',
      'dev-1 file_digest',
    ]);
    expect(await found({ kind: 'anonymous' })).toEqual(['10.0.0.1 auth_missing']);
    expect(await found({ source: 'dev-1', code: 'clock_wrong' })).toEqual(['dev-1 clock_wrong']);
    expect(await found({ group: 'north' })).toEqual(['dev-1 clock_wrong', 'dev-1 file_digest']);
    expect(await found({ group: 'north', until: NOW + 5 })).toEqual(['dev-1 file_digest']);
    expect(await found({ group: 'nosuch' })).toEqual([]);
    expect(await store.security.scanned({ group: 'north' }, null)).toBeNull();
  });

  it('of_a_group_are_found_behind_many_of_others_a_bounded_number_a_page', async () => {
    const others = Array.from({ length: limits.listScanRowsCount }, (_, n) => ({
      ...{ source_kind: 'anonymous' as const, source: `host-${n}`, code: 'auth_missing' },
      ...{ fold_key: '', detail: '', count: 1, revision: 100 + n },
      ...{ first_at: NOW + 3 * DAY_MS, last_at: NOW + 3 * DAY_MS },
    }));
    for (let from = 0; from < others.length; from += 500)
      await store.db
        .insertInto('security_events')
        .values(others.slice(from, from + 500))
        .execute();
    const group = { group: 'north' };
    expect(await store.security.page(group, { limit: 9, after: null })).toEqual([]);
    const after = await store.security.scanned(group, null);
    const rest = await store.security.page(group, { limit: 9, after });
    expect(rest.map(({ code }) => code)).toEqual(['clock_wrong', 'file_digest']);
    expect(await store.security.scanned(group, after)).toBeNull();
  });

  it('are_followed_by_the_same_filters_and_go_on_after_what_was_looked_at', async () => {
    const { rows, next } = await store.security.feed(0, 3, { group: 'south' });
    expect(rows.map(({ source }) => source)).toEqual(['dev-2']);
    expect(next).toBe(3);
    expect(await store.security.feed(next, 3, { code: 'file_digest' })).toEqual({
      rows: [],
      next: 4,
    });
    expect(await store.security.feed(4, 3, {})).toEqual({ rows: [], next: 4 });
  });
});

describe('rollouts', () => {
  const found = async (filter: RolloutFilter): Promise<string[]> =>
    (await store.rollouts.page(ALL, filter)).map(({ id }) => id);
  const add = (id: string, change: Parameters<typeof rollout>[0], at: number) =>
    store.rollouts.insertRollout(rollout({ id, createdAt: at, since: at, ...change }), [], []);
  const release = (component: string, version: string) => ({
    ...{ component, version, digest: 'a'.repeat(64) },
  });

  beforeEach(async () => {
    await add('ro-1', { state: 'completed', release: release('digits', '1.0.0') }, NOW);
    await add(
      'ro-2',
      { state: 'held', release: release('digits', '1.1.0'), selector: { groups: ['north'] } },
      NOW + 1,
    );
    await add(
      'ro-3',
      { state: 'rolling', release: release('faces', '1.1.0'), selector: { hardware: ['pi'] } },
      NOW + 2,
    );
  });

  it('are_found_by_state_component_group_and_text', async () => {
    expect(await found({})).toEqual(['ro-3', 'ro-2', 'ro-1']);
    expect(await found({ state: 'active' })).toEqual(['ro-3', 'ro-2']);
    expect(await found({ state: 'completed' })).toEqual(['ro-1']);
    expect(await found({ state: 'active', component: 'digits' })).toEqual(['ro-2']);
    expect(await found({ group: 'north' })).toEqual(['ro-3', 'ro-2', 'ro-1']);
    expect(await found({ group: 'south' })).toEqual(['ro-3', 'ro-1']);
    expect(await found({ search: 'DIGITS@1' })).toEqual(['ro-2', 'ro-1']);
    expect(await found({ search: 'o-3' })).toEqual(['ro-3']);
    expect(await found({ search: '%' })).toEqual([]);
    expect(await store.rollouts.scanned({ search: 'x' }, null)).toBeNull();
  });
});

describe('releases', () => {
  it('are_found_by_component_text_and_the_begin_of_a_digest', async () => {
    const row = (component: string, version: string, digit: string, description: string) => ({
      ...{ component, version, digest: digit.repeat(64), description },
      ...{ published_at: NOW, bytes: 1, manifest_json: '{}' },
    });
    await store.db
      .insertInto('releases')
      .values([
        row('digits', '1.0.0', 'a', 'the first'),
        row('digits', '1.1.0', 'b', 'retrained on 50 % of Winter'),
        row('faces', '1.0.0', 'c', ''),
      ])
      .execute();
    const found = async (filter: object): Promise<string[]> =>
      (await store.releases.page(ALL, filter)).map(
        ({ component, version }) => `${component}@${version}`,
      );
    expect(await found({ component: 'digits' })).toEqual(['digits@1.1.0', 'digits@1.0.0']);
    expect(await found({ search: 'winter' })).toEqual(['digits@1.1.0']);
    expect(await found({ search: '50 % of' })).toEqual(['digits@1.1.0']);
    expect(await found({ search: '@1.0' })).toEqual(['faces@1.0.0', 'digits@1.0.0']);
    expect(await found({ search: 'AAAA' })).toEqual(['digits@1.0.0']);
    expect(await found({ search: '1.0.0', component: 'faces' })).toEqual(['faces@1.0.0']);
    expect(await store.releases.scanned({ search: 'x' }, null)).toBeNull();
  });
});

describe.skipIf(isOnPostgres())('the plan of a list', () => {
  const time = { since: NOW, until: NOW + DAY_MS };
  const page = { limit: 50, after: null };
  const lists: readonly [string, string, (of: Store) => Promise<unknown>][] = [
    ['audit by time', 'audit_by_time', (of) => of.audit.page(page, time)],
    [
      'audit by time, later page',
      'audit_by_time',
      (of) => of.audit.page({ limit: 50, after: [NOW + 5, 9] }, time),
    ],
    ['audit of an actor', 'audit_by_actor', (of) => of.audit.page(page, { actor: 'a', ...time })],
    [
      'audit of an action',
      'audit_by_action',
      (of) => of.audit.page(page, { action: 'a', ...time }),
    ],
    [
      'audit about a subject',
      'audit_by_subject',
      (of) => of.audit.page(page, { subject: 'a', ...time }),
    ],
    ['security by time', 'security_events_by_age', (of) => of.security.page(time, page)],
    [
      'security of a source',
      'security_events_by_source',
      (of) => of.security.page({ source: 'a', ...time }, page),
    ],
    [
      'security by code',
      'security_events_of_code',
      (of) => of.security.page({ code: 'a', ...time }, page),
    ],
    [
      'security of a group',
      'security_events_by_age',
      (of) => of.security.page({ group: 'a', ...time }, page),
    ],
    [
      'rollouts by state',
      'rollouts_by_state',
      (of) => of.rollouts.page(page, { state: 'completed' }),
    ],
    [
      'rollouts of a component',
      'rollouts_by_component',
      (of) => of.rollouts.page(page, { component: 'a' }),
    ],
    [
      'members on which a release failed',
      'members_failed',
      (of) => of.rollouts.memberPage('r1', { failed: true }, { limit: 50, after: null }),
    ],
    ['rollouts by text', 'rollouts_by_age', (of) => of.rollouts.page(page, { search: 'a' })],
    [
      'releases of a component',
      'releases_by_component',
      (of) => of.releases.page(page, { component: 'a' }),
    ],
    ['releases by text', 'releases_by_age', (of) => of.releases.page(page, { search: 'a' })],
  ];

  it.each(lists)('%s_goes_by_the_index_%s', async (name, index, list) => {
    const counted = await countedStore();
    const statement = (await counted.of(() => list(counted.store))).at(-1) ?? '';
    const { rows } = await sql
      .raw<{ detail: string }>(`explain query plan ${statement.replaceAll('?', '1')}`)
      .execute(counted.store.db);
    await counted.store.close();
    const plan = rows.map(({ detail }) => detail);
    // A text is looked for in the order of the index; everything else is found by it.
    const way = name.endsWith('by text') ? 'SCAN' : 'SEARCH';
    expect(
      plan.filter((step) => step.startsWith(way) && step.includes(`INDEX ${index}`)),
    ).toHaveLength(1);
  });
});
