// Device tokens for requests to the fleet server and for the MQTT password. One token serves
// several requests within its life, so that a poll does not sign each time. `clock` tells the time
// that the server goes by (server-time.ts).
import { limits } from '../../shared/base/limits.js';
import type { Clock, Random } from '../../shared/base/interfaces.js';
import { makeDeviceToken } from '../../shared/trust/device-token.js';
import type { DeviceIdentity } from './identity.js';

export function tokenSource(
  identity: DeviceIdentity,
  clock: Clock,
  random: Random,
): () => Promise<string> {
  let known: { token: string; at: number } | null = null;
  return async () => {
    const now = clock.now();
    if (known !== null && Math.abs(now - known.at) <= limits.deviceTokenReuseMs) return known.token;
    const token = await makeDeviceToken(identity.id, identity.key, now, random.bytes(32));
    known = { token, at: now };
    return token;
  };
}
