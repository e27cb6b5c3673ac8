// Rows and reports for tests of the pure rollout functions: a rollout of digits 1.1.0 over devices
// that ran 1.0.0, with assignment 2.
import type { DeviceFacts, MemberRow, RolloutRow } from '../../server/interfaces.js';
import type { UpdateBody } from '../../shared/protocol/telemetry.js';
import type { TrialEvidence } from '../../shared/statistics/trial-verdict.js';
import { deviceId, policyOf, releaseOf } from '../sim/fleet.js';
import { trialEvidence } from './trial-evidence.js';

export const T0 = Date.UTC(2026, 0, 1);

export const member = (n: number, change: Partial<MemberRow> = {}): MemberRow => ({
  rollout: 'ro-1',
  device: deviceId(n),
  name: `d${n}`,
  group: 'fleet',
  hardware: 'pi4',
  wave: 0,
  state: 'assigned',
  since: T0,
  reasons: '',
  previous: releaseOf('1.0.0'),
  mayRun: false,
  assignmentId: 2,
  assignedAt: T0,
  failed: false,
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
  healthySince: null,
  approved: false,
  answeredAt: null,
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
  update: null,
  trial: null,
  standing: null,
  ...change,
});
