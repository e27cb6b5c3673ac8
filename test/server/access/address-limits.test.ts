// Strangers who fail to log in are refused before anything is looked up; valid peers behind the
// same address stay in.
import { beforeEach, expect, test } from 'vitest';
import { AddressLimits, type Attempt } from '../../../server/access/address-limits.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import { ManualClock } from '../../sim/manual-clock.js';

const NAT = '203.0.113.7';
const stranger = (change: Partial<Attempt> = {}): Attempt => ({
  kind: 'device',
  address: NAT,
  identity: null,
  ...change,
});
const known: Attempt = stranger({ identity: 'dev-1' });

let clock: ManualClock;
let reports: string[];
let addresses: AddressLimits;
beforeEach(() => {
  clock = new ManualClock();
  reports = [];
  addresses = new AddressLimits({
    clock,
    security: { report: ({ code, detail }) => void reports.push(`${code} ${detail}`) },
  });
});

/** Null when it is admitted, or the time to wait. */
function admitted(attempt: Attempt): number | null {
  try {
    addresses.admit(attempt);
    return null;
  } catch (error) {
    if (!isFault(error, 'too_many_attempts')) throw error;
    return error.retryAfterMs;
  }
}

/** How many of `count` attempts got as far as being verified. */
function attack(count: number, attempt = (_n: number): Attempt => stranger()): number {
  let verified = 0;
  for (let n = 0; n < count; n++) {
    if (admitted(attempt(n)) !== null) continue;
    verified += 1;
    addresses.failed(attempt(n));
  }
  return verified;
}

test('failed_logins_beyond_the_limit_are_refused_with_the_time_to_wait', () => {
  expect(attack(1000)).toBe(limits.failedLoginsMaxCount);
  expect(admitted(stranger())).toBe(limits.failedLoginRefillMs);
  clock.pass(limits.failedLoginRefillMs / 2);
  expect(admitted(stranger())).toBe(limits.failedLoginRefillMs / 2);
  clock.pass(limits.failedLoginRefillMs / 2);
  expect(admitted(stranger())).toBeNull();
});

test('an_attack_without_end_costs_one_verification_each_refill', () => {
  attack(1000);
  let verified = 0;
  for (let second = 0; second < 60; second++) {
    clock.pass(limits.failedLoginRefillMs);
    verified += attack(100);
  }
  expect(verified).toBe(60);
  // And one event each time that the limit is reached, not one for each attempt.
  expect(reports.length).toBe(61);
});

test('valid_logins_cost_nothing_however_many_come_from_one_address', () => {
  for (let n = 0; n < 5000; n++) {
    const attempt = stranger({ identity: `dev-${n}` });
    expect(admitted(attempt)).toBeNull();
    addresses.succeeded(attempt);
  }
  expect(attack(1000)).toBe(limits.failedLoginsMaxCount);
});

test('device_that_logged_in_here_before_passes_while_a_stranger_attacks', () => {
  addresses.succeeded(known);
  attack(1000);
  for (let n = 0; n < 100; n++) {
    expect(admitted(known)).toBeNull();
    addresses.succeeded(known);
    clock.pass(10);
    attack(10);
  }
  expect(admitted(stranger({ identity: 'dev-2' }))).not.toBeNull();
});

test('known_identity_is_no_free_pass_for_strangers_who_name_it', () => {
  addresses.succeeded(known);
  expect(attack(1000, () => known)).toBe(
    Math.max(limits.failedLoginsMaxCount, limits.knownFailedLoginsMaxCount),
  );
  // At another address the name is worth nothing.
  const elsewhere = { ...known, address: '198.51.100.1' };
  expect(attack(1000, () => elsewhere)).toBe(limits.failedLoginsMaxCount);
});

test('wrong_operator_tokens_refuse_no_device_and_no_enrolment', () => {
  attack(1000, () => stranger({ kind: 'operator' }));
  expect(admitted(stranger({ kind: 'operator' }))).not.toBeNull();
  expect(admitted(stranger())).toBeNull();
  expect(admitted(stranger({ kind: 'enrolment' }))).toBeNull();
});

test('pending_devices_may_ask_again_and_new_keys_without_end_are_refused', () => {
  const waits: Attempt = { kind: 'enrolment', address: NAT, identity: 'dev-waits' };
  addresses.waits(waits);
  let made = 0;
  for (let n = 0; n < 1000; n++) {
    const fresh: Attempt = { kind: 'enrolment', address: NAT, identity: `dev-${n}` };
    if (admitted(fresh) !== null) continue;
    addresses.waits(fresh);
    made += 1;
  }
  expect(made).toBe(limits.failedLoginsMaxCount - 1);
  for (let n = 0; n < 100; n++) {
    expect(admitted(waits)).toBeNull();
    addresses.waits(waits);
    clock.pass(10_000);
  }
});

test('addresses_and_identities_that_are_remembered_are_limited', () => {
  const many = limits.limitedAddressesMaxCount + limits.knownLoginsMaxCount;
  for (let n = 0; n < many; n++) {
    const attempt = stranger({ address: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}` });
    addresses.failed(attempt);
    addresses.succeeded({ ...attempt, identity: 'dev-1' });
  }
  expect(addresses.size).toBe(many);
});

test.each([
  ['::ffff:203.0.113.7', '203.0.113.7'],
  ['2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff'],
  ['2001:db8::1', '2001:0db8:0:0:5::'],
  ['fe80::1%eth0', 'fe80::2'],
])('%s_and_%s_are_one_peer', (one, other) => {
  attack(1000, () => stranger({ address: one }));
  expect(admitted(stranger({ address: other }))).not.toBeNull();
});

test('another_network_is_another_peer', () => {
  attack(1000, () => stranger({ address: '2001:db8:1:2::1' }));
  expect(admitted(stranger({ address: '2001:db8:1:3::1' }))).toBeNull();
});
