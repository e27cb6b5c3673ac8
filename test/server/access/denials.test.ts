// Calls that a role may not make: how many audit entries they cost, and that each is counted.
import { beforeEach, expect, it } from 'vitest';
import { Denials } from '../../../server/access/denials.js';
import type { AuditAction } from '../../../server/interfaces.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { ManualClock } from '../../sim/manual-clock.js';
import { turn } from '../../../shared/platform/turn.js';

let clock: ManualClock;
let written: AuditAction[];
let isBroken: boolean;
let denials: Denials;
beforeEach(() => {
  clock = new ManualClock();
  written = [];
  isBroken = false;
  const append = async (action: AuditAction): Promise<void> => {
    if (isBroken) throw new Error('no database');
    written.push(action);
  };
  denials = new Denials({ audit: { append }, clock, log: silentLog });
});

const call = (path: string, actor = 'ann'): Promise<void> =>
  denials.note(
    { actor, action: 'auth_denied', subject: '', detail: path, trace: null },
    'GET /audit',
  );
const details = (): string[] => written.splice(0).map(({ detail }) => detail);
async function minute(): Promise<void> {
  clock.pass(limits.deniedRepeatsMs);
  await turn();
}

it('repeats_of_a_call_are_one_entry_a_minute_with_their_count', async () => {
  for (let n = 0; n < 1000; n++) await call(`/audit?n=${n}`);
  expect(details()).toEqual(['/audit?n=0']);
  await minute();
  expect(details()).toEqual(['999 times since the entry before, the last one: /audit?n=999']);
  await call('/audit?n=1000');
  expect(details()).toEqual([]);
  await minute();
  expect(details()).toEqual(['1 time since the entry before, the last one: /audit?n=1000']);
  await minute();
  await call('/audit');
  expect(details()).toEqual(['/audit']);
});

it('another_token_and_another_route_have_entries_of_their_own', async () => {
  await call('a');
  await call('b', 'bob');
  await denials.note(
    { actor: 'ann', action: 'auth_denied', subject: '', detail: 'c', trace: null },
    'GET /tokens',
  );
  expect(details()).toEqual(['a', 'b', 'c']);
});

it('what_was_only_counted_is_written_at_the_stop', async () => {
  await call('a');
  await call('b');
  await denials.close();
  expect(details()).toEqual(['a', '1 time since the entry before, the last one: b']);
  await minute();
  expect(details()).toEqual([]);
});

it('an_entry_that_cannot_be_written_fails_the_call_and_a_count_is_kept_for_later', async () => {
  isBroken = true;
  await expect(call('a')).rejects.toThrow('no database');
  isBroken = false;
  await call('b');
  await call('c');
  isBroken = true;
  await minute();
  isBroken = false;
  await minute();
  expect(details()).toEqual(['b', '1 time since the entry before, the last one: c']);
});
