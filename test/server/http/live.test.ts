// What a screen that stays open reads: who calls, the fleet in numbers, entity tags and the stream
// of changes.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HOUR_MS } from '../../../shared/base/units.js';
import { policyComplaints } from '../../../shared/protocol/policy-complaints.js';
import {
  DeviceDetail,
  DevicePage,
  FleetHistory,
  FleetOverview,
  InferencePointPage,
  OTHER_VERSIONS,
  RolloutDetail,
  RolloutPolicy,
  Self,
  type Change,
} from '../../../shared/protocol/operator-api.js';
import {
  clientAs,
  enrolled,
  idleUpdate,
  publish,
  startFleet,
  type TestFleet,
} from '../../support/fleet-server.js';
import { everybody, quickPolicy } from '../../support/journey-devices.js';
import { EventParser } from '../../../server/console/app/event-stream.js';

let fleet: TestFleet;
beforeAll(async () => {
  fleet = await startFleet();
});
afterAll(async () => {
  await fleet.close();
});

const get = (path: string, headers: Record<string, string> = {}, signal?: AbortSignal) =>
  fetch(`${fleet.server.address}/api/v1${path}`, {
    headers: { authorization: `Bearer ${fleet.adminToken}`, ...headers },
    ...(signal === undefined ? {} : { signal }),
  });

/** Events until one of them fits. */
async function eventsUntil(body: ReadableStream<Uint8Array>, fits: (data: string) => boolean) {
  const parser = new EventParser();
  const seen: { event: string; data: string }[] = [];
  const decoder = new TextDecoder();
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`the stream ended after ${JSON.stringify(seen)}`);
    seen.push(...parser.push(decoder.decode(value, { stream: true })));
    if (seen.some(({ data }) => fits(data))) {
      reader.releaseLock();
      return seen;
    }
  }
}

const named = (topic: Change['topic'], id: string) => (data: string) =>
  data.startsWith('[') &&
  (JSON.parse(data) as Change[]).some(
    (change) => change.topic === topic && change.ids?.includes(id) === true,
  );

describe('a token', () => {
  it('is_told_its_name_and_role', async () => {
    const viewer = await clientAs(fleet, 'viewer');
    expect(await viewer.request('GET', '/self', Self)).toEqual({
      name: 'a-viewer',
      role: 'viewer',
      tokens: 1,
    });
  });
});

describe('the overview', () => {
  it('counts_what_runs_where_and_what_needs_a_person', async () => {
    const fine = await enrolled(fleet, 'fine', 'north');
    const troubled = await enrolled(fleet, 'troubled', 'south');
    await fleet.store.telemetry.insertBatches(
      [
        [fine, idleUpdate()],
        [
          troubled,
          idleUpdate({
            trouble: { code: 'disk_full', detail: 'no room', since: 1 },
            conditions: [{ code: 'crashes', count: 2, since: 1, detail: 'twice' }],
          }),
        ],
      ].map(([device, body], n) => ({
        device: (device as { id: string }).id,
        batch: {
          format: 'linnet.telemetry/1' as const,
          batch: String(n).padStart(32, 'e'),
          instance: '1'.repeat(32),
          records: [{ seq: 1, at: Date.now(), kind: 'update' as const, body: body as never }],
        },
      })),
      Date.now(),
    );
    const overview = await fleet.admin.request('GET', '/fleet', FleetOverview);
    expect(overview.attention).toEqual({
      trouble: 1,
      conditions: 1,
      cloned: 0,
      silent: 0,
    });
    expect(overview.hardware).toEqual([{ hardware: 'sim', count: 2 }]);
    expect(overview.devices).toContainEqual({
      ...{ group: 'north', status: 'enrolled', count: 1 },
    });
    expect(overview.components).toContainEqual({
      ...{ component: 'digits', version: null, group: 'south', state: 'idle', count: 1 },
    });
  });
});

describe('the history of the fleet', () => {
  it('has_the_devices_of_each_hour_in_the_order_of_the_versions', async () => {
    const component = 'faces';
    const hour = Date.now() - (Date.now() % HOUR_MS);
    const rows = [
      [hour - 30 * HOUR_MS, '0.1.0', 9],
      [hour - HOUR_MS, '', 2],
      [hour - HOUR_MS, '1.9.0', 5],
      [hour, '1.10.0', 4],
      [hour, '1.9.0', 1],
      [hour, OTHER_VERSIONS, 3],
    ] as const;
    await fleet.store.db
      .insertInto('fleet_versions')
      .values(rows.map(([at, version, devices]) => ({ hour: at, component, version, devices })))
      .execute();
    const { components } = await fleet.admin.request(
      'GET',
      '/fleet/history?hours=24',
      FleetHistory,
    );
    expect(components).toEqual([
      {
        component,
        versions: [null, '1.9.0', '1.10.0', OTHER_VERSIONS],
        hours: [
          { at: new Date(hour - HOUR_MS).toISOString(), devices: [2, 5, 0, 0] },
          { at: new Date(hour).toISOString(), devices: [0, 1, 4, 3] },
        ],
      },
    ]);
    expect((await get('/fleet/history?hours=721')).status).toBe(400);
  });
});

describe('a form', () => {
  it('begins_with_the_policy_that_a_rollout_has_by_default', async () => {
    const policy = await fleet.admin.request('GET', '/rollouts/defaults', RolloutPolicy);
    expect(policyComplaints(policy)).toEqual([]);
    expect(policy.waves.map(({ percent }) => percent)).toEqual([50, 100]);
  });
});

describe('a list of devices', () => {
  it('is_filtered_by_what_runs_and_what_needs_a_person', async () => {
    const listed = async (query: string) =>
      (await fleet.admin.list(`/devices?${query}`, DevicePage)).map(({ name }) => name);
    expect(await listed('attention=trouble')).toEqual(['troubled']);
    expect(await listed('search=fin')).toEqual(['fine']);
    expect(await listed('running=digits%401.0.0')).toEqual([]);
    expect((await get('/devices?running=nothing')).status).toBe(400);
  });

  it('leads_to_a_device_with_its_rollouts_and_certificates', async () => {
    const detail = await fleet.admin.request('GET', '/devices/fine', DeviceDetail);
    expect([detail.rollouts, detail.certificates]).toEqual([[], []]);
    const points = await fleet.admin.list('/telemetry/inference?device=fine', InferencePointPage);
    expect(points).toEqual([]);
  });
});

describe('a read', () => {
  it('whose_answer_has_not_changed_is_answered_without_a_body', async () => {
    const first = await get('/rollouts');
    const tag = first.headers.get('etag') ?? '';
    expect(tag).toMatch(/^"[0-9a-f]{32}"$/);
    const again = await get('/rollouts', { 'if-none-match': tag });
    expect([again.status, await again.text()]).toEqual([304, '']);
    const other = await get('/rollouts', { 'if-none-match': '"other"' });
    expect([other.status, await other.text()]).toEqual([200, await first.text()]);
  });
});

describe('the stream of changes', () => {
  it('is_refused_without_a_token', async () => {
    const response = await get('/events', { authorization: 'Bearer lnt_wrong' });
    expect(response.status).toBe(401);
  });

  it('tells_of_an_operators_change_a_devices_report_and_a_rollout', async () => {
    const ending = new AbortController();
    const { body, headers } = await get('/events', {}, ending.signal);
    expect(headers.get('content-type')).toBe('text/event-stream');
    expect((await eventsUntil(body!, () => true))[0]?.event).toBe('hello');
    const device = await enrolled(fleet, 'told');
    await eventsUntil(body!, named('devices', device.id));
    await publish(fleet, '1.0.0');
    await eventsUntil(body!, (data) => data.includes('"releases"'));
    const { id } = await fleet.admin.request('POST', '/rollouts', RolloutDetail, {
      component: 'digits',
      version: '1.0.0',
      policy: quickPolicy(everybody),
    });
    await eventsUntil(body!, named('rollouts', id));
    ending.abort();
  });

  it('ends_when_the_server_stops', async () => {
    const other = await startFleet();
    const response = await fetch(`${other.server.address}/api/v1/events`, {
      headers: { authorization: `Bearer ${other.adminToken}` },
    });
    const text = response.text();
    await other.close();
    expect(await text).toBe('event: hello\ndata: {}\n\n');
  });
});

describe('a draft', () => {
  it('names_the_commands_that_it_takes_and_its_boundary', async () => {
    const [rollout] = ((await (await get('/rollouts')).json()) as { items: { id: string }[] })
      .items;
    const detail = await fleet.admin.request('GET', `/rollouts/${rollout!.id}`, RolloutDetail);
    expect(detail.commands.map(({ command }) => command)).toEqual(['start', 'drop']);
    expect(detail.evidence).toMatchObject({ takes: 0, failures: 0, failedAt: [], planned: 3 });
    expect(detail.evidence.boundary.at(-1)).toMatchObject({ takes: 3 });
  });
});
