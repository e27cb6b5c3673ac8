// The names of states that cross the wire. The machines' tables live with their owners:
// agent/update/table.ts and server/rollout/table.ts.

export const UPDATE_STATES = [
  'idle',
  'assigned',
  'downloaded',
  'verified',
  'staged',
  'probed',
  'swapped',
  'stranded',
] as const;
export type UpdateState = (typeof UPDATE_STATES)[number];

export const ROLLOUT_STATES = [
  'draft',
  'rolling',
  'held',
  'reverting',
  'reverted',
  'completed',
  'dropped',
] as const;
export type RolloutState = (typeof ROLLOUT_STATES)[number];

/** One device within a rollout. */
export const MEMBER_STATES = [
  'waiting',
  'assigned',
  'trial',
  'confirmed',
  'failed',
  'reverting',
  'reverted',
  'lost',
] as const;
export type MemberState = (typeof MEMBER_STATES)[number];
