// A repository and a trusted set, step by step, without a client: for tests of single steps.
import {
  startTrust,
  withSnapshot,
  withTargets,
  withTimestamp,
  type TrustedSet,
} from '../../shared/trust/trusted-set.js';
import { RepositorySimulator, SimClock, START_MS, type TopRole } from '../sim/tuf-repositories.js';

export type Name = 'image' | 'director';

/** A repository, and a set that trusts its first root and nothing else. */
export function begun(name: Name = 'image'): { repository: RepositorySimulator; set: TrustedSet } {
  const device = name === 'director' ? 'dev-1' : null;
  const repository = new RepositorySimulator(name, new SimClock(), device);
  return { repository, set: startTrust(name, repository.get('1.root.json'), device) };
}

export const stamped = (repository: RepositorySimulator, set: TrustedSet): TrustedSet =>
  withTimestamp(set, repository.get('timestamp.json'), START_MS);

export const snapped = (repository: RepositorySimulator, set: TrustedSet): TrustedSet =>
  withSnapshot(stamped(repository, set), repository.get(repository.latest('snapshot')), START_MS);

export const targeted = (repository: RepositorySimulator, set: TrustedSet): TrustedSet =>
  withTargets(snapped(repository, set), repository.get(repository.latest('targets')), START_MS);

/** A repository, and a set that trusts everything in it. */
export function complete(name: Name = 'image'): {
  repository: RepositorySimulator;
  set: TrustedSet;
} {
  const { repository, set } = begun(name);
  return { repository, set: targeted(repository, set) };
}

export const ROLES = ['timestamp', 'snapshot', 'targets'] as const;
/** Signs documents of one role anew, and those above it so that they name it. */
export function sign(
  repository: RepositorySimulator,
  role: TopRole,
  change: (signed: Record<string, unknown>) => void,
  signers = repository.keys[role],
): void {
  if (role === 'targets') repository.signTargets(change, signers);
  if (role === 'snapshot') repository.signSnapshot(change, signers);
  if (role === 'targets') repository.signSnapshot();
  if (role === 'timestamp') repository.signTimestamp(change, signers);
  else repository.signTimestamp();
}
