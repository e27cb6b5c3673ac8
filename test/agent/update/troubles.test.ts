// Why a device cannot proceed: since when, which of several reasons is told, and that the update
// machine and the poller set and clear it.
import { beforeEach, describe, expect, it } from 'vitest';
import { AssignmentPoller } from '../../../agent/update/assignment-poller.js';
import { Troubles } from '../../../agent/update/troubles.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import type { UpdateBody } from '../../../shared/protocol/telemetry.js';
import { bootDevice, settle } from '../../sim/device.js';
import { SimDisk } from '../../sim/disk.js';
import { seeded } from '../../support/random.js';
import { ManualClock } from '../../sim/manual-clock.js';
import { assignmentFor, simRelease } from '../../sim/release.js';

let clock: ManualClock;
let troubles: Troubles;
beforeEach(() => {
  clock = new ManualClock();
  troubles = new Troubles({ clock });
});
const full = new Fault('disk_full', 'cannot write x: ENOSPC');
const away = new Fault('server_unreachable', 'no answer');

describe('since', () => {
  it('since_is_the_first_time_of_the_present_code', () => {
    const first = clock.now();
    troubles.set('update', 'digits', away);
    clock.pass(60_000);
    troubles.set('update', 'digits', new Fault('server_unreachable', 'still no answer'));
    expect(troubles.of('digits')).toEqual({
      code: 'server_unreachable',
      detail: 'still no answer',
      since: first,
    });
    troubles.set('update', 'digits', full);
    expect(troubles.of('digits')?.since).toBe(clock.now());
    troubles.clear('update', 'digits');
    expect(troubles.of('digits')).toBeNull();
  });

  it('clock_that_is_set_right_later_tells_the_right_since', () => {
    clock.wallMs = 0; // 1970.
    troubles.set('update', 'digits', full);
    clock.pass(5_000);
    clock.wallMs = Date.UTC(2026, 10, 2);
    expect(troubles.of('digits')?.since).toBe(clock.wallMs - 5_000);
  });
});

describe('several at once', () => {
  it('component_tells_its_own_trouble_before_that_of_the_device', () => {
    troubles.set('assignments', null, away);
    troubles.set('update', 'digits', full);
    expect(troubles.of('digits')?.code).toBe('disk_full');
    expect(troubles.of('letters')?.code).toBe('server_unreachable');
  });

  it('waiting_for_update_hours_hides_no_obstacle', () => {
    troubles.set('update', 'digits', new Fault('deferred', 'until 22:00'));
    expect(troubles.of('digits')?.code).toBe('deferred');
    troubles.set('assignments', null, away);
    expect(troubles.of('digits')?.code).toBe('server_unreachable');
  });
});

describe('who sets it', () => {
  const v1 = simRelease('1.0.0');
  const v2 = simRelease('1.1.0');

  it('download_that_fails_is_told_at_once_and_cleared_when_it_goes_on', async () => {
    const device = await bootDevice(new SimDisk(seeded(1)), [v1, v2]);
    await settle(device, assignmentFor(v1, 1));
    device.fetcher.down = true;
    await settle(device, assignmentFor(v2, 2), 3);
    const told = () => device.reports.filter(({ kind }) => kind === 'update').at(-1)?.body;
    const { trouble, state } = told() as UpdateBody;
    expect([state, trouble?.code]).toEqual(['assigned', 'server_unreachable']);
    device.fetcher.down = false;
    await settle(device, assignmentFor(v2, 2));
    expect((told() as UpdateBody).trouble).toBeNull();
  });

  it('disk_that_refuses_the_record_is_told', async () => {
    const disk = new SimDisk(seeded(1));
    const device = await bootDevice(disk, [v1, v2]);
    await settle(device, assignmentFor(v1, 1));
    disk.replace = () =>
      Promise.reject(new Fault('disk_failed', 'cannot write record.json: EROFS'));
    await settle(device, assignmentFor(v2, 2), 3);
    const told = device.reports.filter(({ kind }) => kind === 'update').at(-1)?.body as UpdateBody;
    expect(told.trouble).toMatchObject({
      code: 'disk_failed',
      detail: 'cannot write record.json: EROFS',
    });
  });

  it('refused_metadata_is_the_trouble_of_every_component_until_a_poll_succeeds', async () => {
    const answers = [new Fault('metadata_rollback', 'version 3, 9 was trusted'), null];
    const poller = new AssignmentPoller({
      refresh: () => {
        const fault = answers.shift();
        return fault ? Promise.reject(fault) : Promise.resolve([]);
      },
      drivers: [],
      reporter: { report: () => {} },
      troubles,
      log: silentLog,
    });
    await poller.poll();
    expect(troubles.of('digits')).toMatchObject({ code: 'metadata_rollback' });
    await poller.poll();
    expect(troubles.of('digits')).toBeNull();
  });
});
