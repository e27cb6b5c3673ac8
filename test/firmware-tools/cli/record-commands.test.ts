// Commands that read what a server keeps (releases, audit, security events, telemetry, labels)
// against a real server: tables, JSON, and lists that are longer than one answer.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { linnet } from '../../../firmware-tools/cli/main.js';
import { EXIT } from '../../../firmware-tools/cli/output.js';
import { HOUR_MS } from '../../../shared/base/units.js';
import type { AuditDetail, ReleaseDetail } from '../../../shared/protocol/operator-api.js';
import {
  batchOf,
  enrolled,
  idleUpdate,
  mqttOf,
  publish,
  startFleet,
  type TestDevice,
  type TestFleet,
} from '../../support/fleet-server.js';
import { tempFolder } from '../../support/temp-folders.js';

let fleet: TestFleet;
let device: TestDevice;
let connection: string[];

beforeAll(async () => {
  fleet = await startFleet();
  const token = join(tempFolder(), 'token');
  await writeFile(token, fleet.adminToken);
  connection = ['--server', fleet.server.address, '--token-file', token];
  await publish(fleet, '1.0.0');
  await publish(fleet, '1.1.0');
  device = await enrolled(fleet, 'cam-1', 'canary');
  const link = await mqttOf(fleet, device);
  const failed = { code: 'disk_full', detail: 'no room\u001b[2J', since: 1 };
  const records = [
    { seq: 1, at: 1, kind: 'update' as const, body: idleUpdate({}) },
    { seq: 2, at: 2, kind: 'update' as const, body: idleUpdate({ trouble: failed }) },
    { seq: 3, at: 3, kind: 'security' as const, body: { code: 'file_digest', detail: 'changed' } },
  ];
  await link.send(JSON.stringify(batchOf(records)));
  await vi.waitFor(() => expect(link.acks.length).toBe(1), { timeout: 30_000 });
  await link.client.endAsync(true);
});
afterAll(() => fleet.close());
beforeEach(() => {
  process.exitCode = undefined;
});

async function run(...args: string[]): Promise<{ out: string; err: string; code: number }> {
  const ran = { out: '', err: '', code: -1 };
  ran.code = await linnet([...args, ...connection], {
    out: (text) => (ran.out += text),
    err: (text) => (ran.err += text),
  });
  process.exitCode = undefined;
  return ran;
}

const json = async <T>(...args: string[]): Promise<T> =>
  JSON.parse((await run(...args, '--json')).out) as T;

it('a_bill_of_materials_is_json_that_a_file_can_take_as_it_is', async () => {
  const { out, code } = await run('release', 'bom', 'digits@1.1.0');
  expect(code).toBe(EXIT.done);
  expect(JSON.parse(out)).toMatchObject({ bomFormat: 'CycloneDX', specVersion: '1.6' });
});

it('the_history_of_the_fleet_is_a_line_an_hour_the_newest_first', async () => {
  expect((await run('release', 'history')).out).toContain('nothing was counted yet');
  const hour = Date.now() - (Date.now() % HOUR_MS);
  const row = (ago: number, version: string, devices: number) => ({
    ...{ hour: hour - ago * HOUR_MS, component: 'digits', version, devices },
  });
  await fleet.store.db
    .insertInto('fleet_versions')
    .values([row(1, '1.0.0', 3), row(0, '', 1), row(0, '1.1.0', 2)])
    .execute();
  const lines = (await run('release', 'history', '--hours', '2')).out.trimEnd().split('\n');
  expect(lines).toHaveLength(3);
  expect(lines[1]).toMatch(/digits +nothing: 1, 1\.1\.0: 2$/);
  expect(lines[2]).toMatch(/digits +1\.0\.0: 3$/);
});

it('releases_are_listed_shown_and_traced_by_names_that_can_be_pasted', async () => {
  const listed = (await run('release', 'list')).out;
  expect(listed).toMatch(/^RELEASE +SIZE +PUBLISHED +DIGEST/);
  const [, name = '', digest = ''] = /^(digits@1\.1\.0) .* ([0-9a-f]{64})/m.exec(listed) ?? [];
  const shown = await run('release', 'show', name);
  expect(shown.out).toContain(digest);
  expect(shown.out).toMatch(/lineage .*\n[^]*file +role +bytes +sha256/);
  const { manifest } = await json<ReleaseDetail>('release', 'show', name);
  const lineage = (await run('release', 'lineage', name)).out;
  expect(lineage).toContain(`training data  ${manifest.lineage.trainingDataSha256}`);
  expect((await run('release', 'show', 'digits')).code).toBe(EXIT.usage);
  expect(await run('release', 'show', 'digits@9.9.9')).toMatchObject({ code: EXIT.refused });
});

it('a_list_that_is_longer_says_how_to_go_on_and_goes_on_there', async () => {
  const first = await run('audit', 'list', '--limit', '2');
  const cursor = /there are more: --cursor (\S+)/.exec(first.err)?.[1] ?? '';
  const second = await run('audit', 'list', '--limit', '2', '--cursor', cursor);
  const seqs = (text: string): number[] =>
    [...text.matchAll(/^(\d+) /gm)].map(([, seq]) => Number(seq));
  const all = seqs((await run('audit', 'list', '--limit', '1000')).out);
  expect(all.slice(0, 4)).toEqual([...seqs(first.out), ...seqs(second.out)]);
});

it('audit_export_is_every_entry_whole_the_oldest_first_one_a_line', async () => {
  const { out, code } = await run('audit', 'export');
  const entries = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as AuditDetail);
  expect(code).toBe(EXIT.done);
  expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, index) => index + 1));
  expect(entries.every(({ hash }) => /^[0-9a-f]{64}$/.test(hash))).toBe(true);
  const rest = (await run('audit', 'export', '--after', String(entries.length - 1))).out;
  expect(rest.trim().split('\n')).toHaveLength(1);
});

it('labels_are_set_kept_and_removed', async () => {
  expect((await run('device', 'label', 'cam-1')).out).toBe('cam-1 has no labels\n');
  await run('device', 'label', 'cam-1', 'site=north', 'rack=a=b');
  expect(await json('device', 'label', 'cam-1', 'rack-', 'line=2')).toEqual({
    site: 'north',
    line: '2',
  });
  expect((await run('device', 'label', 'cam-1', 'site')).code).toBe(EXIT.usage);
});

it('a_list_of_devices_takes_every_filter_of_the_api', async () => {
  await run('device', 'label', 'cam-1', 'site.room=a=1');
  const listed = async (...filter: string[]): Promise<boolean> =>
    (await run('device', 'list', ...filter)).out.includes('cam-1');
  for (const [filter, fits] of [
    [['--label', 'site.room=a=1'], true],
    [['--label', 'site.room'], true],
    [['--label', 'site.room=a'], false],
    [['--attention', 'trouble'], true],
    [['--attention', 'silent'], false],
    [['--search', 'cam-'], true],
    [['--search', 'line-'], false],
    [['--running', 'digits@9.9.9'], false],
    [['--hardware', 'other'], false],
    [['--running', 'digits@none'], true],
    [['--update', 'idle'], true],
    [['--update', 'idle', '--running', 'digits@none'], true],
    [['--update', 'staged'], false],
  ] as const)
    expect(await listed(...filter), filter.join(' ')).toBe(fits);
  const wrong = await run('device', 'list', '--label', '=x');
  expect(wrong).toMatchObject({ code: EXIT.usage });
  expect(wrong.err).toContain('--label =x: must be a label such as site=north, or its key');
});

it('a_device_moves_to_a_group_and_the_audit_log_is_filtered_by_what_was_done', async () => {
  expect((await run('device', 'move', 'cam-1', 'north')).out).toContain('is in group north');
  const changes = await run('audit', 'list', '--action', 'device.change');
  expect(changes.out).toMatch(/^SEQ [^]*device\.change/);
  expect(changes.out).not.toContain('device.approve');
  expect((await run('audit', 'list', '--actor', 'nobody')).out).toBe('no entry fits\n');
  await run('device', 'move', 'cam-1', 'canary');
});

it('rollouts_and_releases_are_listed_by_filters_and_a_group_that_does_not_exist_is_told', async () => {
  const id = (await run('rollout', 'create', 'digits@1.1.0', '--groups', 'canary')).out.trim();
  const rollouts = async (...filter: string[]): Promise<boolean> =>
    (await run('rollout', 'list', ...filter)).out.includes(id);
  for (const [filter, fits] of [
    [['--state', 'draft'], true],
    [['--state', 'active'], false],
    [['--component', 'digits'], true],
    [['--component', 'faces'], false],
    [['--group', 'canary'], true],
    [['--search', id.slice(3, 9)], true],
    [['--search', 'digits@1.0'], false],
  ] as const)
    expect(await rollouts(...filter), filter.join(' ')).toBe(fits);
  expect((await run('rollout', 'list', '--component', 'faces')).out).toBe('no rollout fits\n');
  for (const list of ['rollout', 'security'])
    expect(await run(list, 'list', '--group', 'nosuch')).toMatchObject({
      code: EXIT.refused,
      err: expect.stringContaining('no device is in group nosuch') as string,
    });
  const releases = (await run('release', 'list', '--search', '@1.0')).out;
  expect(releases).toContain('digits@1.0.0');
  expect(releases).not.toContain('digits@1.1.0');
  expect((await run('release', 'list', '--component', 'faces')).out).toBe('no release fits\n');
  expect((await run('rollout', 'list', '--component', 'A B')).err).toContain(
    '--component A B: must be 1 to 63 characters',
  );
  await run('rollout', 'drop', id);
});

it('a_time_range_takes_spans_and_instants_and_refuses_what_is_no_time', async () => {
  const count = async (...options: string[]): Promise<number> =>
    (await json<unknown[]>('audit', 'list', '--limit', '1000', ...options)).length;
  const all = await count();
  expect(all).toBeGreaterThan(3);
  expect(await count('--since', '1h')).toBe(all);
  expect(await count('--until', '1h')).toBe(0);
  expect(await count('--since', '2020-01-01', '--until', '2020-01-02 12:00:00Z')).toBe(0);
  const exported = async (...options: string[]): Promise<number> =>
    (await run('audit', 'export', ...options)).out.split('\n').length - 1;
  expect(await exported('--since', '1d')).toBe(all);
  expect(await exported('--since', '1d', '--after', '2')).toBe(all - 2);
  expect(await exported('--until', '1d')).toBe(0);
  expect((await json<unknown[]>('security', 'list', '--until', '1h')).length).toBe(0);
  expect((await json<unknown[]>('security', 'list', '--since', '1h')).length).toBeGreaterThan(0);
  for (const [options, text] of [
    [['--since', 'yesterday'], 'yesterday is not a time: write 2026-03-01'],
    [['--since', '2026-13-01'], '2026-13-01 is not a time'],
    [['--since', '1h', '--until', '2h'], 'nothing is between'],
  ] as const) {
    const ran = await run('audit', 'list', ...options);
    expect([ran.code, ran.err]).toEqual([EXIT.usage, expect.stringContaining(text)]);
  }
});

it('security_events_are_listed_by_device_kind_code_and_group', async () => {
  const listed = async (...options: string[]): Promise<number> =>
    (await json<unknown[]>('security', 'list', ...options)).length;
  expect(await listed('--device', 'cam-1')).toBe(1);
  expect(await listed('--device', 'cam-1', '--code', 'file_digest')).toBe(1);
  expect(await listed('--device', 'cam-1', '--code', 'other')).toBe(0);
  expect(await listed('--kind', 'device')).toBe(1);
  expect(await listed('--kind', 'anonymous')).toBe(0);
  expect(await listed('--group', 'canary')).toBe(1);
  const both = await run('security', 'list', '--device', 'cam-1', '--source', 'x');
  expect(both.err).toContain('give `source` or `device`, not both');
  const following = await run('security', 'list', '--follow', '--since', '1h');
  expect(following).toMatchObject({ code: EXIT.usage });
});

it('a_list_as_json_is_cut_at_its_limit_and_says_on_stderr_how_to_go_on', async () => {
  const first = await run('token', 'list', '--limit', '1', '--json');
  expect(JSON.parse(first.out)).toHaveLength(1);
  expect(first.err).toBe('');
  const cut = await run('release', 'list', '--limit', '1', '--json');
  const cursor = /^there are more: --cursor (\S+)\n$/.exec(cut.err)?.[1] ?? '';
  const rest = await json<{ version: string }[]>('release', 'list', '--cursor', cursor);
  expect([JSON.parse(cut.out), rest]).toMatchObject([
    [{ version: '1.1.0' }],
    [{ version: '1.0.0' }],
  ]);
  const none = await run('device', 'list', '--limit', '0');
  expect([none.code, none.err]).toEqual([
    EXIT.usage,
    expect.stringContaining('--limit: 0 is too small: the smallest is 1'),
  ]);
});

it('history_tells_each_change_once_and_events_those_of_the_device', async () => {
  const { out } = await run('device', 'history', 'cam-1');
  expect(out).toMatch(/^REPORTED +COMPONENT +STATE/);
  expect(out.match(/ idle /g)).toHaveLength(2);
  expect(out).toContain('no room\\u{1b}[2J');
  expect((await run('device', 'events', 'cam-1')).out).toContain('file_digest');
  const elsewhere = await run('security', 'list', '--source', 'nobody');
  expect(elsewhere.out).toBe('no event fits\n');
});

it('telemetry_tail_shows_the_newest_records_last', async () => {
  const rows = await json<{ seq: number }[]>('telemetry', 'tail', 'cam-1', '--limit', '2');
  expect(rows.map(({ seq }) => seq)).toEqual([...rows.map(({ seq }) => seq)].sort());
  expect((await run('telemetry', 'tail', 'cam-1')).out).toMatch(/^RECEIVED +KIND +SEQ +BODY/);
  expect((await run('telemetry', 'hours', 'cam-1')).out).toMatch(/^HOUR +RECORDS|^no hours/);
});
