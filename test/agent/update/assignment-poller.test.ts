// The poller: each component hears of its own assignment, and a failure changes nothing.
import assert from 'node:assert/strict';
import { describe, expect, it } from 'vitest';
import { AssignmentPoller } from '../../../agent/update/assignment-poller.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { Troubles } from '../../../agent/update/troubles.js';
import { ManualClock } from '../../sim/manual-clock.js';
import { assignmentFor, simRelease } from '../../sim/release.js';
import type { Assignment } from '../../../agent/update/record.js';

const digits = assignmentFor(simRelease('1.0.0'), 4);
const letters = assignmentFor(simRelease('2.0.0', { component: 'letters' }), 5);

function polling(answers: (Assignment[] | Fault | Error)[]) {
  const assigned: [string, Assignment | null][] = [];
  const reports: unknown[] = [];
  const troubles = new Troubles({ clock: new ManualClock() });
  const poller = new AssignmentPoller({
    refresh: async () => {
      const answer = answers.shift();
      assert(answer !== undefined, 'one answer for each poll');
      if (answer instanceof Error) throw answer;
      return answer;
    },
    drivers: ['digits', 'letters'].map((component) => ({
      component,
      assign: (assignment: Assignment | null) => assigned.push([component, assignment]),
    })),
    reporter: { report: (_kind, body) => reports.push(body) },
    troubles,
    log: silentLog,
  });
  return { poller, assigned, reports, troubles };
}

describe('polling', () => {
  it('two_components_each_get_their_own_assignment', async () => {
    const { poller, assigned } = polling([[letters, digits]]);
    expect(await poller.poll()).toBe(true);
    expect(assigned).toEqual([
      ['digits', digits],
      ['letters', letters],
    ]);
  });

  it('component_that_nothing_is_assigned_to_gets_null', async () => {
    const { poller, assigned } = polling([[letters], []]);
    await poller.poll();
    await poller.poll();
    expect(assigned).toEqual([
      ['digits', null],
      ['letters', letters],
      ['digits', null],
      ['letters', null],
    ]);
  });

  it('failure_assigns_nothing', async () => {
    const { poller, assigned, reports } = polling([new Fault('server_unreachable', 'away')]);
    expect(await poller.poll()).toBe(false);
    expect(assigned).toEqual([]);
    expect(reports).toEqual([]);
  });

  it('knows_when_a_server_that_is_behind_wants_to_be_asked_again_until_the_next_poll', async () => {
    const behind = new Fault('server_unreachable', 'behind', { retryAfterMs: 2_000 });
    const { poller } = polling([behind, []]);
    expect(poller.retryAfterMs).toBe(null);
    await poller.poll();
    expect(poller.retryAfterMs).toBe(2_000);
    await poller.poll();
    expect(poller.retryAfterMs).toBe(null);
  });

  it('security_fault_is_reported_once_until_it_changes_or_a_poll_succeeds', async () => {
    const frozen = new Fault('metadata_expired', 'timestamp expired yesterday');
    const forged = new Fault('metadata_signature', 'no valid signature');
    const { poller, reports } = polling([frozen, frozen, forged, [digits], forged]);
    for (let poll = 0; poll < 5; poll += 1) await poller.poll();
    expect(reports).toEqual([
      { code: 'metadata_expired', detail: 'timestamp expired yesterday' },
      { code: 'metadata_signature', detail: 'no valid signature' },
      { code: 'metadata_signature', detail: 'no valid signature' },
    ]);
  });

  it('assignment_to_a_component_that_the_device_does_not_have_is_a_security_event', async () => {
    const other = assignmentFor(simRelease('3.0.0', { component: 'faces' }), 6);
    const { poller, assigned, reports } = polling([
      [digits, other],
      [digits, other],
      [digits, letters],
      [other],
    ]);
    expect(await poller.poll()).toBe(true);
    expect(assigned).toEqual([
      ['digits', digits],
      ['letters', null],
    ]);
    const event = {
      code: 'component_unknown',
      detail: 'assigned: faces 3.0.0; this device has digits, letters',
    };
    expect(reports).toEqual([event]);
    await poller.poll();
    expect(reports).toEqual([event]);
    await poller.poll();
    await poller.poll();
    expect(reports).toEqual([event, event]);
  });

  it('bug_is_not_swallowed', async () => {
    const { poller } = polling([new TypeError('a bug')]);
    await expect(poller.poll()).rejects.toThrow('a bug');
  });
});
