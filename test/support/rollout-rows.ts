// Rows and reports for tests of the pure rollout functions: a rollout of digits 1.1.0 over devices
// that ran 1.0.0, with assignment 2.
import type { DeviceFacts, MemberRow, RolloutRow, Take } from '../../server/interfaces.js';
import type { Situation } from '../../server/rollout/situation.js';
import type { UpdateBody } from '../../shared/protocol/telemetry.js';
import {
  defaultTrialPolicy,
  type TrialEvidence,
  type TrialPolicy,
} from '../../shared/statistics/trial-verdict.js';
import { plan } from '../../server/rollout/plan.js';
import { emptySilence } from '../../shared/statistics/silence-test.js';
import { deviceId, policyOf, releaseOf } from '../sim/fleet.js';
import { trialEvidence } from './trial-evidence.js';

export const T0 = Date.UTC(2026, 0, 1);

export const member = (n: number, change: Partial<MemberRow> = {}): MemberRow => ({
  rollout: 'ro-1',
  device: deviceId(n),
  name: `d${n}`,
  group: 'fleet',
  hardware: 'pi4',
  site: 'fleet',
  wave: 0,
  rank: n,
  state: 'taken',
  since: T0,
  reasons: '',
  previous: releaseOf('1.0.0'),
  mayRun: false,
  assignmentId: 2,
  assignedAt: T0,
  proven: false,
  failed: false,
  silence: null,
  ...change,
});

/** A device that has not taken the release yet. */
export const waiting = (n: number, change: Partial<MemberRow> = {}): MemberRow =>
  member(n, {
    state: 'waiting',
    previous: null,
    assignmentId: null,
    assignedAt: null,
    ...change,
  });

export const rollout = (change: Partial<RolloutRow> = {}): RolloutRow => ({
  id: 'ro-1',
  release: releaseOf('1.1.0'),
  state: 'rolling',
  wave: 0,
  reasons: [],
  policy: policyOf(),
  createdAt: T0,
  createdBy: 'ann',
  since: T0 - 1,
  selector: {},
  approved: false,
  answeredAt: null,
  asked: false,
  undo: false,
  silence: null,
  pool: null,
  goAt: null,
  trace: null,
  arms: null,
  revision: 1,
  ...change,
});

export const update = (change: Partial<UpdateBody> = {}): UpdateBody => ({
  component: 'digits',
  state: 'idle',
  running: releaseOf('1.1.0'),
  previous: releaseOf('1.0.0'),
  updatingTo: null,
  assignmentId: 2,
  progress: null,
  outcome: null,
  trouble: null,
  conditions: [],
  directorVersion: 0,
  ...change,
});

export const evidence = (differing: number, pairs = 400): TrialEvidence =>
  trialEvidence({ pairs, differing });

export const trial = (
  body: TrialEvidence,
  assignmentId = 2,
): NonNullable<DeviceFacts['trial']> => ({
  release: releaseOf('1.1.0'),
  previous: releaseOf('1.0.0'),
  assignmentId,
  evidence: body,
});

export const facts = (change: Partial<DeviceFacts> = {}, n = 0): DeviceFacts => ({
  id: deviceId(n),
  name: `d${n}`,
  group: 'fleet',
  hardware: 'pi4',
  status: 'enrolled',
  lastSeenAt: T0,
  instance: 'i1',
  update: null,
  trial: null,
  standing: null,
  ...change,
});

/** Evidence that passes a trial, and the policy that it passes. */
export const passing: { evidence: TrialEvidence; policy: TrialPolicy } = {
  evidence: evidence(0),
  policy: { ...defaultTrialPolicy, minSeconds: 3, maxSeconds: 60 },
};

export const reports = (...all: DeviceFacts[]): Situation['facts'] =>
  new Map(all.map((one) => [one.id, one]));

/** Takes of the members that took the release, in their order. */
export const takesOf = (members: readonly MemberRow[]): Take[] =>
  members
    .filter(({ assignmentId }) => assignmentId !== null)
    .map(({ device, hardware, failed }) => ({ device, hardware, failed }));

export function situation(change: Partial<Situation> = {}): Situation {
  return {
    rollout: rollout(),
    members: [member(0)],
    facts: new Map(),
    takes: [],
    blocks: [],
    before: null,
    published: new Set(['1.0.0', '1.1.0'].map((version) => releaseOf(version).digest)),
    now: T0 + 1000,
    receptionSince: 0,
    ...change,
  };
}

/** Devices that took the release and are decided, and proven where they did not fail. */
export const fleetOf = (
  failed: readonly boolean[],
  change: (n: number) => Partial<MemberRow> = () => ({}),
): MemberRow[] =>
  failed.map((bad, n) =>
    member(n, {
      state: bad ? 'failed' : 'confirmed',
      failed: bad,
      proven: !bad,
      reasons: bad ? 'trial_crashes: 3 times' : 'accepted',
      ...change(n),
    }),
  );
/** As many more devices are planned as make `planned` in all. */
export const planned = (members: readonly MemberRow[], size: number): MemberRow[] => [
  ...members,
  ...Array.from({ length: size - members.length }, (_, n) => waiting(members.length + n)),
];
export const good = (many: number): boolean[] => new Array<boolean>(many).fill(false);

/** The next step of a rollout of these members, without the bookkeeping of silence slots. */
export const rowAfter = (
  members: readonly MemberRow[],
  change: Partial<Situation> = {},
): RolloutRow => {
  const silence = { state: emptySilence(), slotAt: T0, eventAt: null };
  const whole = situation({
    members,
    takes: takesOf(members),
    facts: reports(
      ...members
        .filter(({ state }) => state !== 'waiting')
        .map(({ rank }) => facts({ update: update() }, rank)),
    ),
    ...change,
    rollout: { ...rollout({ silence }), ...change.rollout },
  });
  return plan(whole)?.rollout ?? whole.rollout;
};
export const answered = (change: Partial<RolloutRow>): RolloutRow =>
  rollout({ silence: { state: emptySilence(), slotAt: T0, eventAt: null }, ...change });
