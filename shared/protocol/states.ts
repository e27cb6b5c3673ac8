// The names that cross the wire, of states, roles and commands. The machines' tables live with
// their owners: agent/update/transitions.ts and server/rollout/transitions.ts. No schema is here,
// so that the help of the command line, which lists the names, loads none.

/** Each role may do what the roles before it may. */
export const ROLES = ['viewer', 'publisher', 'operator', 'admin'] as const;

export const DEVICE_STATUSES = ['pending', 'enrolled', 'revoked'] as const;

/** Why a device may need a person. */
export const DEVICE_ATTENTIONS = ['silent', 'trouble', 'conditions', 'cloned'] as const;

export const UPDATE_STATES = [
  'idle',
  'assigned',
  'downloaded',
  'verified',
  'staged',
  'probed',
  'rehearsed',
  'shadowing',
  'swapped',
  'stranded',
] as const;
export type UpdateState = (typeof UPDATE_STATES)[number];

/**
 * How far a device takes an assignment. `swap`: the release serves. `hold`: it waits in `rehearsed`
 * until the same assignment says swap. `shadow`: it never serves; it answers copies of live
 * requests beside what serves, and the comparison is reported.
 */
export const ACTIVATIONS = ['swap', 'hold', 'shadow'] as const;
export type Activation = (typeof ACTIVATIONS)[number];

export const ROLLOUT_STATES = [
  'draft',
  'rolling',
  'held',
  'reverting',
  'reverted',
  'completed',
  'reported',
  'dropped',
] as const;
export type RolloutState = (typeof ROLLOUT_STATES)[number];
/** Who caused a security event; `anonymous` is a remote address that did not authenticate. */
export const SECURITY_SOURCE_KINDS = ['device', 'operator', 'server', 'anonymous'] as const;
export type SecuritySourceKind = (typeof SECURITY_SOURCE_KINDS)[number];

/** What a list of rollouts is filtered by; `active`: rolling, held or reverting. */
export const ROLLOUT_LIST_STATES = [...ROLLOUT_STATES, 'active'] as const;
export type RolloutListState = (typeof ROLLOUT_LIST_STATES)[number];

/**
 * One device within a rollout. `taken`: it has the assignment. `ready`: it holds the release and
 * waits for the go (blue-green). `shadowed`: its comparison is over (shadow). `unproven`: it keeps
 * the release, and its trial goes on. `silent`: it took the assignment and is not heard. `differs`:
 * it went back, because its answers differ more than the release declared. `excused`: it counts
 * neither for nor against the release. `lost`: on the way back, and not heard.
 */
export const MEMBER_STATES = [
  'waiting',
  'taken',
  'ready',
  'trial',
  'unproven',
  'confirmed',
  'shadowed',
  'silent',
  'failed',
  'differs',
  'excused',
  'reverting',
  'reverted',
  'lost',
] as const;
export type MemberState = (typeof MEMBER_STATES)[number];

export const ROLLOUT_COMMANDS = [
  'start',
  'pause',
  'resume',
  'approve',
  'abort',
  'undo',
  'drop',
] as const;
export type RolloutCommand = (typeof ROLLOUT_COMMANDS)[number];
