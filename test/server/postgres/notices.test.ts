// Two servers with embedded brokers on one PostgreSQL: what one says to a device reaches it through
// the other; and the connection that carries this breaks.
import { sql } from 'kysely';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { startServer } from '../../../server/main.js';
import { PostgresNotices } from '../../../server/store/postgres-notices.js';
import type { PostgresTarget } from '../../../server/store/postgres.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { Device, RolloutDetail } from '../../../shared/protocol/operator-api.js';
import { topics } from '../../../shared/protocol/telemetry.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import { policyOf } from '../../sim/fleet.js';
import {
  batchOf,
  enrolled,
  idleUpdate,
  mqttOf,
  publish,
  startFleet,
  type TestFleet,
} from '../../support/fleet-server.js';
import { tempFolder } from '../../support/temp-folders.js';
import { isOnPostgres, openTestStore, testTarget } from '../../support/test-store.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function noticesOf(target: PostgresTarget, received: string[]): Promise<PostgresNotices> {
  const notices = new PostgresNotices({
    target,
    onNotice: (text) => void received.push(text),
    clock: realClock,
    random: realRandom,
    log: silentLog,
  });
  cleanups.push(() => notices.close());
  await notices.open();
  return notices;
}

/** The fleet's server, and a second one on the same database and repository. */
async function twoServers(): Promise<{ fleet: TestFleet; other: TestFleet['server'] }> {
  const fleet = await startFleet();
  cleanups.push(() => fleet.close());
  const data = { ...fleet.settings, data_dir: tempFolder() };
  const other = await startServer(data, { log: silentLog });
  cleanups.push(() => other.close());
  return { fleet, other };
}

describe.runIf(isOnPostgres())('notices_between_servers', () => {
  it('reach_the_others_and_not_the_sender', async () => {
    const target = (await testTarget(tempFolder())) as PostgresTarget;
    const [own, others]: [string[], string[]] = [[], []];
    const sender = await noticesOf(target, own);
    await noticesOf(target, others);
    sender.send('one');
    sender.send('two');
    await vi.waitFor(() => expect(others).toEqual(['one', 'two']));
    expect(own).toEqual([]);
  });

  it('come_again_after_the_database_ended_the_connections', async () => {
    const file = tempFolder();
    const target = (await testTarget(file)) as PostgresTarget;
    const store = await openTestStore(file);
    cleanups.push(() => store.close());
    const received: string[] = [];
    const sender = await noticesOf(target, []);
    await noticesOf(target, received);
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'linnet notices'`.execute(store.db);
    await vi.waitFor(
      () => {
        sender.send('after');
        expect(received).toContain('after');
      },
      { timeout: 20_000, interval: 100 },
    );
  });

  it('a_device_that_is_revoked_at_one_server_loses_its_connection_to_the_other', async () => {
    const { fleet, other } = await twoServers();
    const device = await enrolled(fleet, 'gate-1');
    const { client } = await mqttOf({ ...fleet, server: other }, device);
    const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
    await fleet.admin.request('POST', '/devices/gate-1/revoke', Device);
    await closed;
  });

  it('a_device_at_the_other_server_is_told_at_once_to_ask_for_its_release', async () => {
    const { fleet, other } = await twoServers();
    const device = await enrolled(fleet, 'gate-1');
    const session = await mqttOf({ ...fleet, server: other }, device);
    cleanups.push(() => session.client.endAsync(true));
    const at = Date.now();
    const records = [{ seq: 1, at, kind: 'update' as const, body: idleUpdate() }];
    await session.send(JSON.stringify(batchOf(records)));
    await vi.waitFor(() => expect(session.acks).toHaveLength(1));
    const hinted = new Promise<void>((resolve) =>
      session.client.on('message', (topic) => {
        if (topic === topics.hint(device.id)) resolve();
      }),
    );
    await publish(fleet, '1.0.0');
    const policy = policyOf({
      waves: [{ name: 'all', percent: 100, soakSeconds: 0, approval: false }],
    });
    const request = { component: 'digits', version: '1.0.0', policy };
    const { id } = await fleet.admin.request('POST', '/rollouts', RolloutDetail, request);
    await fleet.admin.request('POST', `/rollouts/${id}/start`, RolloutDetail, {});
    await hinted;
  });
});
