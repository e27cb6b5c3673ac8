// Tokens that are shared secrets: operator tokens `lnt_...` and claim tokens `lnc_...`. Each has 32
// random bytes, is shown once, and is stored only as its SHA-256; with that much randomness no slow
// hash is needed. A token is looked up by its hash, and the hashes are compared in constant time,
// so that the time of an answer says nothing about other tokens.
import { timingSafeEqual } from 'node:crypto';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Random } from '../../shared/base/interfaces.js';
import type { Role } from '../../shared/protocol/operator-api.js';
import { ROLES } from '../../shared/protocol/states.js';
import { sha256 } from '../../shared/base/bytes.js';
import type { TokenStore } from '../interfaces.js';

/** Fixed by the form of a token: 43 characters of base64url. */
const SECRET_BYTES = 32;
const OPERATOR = /^lnt_[A-Za-z0-9_-]{43}$/;

export interface Operator {
  readonly name: string;
  readonly role: Role;
  /** SHA-256 of the token that calls. */
  readonly tokenHash: string;
}

const secret = (prefix: 'lnt' | 'lnc', random: Random): string =>
  `${prefix}_${Buffer.from(random.bytes(SECRET_BYTES)).toString('base64url')}`;
export const newOperatorToken = (random: Random): string => secret('lnt', random);
export const newClaimToken = (random: Random): string => secret('lnc', random);

/** The operator of an `Authorization: Bearer lnt_...` header. Faults: auth_missing. */
export async function operatorOf(
  header: string | undefined,
  tokens: Pick<TokenStore, 'valid'>,
): Promise<Operator> {
  const token = /^Bearer +(\S+)$/i.exec(header ?? '')?.[1];
  if (token === undefined || !OPERATOR.test(token))
    throw new Fault(
      'auth_missing',
      'no well-formed operator token: send Authorization: Bearer lnt_...',
    );
  const hash = sha256(token);
  const row = await tokens.valid(hash);
  if (row === null || !timingSafeEqual(Buffer.from(row.hash, 'hex'), Buffer.from(hash, 'hex')))
    throw new Fault('auth_missing', 'the operator token is unknown or revoked');
  return { name: row.name, role: row.role, tokenHash: hash };
}

/** Each role may do what the roles before it may. */
export function mayActAs(operator: Pick<Operator, 'role'>, needed: Role): boolean {
  return ROLES.indexOf(operator.role) >= ROLES.indexOf(needed);
}
