// Who is signed in, and what the token's role may do. The server decides; the console only leaves
// out buttons that would be refused.
import type { Role, Self } from '../../../shared/protocol/operator-api.js';
import { createContext } from 'preact';
import { useContext } from 'preact/hooks';

/** Each role may do what the roles before it may. */
const ROLES: readonly Role[] = ['viewer', 'publisher', 'operator', 'admin'];

export const SelfContext = createContext<Self | null>(null);

export function useMay(): (needed: Role) => boolean {
  const self = useContext(SelfContext);
  return (needed) => self !== null && ROLES.indexOf(self.role) >= ROLES.indexOf(needed);
}
