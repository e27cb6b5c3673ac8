// The story's claims against counts as a healthy fleet makes them, and against every way in which
// one would be untrue.
import { describe, expect, it } from 'vitest';
import type { DemoDevice } from '../../../firmware-tools/demo/demo-fleet.js';
import type { Tally, TrafficCounts } from '../../../firmware-tools/demo/traffic.js';
import { claimsOfHalt, claimsOfTraffic, type Claim } from '../../../firmware-tools/demo/checks.js';
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
const devices: DemoDevice[] = [
  { name: 'gate-1', group: 'canary', port: 1 },
  { name: 'hall-1', group: 'fleet', port: 2 },
];

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
const untrue = (claims: Claim[]): string[] =>
  claims.filter((claim) => !claim.true).map((claim) => claim.what);
const traffic = (first: { counts: TrafficCounts }, second: { counts: TrafficCounts }): string[] =>
  untrue(claimsOfTraffic(releases, devices, [first, second]));

describe('what the application saw', () => {
  it('nothing_lost_and_only_canaries_met_the_bad_release', () => {
    expect(traffic(counted(canary), counted(old))).toEqual([]);
  });

  it('a_request_without_an_outcome_is_not_overlooked', () => {
    expect(traffic(counted(canary), counted(old, { sent: 201 }))).toEqual([
      '451 requests sent, 450 served, 0 lost',
    ]);
  });

  it('a_lost_request_is_told', () => {
    expect(traffic(counted(canary), counted(old, { sent: 201, lost: 1 }))).toEqual([
      '451 requests sent, 450 served, 1 lost',
    ]);
  });

  it('an_answer_of_the_right_version_and_another_digest_is_a_stranger', () => {
    expect(traffic(counted(canary), counted({ ...old, 'digits@1.1.0#other': [1, 1] }))).toEqual([
      'every answer names one of the three releases by its digest; not: digits@1.1.0#other',
    ]);
  });

  it('the_bad_release_on_a_device_that_is_no_canary', () => {
    expect(traffic(counted(canary), counted(canary))).toEqual([
      '1.2.0 served on the canary devices only',
    ]);
  });

  it('the_bad_release_that_nobody_met_proves_nothing', () => {
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

  it('disagreement_halted_it_before_anybody_else_was_ordered_it', () => {
    expect(untrue(claimsOfHalt(view(), releases))).toEqual([]);
  });

  it('another_reason_is_not_the_one_that_the_story_tells', () => {
    const silent = view({ reasons: ['gate-1: silent for 40 s'] });
    expect(untrue(claimsOfHalt(silent, releases))).toEqual([
      'it was halted because old and new model disagree',
    ]);
  });

  it('a_device_beyond_the_canaries_was_ordered_it_though_it_never_served_it', () => {
    const spread = view({
      members: [member('gate-1', 'canary', 'reverted'), member('hall-1', 'fleet', 'reverted')],
    });
    expect(untrue(claimsOfHalt(spread, releases))).toEqual([
      'none of the other 1 devices was ever ordered 1.2.0',
    ]);
  });

  it('makers_who_could_have_seen_it', () => {
    const suspicious = { ...releases, bad: released('1.2.0', 0.42) };
    expect(untrue(claimsOfHalt(view(), suspicious))).toEqual([
      'its makers saw nothing: 42.0 % right by their own label file',
    ]);
  });
});
