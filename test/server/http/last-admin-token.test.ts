// The last admin token: nobody could make tokens without it, so it is revoked by force only.
import { expect, it } from 'vitest';
import type { FleetClient } from '../../../firmware-tools/fleet/fleet-client.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { RevokedTokens, TokenPage } from '../../../shared/protocol/operator-api.js';
import { clientAs, startFleet } from '../../support/fleet-server.js';

const codeOf = (asked: Promise<unknown>): Promise<string> =>
  asked.then(
    () => 'no fault',
    (error: unknown) => (isFault(error) ? error.code : 'no code'),
  );

it('the_last_admin_token_is_revoked_by_force_only', async () => {
  const own = await startFleet();
  const tokens = (client: FleetClient) => codeOf(client.list('/tokens', TokenPage));
  const revoke = (client: FleetClient, name: string, body: object = {}) =>
    codeOf(client.request('POST', `/tokens/${name}/revoke`, RevokedTokens, body));
  const [first] = await own.admin.list('/tokens', TokenPage);
  const name = first?.name ?? '';
  await clientAs(own, 'operator');
  expect(await revoke(own.admin, name)).toBe('conflict');
  expect(await revoke(own.admin, name, { force: false })).toBe('conflict');
  const [second, third] = [await clientAs(own, 'admin'), await clientAs(own, 'admin')];
  expect(await revoke(own.admin, name)).toBe('no fault');
  expect(await tokens(own.admin)).toBe('auth_missing');
  expect(await revoke(second, 'a-admin')).toBe('conflict');
  expect(await revoke(second, 'a-operator')).toBe('no fault');
  expect([await tokens(second), await tokens(third)]).toEqual(['no fault', 'no fault']);
  expect(await revoke(second, 'a-admin', { force: true })).toBe('no fault');
  expect(await tokens(third)).toBe('auth_missing');
  await own.close();
});
