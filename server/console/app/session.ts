// The operator token of this tab. It is kept in sessionStorage, which ends with the tab, and is
// sent in the header Authorization only, never in a URL.
import { signal } from './signal.js';

const KEY = 'linnet-operator-token';

/** Null: signed out. */
export const token = signal<string | null>(sessionStorage.getItem(KEY));
/** Why the person was signed out. */
export const signedOutBecause = signal<string | null>(null);

export function signIn(value: string): void {
  sessionStorage.setItem(KEY, value);
  signedOutBecause.set(null);
  token.set(value);
}

export function signOut(because: string | null = null): void {
  sessionStorage.removeItem(KEY);
  signedOutBecause.set(because);
  token.set(null);
}
