// The checks of the scenario against the counts of a healthy fleet, and against every way in which
// one of them fails.
import { describe, expect, it } from 'vitest';
import type { DemoDevice } from '../../../firmware-tools/demo/demo-fleet.js';
import type { Tally, TrafficCounts } from '../../../firmware-tools/demo/traffic.js';
import { haltChecks, trafficChecks, type Check } from '../../../firmware-tools/demo/checks.js';
import type { RolloutDetail } from '../../../shared/protocol/operator-api.js';

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
const device = (name: string, group: string): DemoDevice => ({
  name,
  group,
  component: 'digits',
  port: 1,
  config: '',
});
const devices: DemoDevice[] = [device('gate-1', 'canary'), device('hall-1', 'fleet')];

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
const canary = { ...old, [releases.bad.header]: [50, 20] } satisfies Record<
  string,
  [number, number]
>;
const failed = (checks: Check[]): string[] =>
  checks.filter(({ passed }) => !passed).map(({ what }) => what);
const traffic = (first: { counts: TrafficCounts }, second: { counts: TrafficCounts }): string[] =>
  failed(trafficChecks(releases, devices, [first, second]));

describe('what the application saw', () => {
  it('nothing_lost_and_only_canaries_served_the_bad_release', () => {
    expect(traffic(counted(canary), counted(old))).toEqual([]);
  });

  it('a_request_without_an_outcome_is_not_overlooked', () => {
    expect(traffic(counted(canary), counted(old, { sent: 201 }))).toEqual([
      '451 requests sent, 450 served, 0 lost',
    ]);
  });

  it('a_lost_request_is_counted', () => {
    expect(traffic(counted(canary), counted(old, { sent: 201, lost: 1 }))).toEqual([
      '451 requests sent, 450 served, 1 lost',
    ]);
  });

  it('an_answer_of_the_right_version_and_another_digest_is_unknown', () => {
    expect(traffic(counted(canary), counted({ ...old, 'digits@1.1.0#other': [1, 1] }))).toEqual([
      'every answer names one of the three releases by its digest; not: digits@1.1.0#other',
    ]);
  });

  it('the_bad_release_on_a_device_that_is_no_canary', () => {
    expect(traffic(counted(canary), counted(canary))).toEqual([
      '1.2.0 served on the canary devices only',
    ]);
  });

  it('a_bad_release_that_no_device_served_shows_nothing', () => {
    expect(traffic(counted(old), counted(old))).toEqual([
      '1.2.0 served on the canary devices only',
      '1.2.0 really answered wrong there',
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
  const view = (change: object = {}): RolloutDetail =>
    ({
      state: 'reverted',
      reasons: ['gate-1: trial_disagreement: old and new model disagree on 60 of 100 live inputs'],
      history: [],
      members: [member('gate-1', 'canary', 'reverted'), member('hall-1', 'fleet', 'waiting')],
      ...change,
    }) as unknown as RolloutDetail;

  it('disagreement_halted_it_before_any_other_device_was_assigned_it', () => {
    expect(failed(haltChecks(view(), releases))).toEqual([]);
  });

  it('another_reason_is_not_the_one_that_the_scenario_shows', () => {
    const silent = view({ reasons: ['gate-1: silent for 40 s'] });
    expect(failed(haltChecks(silent, releases))).toEqual([
      'it was halted because old and new model disagree',
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
