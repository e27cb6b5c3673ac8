// What requests and the conductor cost the database, in statements: the same for a small fleet and
// for one that is many times larger. Telemetry is in store/telemetry-group.test.ts.
import { beforeEach, describe, expect, it } from 'vitest';
import { Admission } from '../../server/access/admission.js';
import { AddressLimits } from '../../server/access/address-limits.js';
import { newOperatorToken } from '../../server/access/tokens.js';
import { ChangeFeed } from '../../server/changes/change-feed.js';
import { buildApp } from '../../server/http/app.js';
import type { AppOptions, FleetApp } from '../../server/http/context.js';
import { newRegistry, ServerMetrics } from '../../server/monitoring/server-metrics.js';
import { Conductor } from '../../server/rollout/conductor.js';
import { Reception } from '../../server/rollout/reception.js';
import { OperatorService } from '../../server/rollout/service.js';
import { SituationReader } from '../../server/rollout/situation-reader.js';
import { Director } from '../../server/tuf/director-repository.js';
import { readOnlineKeys } from '../../server/tuf/online-keys.js';
import { initRepository } from '../../firmware-tools/release/repository.js';
import { join } from 'node:path';
import { sha256 } from '../../shared/base/bytes.js';
import { silentLog } from '../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import { DEVICE_SCHEME } from '../../shared/protocol/device-api.js';
import { deviceId, releaseOf } from '../sim/fleet.js';
import { by } from '../support/audit-actions.js';
import { deviceRow } from '../support/device-rows.js';
import { audienceIn, newDevice, type TestDevice } from '../support/fleet-server.js';
import { rollout, waiting } from '../support/rollout-rows.js';
import { countedStore, type CountedStore } from '../support/statements.js';
import { tempFolder } from '../support/temp-folders.js';

const SMALL_COUNT = 20;
const LARGE_COUNT = 400;
/** Statements of one request of an operator that changes nothing. */
const READ_MAX_COUNT = 14;

interface Fleet extends CountedStore {
  readonly app: FleetApp;
  readonly conductor: Conductor;
  readonly authorization: string;
  /** An enrolled device beside the others. */
  readonly device: TestDevice;
  readonly audience: string;
}

let fleets: Fleet[];

beforeEach(async () => {
  fleets = [await fleetOf(SMALL_COUNT), await fleetOf(LARGE_COUNT)];
  return async () => {
    for (const { app, store } of fleets) {
      await app.close();
      await store.close();
    }
  };
});

async function fleetOf(count: number): Promise<Fleet> {
  const counted = await countedStore();
  const { store } = counted;
  const device = newDevice('asks');
  await insertDevices(counted, count, device);
  const token = newOperatorToken(realRandom);
  await store.tokens.add({ hash: sha256(token), name: 'anna', role: 'admin' }, by('anna'), 1);
  const reception = new Reception({ clock: realClock });
  const situations = new SituationReader({
    store: store.rollouts,
    reception,
    clock: realClock,
    floorOf: () => null,
  });
  const common = {
    store: store.rollouts,
    situations,
    clock: realClock,
    log: silentLog,
    security: { report: () => {} },
  };
  const rollouts = new OperatorService({ ...common, random: realRandom, onCommand: () => {} });
  const conductor = new Conductor({ ...common, reception, hint: () => {} });
  const security = { report: () => {}, record: async () => {}, flush: async () => {} };
  const registry = newRegistry();
  const { director, audience } = await directorOf(counted);
  const app = await buildApp({
    devices: store.devices,
    tokens: store.tokens,
    releases: store.releases,
    telemetry: store.telemetry,
    audit: store.audit,
    securityEvents: store.security,
    security,
    addressLimits: new AddressLimits({ clock: realClock, security }),
    admission: new Admission({ clock: realClock, log: silentLog }),
    connections: { maxCount: 100, perAddressMaxCount: 100 },
    trustedProxies: [],
    metrics: new ServerMetrics(registry),
    registry,
    clock: realClock,
    random: realRandom,
    log: silentLog,
    director,
    rollouts,
    mqttPort: () => 1883,
    disconnect: () => {},
    changes: new ChangeFeed({ clock: realClock }),
    counts: store.counts,
    versions: store.versions,
    history: store.history,
    silentAfterMs: 60_000,
    tls: null,
  } as Partial<AppOptions> as AppOptions);
  return { ...counted, app, conductor, authorization: `Bearer ${token}`, device, audience };
}

async function insertDevices(
  { store }: CountedStore,
  count: number,
  asking: TestDevice,
): Promise<void> {
  const publicKey = asking.key.publicKey.keyval.public;
  const ids = [asking.id, ...Array.from({ length: count }, (_, n) => deviceId(n))];
  await store.db
    .insertInto('devices')
    .values(
      ids.map((id, n) =>
        deviceRow(n, { id, public_key: publicKey, last_seen_at: realClock.now() }),
      ),
    )
    .execute();
}

async function directorOf({
  store,
}: CountedStore): Promise<{ director: Director; audience: string }> {
  const made = await initRepository({
    out: join(tempFolder(), 'fleet'),
    passphrase: null,
    clock: realClock,
    random: realRandom,
  });
  const director = await Director.open({
    store: store.assignments,
    keys: (await readOnlineKeys(made.server)).director,
    folder: made.server,
    imageTargets: () => {
      throw new Error('no device here is assigned anything');
    },
    clock: realClock,
  });
  return { director, audience: await audienceIn(made.server) };
}

/** The same statements for each fleet; returns those of one. */
async function costs(act: (fleet: Fleet) => Promise<unknown>): Promise<string[]> {
  const all: string[][] = [];
  for (const fleet of fleets) all.push(await fleet.of(() => act(fleet)));
  const [small, large] = all as [string[], string[]];
  expect(large).toHaveLength(small.length);
  return large;
}

async function get({ app, authorization }: Fleet, url: string): Promise<{ items: unknown[] }> {
  const answer = await app.inject({
    method: 'GET',
    url: `/api/v1${url}`,
    headers: { authorization },
  });
  expect(answer.statusCode, answer.body).toBe(200);
  return answer.json();
}

describe('statements', () => {
  it('a_page_of_devices_reads_its_own_rows_only', async () => {
    const seen = await costs(async (fleet) => {
      const { items } = await get(fleet, '/devices?limit=10');
      expect(items).toHaveLength(10);
    });
    // The operator's token, the page, and what its devices reported.
    expect(seen).toHaveLength(3);
    expect(seen[1]).toMatch(/limit \?/);
    expect(seen[2]).toMatch(/"device" in \(/);
  });

  it('every_read_of_an_operator_costs_the_same_whatever_the_size_of_the_fleet', async () => {
    for (const { store } of fleets) {
      const rows = await store.db.selectFrom('devices').select('id').execute();
      const members = rows.map(({ id }, n) => waiting(n, { device: id }));
      await store.rollouts.insertRollout(rollout({ since: realClock.now() }), members);
    }
    const id = deviceId(0);
    for (const url of [
      '/self',
      '/fleet',
      '/fleet/history',
      '/groups',
      '/devices?limit=10',
      '/devices?limit=10&group=fleet',
      `/devices/${id}`,
      '/rollouts?limit=10',
      '/rollouts/ro-1',
      '/rollouts/ro-1/members?limit=10',
      '/standing-releases',
      '/releases?limit=10',
      `/telemetry?device=${id}&limit=10`,
      `/telemetry/hours?device=${id}`,
      '/audit?limit=10',
      '/security-events?limit=10',
      '/tokens?limit=10',
    ]) {
      const seen = await costs((fleet) => get(fleet, url));
      expect(seen.length, url).toBeLessThanOrEqual(READ_MAX_COUNT);
    }
  });

  it('a_page_of_rollouts_costs_the_same_for_one_and_for_many', async () => {
    for (const { store } of fleets) {
      const ids = await store.db.selectFrom('devices').select('id').execute();
      for (let n = 0; n < ids.length / 20; n++)
        await store.rollouts.insertRollout(rollout({ id: `r${n}`, state: 'draft' }), []);
    }
    const seen = await costs((fleet) => get(fleet, '/rollouts?limit=100'));
    expect(seen).toHaveLength(2);
  });

  it('a_poll_where_nothing_changed_signs_nothing_and_writes_nothing', async () => {
    const poll = async (fleet: Fleet, etag: string | undefined) => {
      const { app, device } = fleet;
      const headers = {
        authorization: `${DEVICE_SCHEME} ${await device.token('http', fleet)}`,
        ...(etag === undefined ? {} : { 'if-none-match': etag }),
      };
      return app.inject({ method: 'GET', url: '/device/v1/director/timestamp.json', headers });
    };
    const tags = new Map<Fleet, string>();
    for (const fleet of fleets) {
      const first = await poll(fleet, undefined);
      expect(first.statusCode, first.body).toBe(200);
      tags.set(fleet, String(first.headers.etag));
    }
    const seen = await costs(async (fleet) => {
      const again = await poll(fleet, tags.get(fleet));
      expect([again.statusCode, again.body]).toEqual([304, '']);
    });
    // The device's row, what it may take (three reads), and whether its documents are current.
    expect(seen).toHaveLength(5);
    expect(seen.filter((sql) => !sql.startsWith('select'))).toEqual([]);
  });

  it('a_pass_of_the_conductor_where_nothing_changed_writes_nothing', async () => {
    for (const { store } of fleets) {
      const ids = await store.db
        .selectFrom('devices')
        .select('id')
        .where('id', 'like', 'dev-%')
        .execute();
      const members = ids.slice(1).map(({ id }, n) => waiting(n, { device: id }));
      await store.rollouts.insertRollout(rollout({ since: realClock.now() }), members);
    }
    for (const { conductor } of fleets) await conductor.pass(); // It settles.
    const seen = await costs(({ conductor }) => conductor.pass());
    expect(seen.filter((sql) => !sql.startsWith('select'))).toEqual([]);
    expect(seen.length).toBeLessThanOrEqual(8);
  });

  it('assigning_many_devices_costs_as_many_statements_as_assigning_few', async () => {
    const release = releaseOf('1.1.0');
    for (const { store } of fleets) await store.rollouts.insertRollout(rollout(), []);
    for (let times = 0; times < 2; times++)
      await costs(async ({ store }) => {
        const ids = await store.db.selectFrom('devices').select('id').execute();
        const row = await store.rollouts.rollout('ro-1');
        const assignments = ids.map(({ id }) => ({
          device: id,
          component: release.component,
          release,
          rollback: false,
          activation: 'swap' as const,
          rollout: 'ro-1',
          trial: row!.policy.trial,
        }));
        const change = { rollout: row!, members: [], assignments };
        expect(await store.rollouts.commit(change, realClock.now())).toBe(true);
      });
    for (const { store, device } of fleets)
      expect((await store.assignments.assignments(device.id)).revision).toBe(2);
  });
});
