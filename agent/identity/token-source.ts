// Device tokens for requests to the fleet server and for the MQTT password. One token serves several
// requests within its life, so that a poll does not sign each time.
import type { Clock, Random } from '../../shared/base/interfaces.js';
import { makeDeviceToken } from '../../shared/trust/signer.js';
import type { DeviceIdentity } from './identity.js';

const TOKEN_REUSE_MS = 60_000;

export function tokenSource(identity: DeviceIdentity, clock: Clock, random: Random): () => string {
  let known: { token: string; at: number } | null = null;
  return () => {
    const now = clock.now();
    if (known === null || Math.abs(now - known.at) > TOKEN_REUSE_MS)
      known = { token: makeDeviceToken(identity.id, identity.key, now, random.bytes(32)), at: now };
    return known.token;
  };
}
