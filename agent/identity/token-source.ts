// Device tokens for requests to the fleet server and for the MQTT password. One token serves
// several requests within its life, so that a poll does not sign each time; each MQTT login has its
// own. `audience` names the director that the device was given, `clock` tells the time that the
// server goes by (server-time.ts).
import { limits } from '../../shared/base/limits.js';
import type { Clock, Random } from '../../shared/base/interfaces.js';
import { makeDeviceToken, type TokenUse } from '../../shared/trust/device-token.js';
import type { DeviceIdentity } from './identity.js';

export function tokenSource(
  { id, key }: DeviceIdentity,
  audience: string,
  clock: Clock,
  random: Random,
): (use: TokenUse) => Promise<string> {
  const make = (use: TokenUse): Promise<string> =>
    makeDeviceToken(key, {
      ...{ device: id, use, audience },
      ...{ nowMs: clock.now(), nonce: random.bytes(32) },
    });
  let known: { token: string; at: number } | null = null;
  return async (use) => {
    if (use === 'mqtt') return make(use);
    const now = clock.now();
    if (known !== null && Math.abs(now - known.at) <= limits.deviceTokenReuseMs) return known.token;
    const token = await make(use);
    known = { token, at: now };
    return token;
  };
}
