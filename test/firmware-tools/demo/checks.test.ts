// The checks of the scenario against the counts of a healthy fleet, and against every way in which
// one of them fails.
import { describe, expect, it } from 'vitest';
import type { Tally, TrafficCounts } from '../../../firmware-tools/demo/traffic.js';
import type { DemoFleet } from '../../../firmware-tools/demo/demo-fleet.js';
import {
  completionChecks,
  haltChecks,
  textChecks,
  trafficChecks,
  type Check,
} from '../../../firmware-tools/demo/checks.js';
import type { ShownRollout } from '../../../firmware-tools/fleet/shown-rollout.js';

const released = (version: string, accuracy: number) => ({
  version,
  header: `digits@${version}#${version}-digest`,
  accuracy,
});
const releases = {
  first: released('1.0.0', 0.95),
  better: released('1.1.0', 0.98),
  bad: released('1.2.0', 0.97),
};
/** Counts of one device: by header, `[served, right]`. */
function counted(
  by: Record<string, [number, number]>,
  more: { sent?: number; lost?: number } = {},
): { counts: TrafficCounts } {
  const byHeader = new Map<string, Tally>(
    Object.entries(by).map(([key, [served, right]]) => [key, { served, right }]),
  );
  const sent = [...byHeader.values()].reduce((sum, tally) => sum + tally.served, 0);
  return { counts: { sent, lost: 0, byRelease: new Map(), byHeader, complaints: [], ...more } };
}

const old: Record<string, [number, number]> = {
  [releases.first.header]: [100, 90],
  [releases.better.header]: [100, 98],
};
const failed = (checks: Check[]): string[] =>
  checks.filter(({ passed }) => !passed).map(({ what }) => what);
const traffic = (first: { counts: TrafficCounts }, second: { counts: TrafficCounts }): string[] =>
  failed(trafficChecks(releases, [first, second]));

describe('what the application saw', () => {
  it('nothing_lost_and_nobody_was_served_by_the_bad_release', () => {
    expect(traffic(counted(old), counted(old))).toEqual([]);
  });

  it('a_request_without_an_outcome_is_not_overlooked', () => {
    expect(traffic(counted(old), counted(old, { sent: 201 }))).toEqual([
      '401 requests sent, 400 served, 0 lost',
    ]);
  });

  it('a_lost_request_is_counted', () => {
    expect(traffic(counted(old), counted(old, { sent: 201, lost: 1 }))).toEqual([
      '401 requests sent, 400 served, 1 lost',
    ]);
  });

  it('an_answer_of_the_right_version_and_another_digest_is_unknown', () => {
    expect(traffic(counted(old), counted({ ...old, 'digits@1.1.0#other': [1, 1] }))).toEqual([
      'every answer names one of the three releases by its digest; not: digits@1.1.0#other',
    ]);
  });

  it('the_bad_release_answered_a_live_request', () => {
    const wrong: Record<string, [number, number]> = { ...old, [releases.bad.header]: [1, 0] };
    expect(traffic(counted(wrong), counted(old))).toEqual([
      '1.2.0 answered 1 live requests before it was refused',
    ]);
  });
});

describe('why it was halted', () => {
  const member = (name: string, group: string, state: string) => ({
    device: name,
    name,
    group,
    wave: 0,
    state,
    since: '',
    reasons: '',
  });
  const view = (change: object = {}): ShownRollout =>
    ({
      state: 'reverted',
      reasons: ['gate-1: refused by the device, rehearsal_differs: answers differ by 52 %'],
      history: [],
      members: [member('gate-1', 'canary', 'reverted'), member('hall-1', 'fleet', 'waiting')],
      ...change,
    }) as unknown as ShownRollout;

  it('a_rehearsal_halted_it_before_any_other_device_was_assigned_it', () => {
    expect(failed(haltChecks(view(), releases))).toEqual([]);
  });

  it('another_reason_is_not_the_one_that_the_scenario_shows', () => {
    const silent = view({ reasons: ['gate-1: silent for 40 s'] });
    expect(failed(haltChecks(silent, releases))).toEqual([
      'it was halted because a canary refused it after a rehearsal on its own inputs',
    ]);
  });

  it('a_device_beyond_the_canaries_was_assigned_it_but_never_served_it', () => {
    const spread = view({
      members: [member('gate-1', 'canary', 'reverted'), member('hall-1', 'fleet', 'reverted')],
    });
    expect(failed(haltChecks(spread, releases))).toEqual([
      'none of the other 1 devices was ever assigned 1.2.0',
    ]);
  });

  it('a_reported_accuracy_that_gives_a_warning', () => {
    const suspicious = { ...releases, bad: released('1.2.0', 0.42) };
    expect(failed(haltChecks(view(), suspicious))).toEqual([
      'its reported accuracy gave no warning: 42.0 % by its own label file',
    ]);
  });
});

describe('the text detector', () => {
  const counts = (by: [string, Tally][], lost = 0): { counts: TrafficCounts } => ({
    counts: { sent: 20, lost, byRelease: new Map(by), byHeader: new Map(), complaints: [] },
  });
  const before: [string, Tally] = ['text@1.0.0', { served: 9, right: 9 }];

  it('both_releases_found_text_in_every_line', () => {
    expect(failed(textChecks(counts([before, ['text@1.1.0', { served: 9, right: 9 }]])))).toEqual(
      [],
    );
  });

  it('a_line_without_text_an_update_that_never_served_or_a_lost_request', () => {
    for (const some of [
      counts([before, ['text@1.1.0', { served: 9, right: 8 }]]),
      counts([before]),
      counts([before, ['text@1.1.0', { served: 9, right: 9 }]], 1),
    ])
      expect(failed(textChecks(some))).toHaveLength(1);
  });
});

describe('a rollout that completes', () => {
  const fleetOf = (off: string) => ({
    devices: ['gate-1', 'hall-1'].map((name) => ({ name }) as DemoFleet['off']),
    off: { name: off } as DemoFleet['off'],
  });
  const view = (hall: string, off: string) =>
    ({
      state: 'completed',
      release: { version: '1.1.0' },
      members: [
        { name: 'gate-1', state: 'confirmed' },
        { name: 'hall-1', state: hall },
        { name: 'hall-4', state: off },
      ],
    }) as unknown as ShownRollout;
  const complaints = (hall: string, off: string): string[] =>
    failed(completionChecks(view(hall, off), fleetOf('hall-4')));

  it('all_that_are_on_confirmed_it_and_the_one_that_is_off_waits', () => {
    expect(complaints('confirmed', 'waiting')).toEqual([]);
  });

  it('a_device_that_is_on_and_did_not_confirm_or_one_that_is_off_and_failed', () => {
    expect(complaints('unproven', 'failed')).toEqual([
      'all 2 devices that are on confirmed 1.1.0',
      'hall-4 is off, is failed, and stopped nothing',
    ]);
  });
});
