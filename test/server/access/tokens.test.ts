// Operator tokens and roles, both ways: what is accepted and what is not.
import { describe, expect, it } from 'vitest';
import {
  mayActAs,
  newClaimToken,
  newOperatorToken,
  operatorOf,
} from '../../../server/access/tokens.js';
import type { TokenRow } from '../../../server/interfaces.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import type { Role } from '../../../shared/protocol/operator-api.js';
import { ROLES } from '../../../shared/protocol/states.js';

const TOKEN = `lnt_${'A'.repeat(43)}`;
const ROW: TokenRow = { hash: sha256(TOKEN), name: 'anna', role: 'operator' };

interface Asked {
  readonly asked: string[];
  valid(hash: string): Promise<TokenRow | null>;
}
const tokensWith = (row: TokenRow | null): Asked => {
  const asked: string[] = [];
  return {
    asked,
    valid: (hash) => {
      asked.push(hash);
      return Promise.resolve(row);
    },
  };
};
const refusal = (header: string | undefined, tokens = tokensWith(ROW)): Promise<string> =>
  operatorOf(header, tokens).then(
    (operator) => `accepted ${operator.name}`,
    (error: unknown) => (isFault(error) ? `${error.code}: ${error.detail}` : String(error)),
  );

describe('operator tokens', () => {
  it('a_valid_token_names_its_operator_and_is_looked_up_by_its_hash', async () => {
    const tokens = tokensWith(ROW);
    expect(await operatorOf(`Bearer ${TOKEN}`, tokens)).toMatchObject({
      name: 'anna',
      role: 'operator',
    });
    expect(tokens.asked).toEqual([sha256(TOKEN)]);
    expect(await refusal(`bearer   ${TOKEN}`)).toBe('accepted anna');
  });

  it.each([
    ['missing', undefined],
    ['empty', ''],
    ['without_scheme', TOKEN],
    ['other_scheme', `Basic ${TOKEN}`],
    ['scheme_in_the_middle', `x Bearer ${TOKEN}`],
    ['two_tokens', `Bearer ${TOKEN} ${TOKEN}`],
    ['claim_token', `Bearer lnc_${'A'.repeat(43)}`],
    ['too_short', `Bearer lnt_${'A'.repeat(42)}`],
    ['too_long', `Bearer lnt_${'A'.repeat(44)}`],
    ['foreign_character', `Bearer lnt_${'A'.repeat(42)}!`],
    ['prefix_before_it', `Bearer x${TOKEN}`],
  ])('%s_is_refused_without_a_look_up', async (_name, header) => {
    const tokens = tokensWith(ROW);
    expect(await refusal(header, tokens)).toBe(
      'auth_missing: no well-formed operator token: send Authorization: Bearer lnt_...',
    );
    expect(tokens.asked).toEqual([]);
  });

  it('an_unknown_token_and_a_row_of_another_hash_are_refused', async () => {
    expect(await refusal(`Bearer ${TOKEN}`, tokensWith(null))).toMatch(/unknown or revoked/);
    const other = { ...ROW, hash: sha256('another') };
    expect(await refusal(`Bearer ${TOKEN}`, tokensWith(other))).toMatch(/unknown or revoked/);
    const first = {
      ...ROW,
      hash:
        `0${ROW.hash.slice(1)}` === ROW.hash ? `1${ROW.hash.slice(1)}` : `0${ROW.hash.slice(1)}`,
    };
    expect(await refusal(`Bearer ${TOKEN}`, tokensWith(first))).toMatch(/unknown or revoked/);
  });

  it('new_tokens_carry_32_random_bytes_behind_their_prefix', () => {
    const asked: number[] = [];
    const random = {
      bytes: (count: number) => {
        asked.push(count);
        return new Uint8Array(count).fill(255);
      },
      fraction: () => 0,
    };
    expect(newOperatorToken(random)).toBe(`lnt_${'_'.repeat(42)}8`);
    expect(newClaimToken(random)).toBe(`lnc_${'_'.repeat(42)}8`);
    expect(asked).toEqual([32, 32]);
  });
});

describe('roles', () => {
  const pairs = ROLES.flatMap((has, at) =>
    ROLES.map((needs, level): [Role, Role, boolean] => [has, needs, at >= level]),
  );
  it.each(pairs)('%s_may_act_as_%s_is_%s', (role, needed, expected) => {
    expect(mayActAs({ role }, needed)).toBe(expected);
  });
});
