// The smallest document of each role, not signed: for tests of what decodes.
import type { Role, SignedOf } from '../../shared/trust/documents.js';

/** A role that no key may sign for. */
export const noKeys = () => ({ keyids: [] as string[], threshold: 1 });
const ROLE_FIELDS: Record<Role, () => object> = {
  root: () => ({
    consistent_snapshot: true,
    keys: {},
    roles: { root: noKeys(), timestamp: noKeys(), snapshot: noKeys(), targets: noKeys() },
  }),
  timestamp: () => ({ meta: { 'snapshot.json': { version: 1 } } }),
  snapshot: () => ({ meta: {} }),
  targets: () => ({ targets: {} }),
};

/** The smallest document of the role. */
export function signedOf<R extends Role>(role: R): SignedOf<R> {
  const head = { _type: role, spec_version: '1.0.31', version: 1, expires: '2027-01-01T00:00:00Z' };
  return { ...head, ...ROLE_FIELDS[role]() } as unknown as SignedOf<R>;
}
