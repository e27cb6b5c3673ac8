// Secrets that let people and new devices in: operator tokens `lnt_...` and claim tokens `lnc_...`.
// Each is 32 random bytes, shown once and stored only as SHA-256; with that much randomness no slow
// hash is needed. Looking a hash up and then comparing it in constant time leaves nothing to
// measure.
import { timingSafeEqual } from 'node:crypto';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Random } from '../../shared/base/interfaces.js';
import { ROLES, type Role } from '../../shared/protocol/operator-api.js';
import { sha256 } from '../../shared/base/bytes.js';
import type { TokenStore } from '../interfaces.js';

const SECRET_BYTES = 32;
const OPERATOR = /^lnt_[A-Za-z0-9_-]{43}$/;

export interface Operator {
  readonly name: string;
  readonly role: Role;
}

const secret = (prefix: 'lnt' | 'lnc', random: Random): string =>
  `${prefix}_${Buffer.from(random.bytes(SECRET_BYTES)).toString('base64url')}`;
export const newOperatorToken = (random: Random): string => secret('lnt', random);
export const newClaimToken = (random: Random): string => secret('lnc', random);

/** The operator of an `Authorization: Bearer lnt_...` header; else Fault `auth_missing`. */
export async function operatorOf(
  header: string | undefined,
  tokens: TokenStore,
): Promise<Operator> {
  const token = /^Bearer +(\S+)$/i.exec(header ?? '')?.[1];
  if (token === undefined || !OPERATOR.test(token))
    throw new Fault('auth_missing', 'this needs an operator token: Authorization: Bearer lnt_...');
  const hash = sha256(token);
  const row = await tokens.valid(hash);
  if (row === null || !timingSafeEqual(Buffer.from(row.hash, 'hex'), Buffer.from(hash, 'hex')))
    throw new Fault('auth_missing', 'the operator token is unknown or revoked');
  return { name: row.name, role: row.role };
}

/** Each role may do what the roles before it may. */
export function mayActAs(operator: Operator, needed: Role): boolean {
  return ROLES.indexOf(operator.role) >= ROLES.indexOf(needed);
}
