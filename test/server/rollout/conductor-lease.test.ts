// The lease of the conductor, by a clock that the test moves: when a server begins and ends to
// conduct.
import { beforeEach, expect, it } from 'vitest';
import type { Fence, LeaseStore } from '../../../server/interfaces.js';
import { ConductorLease } from '../../../server/rollout/conductor-lease.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { ManualClock } from '../../sim/manual-clock.js';

/** A database whose clock is the test's; `isDown`: it answers nothing. */
class MemoryLeases implements LeaseStore {
  held: (Fence & { until: number }) | null = null;
  isDown = false;

  constructor(readonly clock: ManualClock) {}

  acquire(name: string, holder: string, forMs: number): Promise<Fence | null> {
    if (this.isDown) return Promise.reject(new Error('out of reach'));
    const now = this.clock.monotonic();
    const { held } = this;
    if (held !== null && held.holder !== holder && held.until > now) return Promise.resolve(null);
    const isSame = held?.holder === holder;
    const revision = (held?.revision ?? 0) + (isSame ? 0 : 1);
    this.held = { name, holder, revision, until: now + forMs };
    return Promise.resolve({ name, holder, revision });
  }

  release({ holder }: Fence): Promise<void> {
    if (this.held?.holder === holder) this.held = { ...this.held, until: 0 };
    return Promise.resolve();
  }
}

let clock: ManualClock;
let store: MemoryLeases;
let events: string[];
beforeEach(() => {
  clock = new ManualClock();
  store = new MemoryLeases(clock);
  events = [];
});

const server = (holder: string): ConductorLease =>
  new ConductorLease({
    store,
    holder,
    clock,
    log: silentLog,
    onGain: () => events.push(`${holder} conducts`),
    onLoss: () => {
      events.push(`${holder} stops`);
      return Promise.resolve();
    },
  });

/** In small steps, so that what the servers wait for can happen in between. */
async function pass(ms: number): Promise<void> {
  for (let done = 0; done < ms; done += 100) {
    clock.pass(100);
    for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
  }
}

it('one_of_two_conducts_and_goes_on_while_it_renews', async () => {
  const [a, b] = [server('a'), server('b')];
  a.start();
  b.start();
  await pass(60_000);
  expect(events).toEqual(['a conducts']);
  expect([a.fence()?.revision, b.fence()]).toEqual([1, null]);
  await Promise.all([a.stop(), b.stop()]);
});

it('server_that_stops_gives_the_lease_back_and_the_other_conducts_at_its_next_try', async () => {
  const [a, b] = [server('a'), server('b')];
  a.start();
  b.start();
  await pass(500);
  await a.stop();
  await pass(limits.leaseRenewMs);
  expect(events).toEqual(['a conducts', 'a stops', 'b conducts']);
  expect(a.fence()).toBeNull();
  await b.stop();
});

it('killed_conductor_is_replaced_within_the_limit', async () => {
  await store.acquire('conductor', 'killed', limits.leaseMs);
  const b = server('b');
  b.start();
  await pass(limits.leaseTakeoverMaxMs);
  expect(events).toEqual(['b conducts']);
  await b.stop();
});

it('conductor_that_cannot_reach_the_database_stops_before_another_one_may_begin', async () => {
  const a = server('a');
  a.start();
  await pass(500);
  store.isDown = true;
  await pass(limits.leaseMs - 600);
  expect(events).toEqual(['a conducts']);
  await pass(600);
  expect(events).toEqual(['a conducts', 'a stops']);
  store.isDown = false;
  await pass(limits.leaseRenewMs);
  expect(events).toEqual(['a conducts', 'a stops', 'a conducts']);
  await a.stop();
});

it('conductor_whose_lease_another_one_got_stops_at_its_next_renewal', async () => {
  const a = server('a');
  a.start();
  await pass(500);
  store.held = { name: 'conductor', holder: 'b', revision: 2, until: 1e9 };
  await pass(limits.leaseRenewMs);
  expect(events).toEqual(['a conducts', 'a stops']);
  await a.stop();
});
