// How many connections each listener may hold, so that together they leave descriptors for the
// database, the log and the files that are served: a process without descriptors cannot write, and
// one listener must not take those of the other. Under a low limit (`ulimit -n`) the listeners get
// less than limits.ts says.
import { readFileSync } from 'node:fs';
import { limits } from '../../shared/base/limits.js';
import { systemCode } from '../../shared/base/fault-codes.js';

export interface ListenerLimits {
  readonly maxCount: number;
  readonly perAddressMaxCount: number;
}

/** Open descriptors that the process may have; null where the system does not say. */
export function openFilesMaxCount(file = '/proc/self/limits'): number | null {
  try {
    const found = /^Max open files +(\d+)/m.exec(readFileSync(file, 'latin1'))?.[1];
    return found === undefined ? null : Number(found);
  } catch (error) {
    // Not Linux.
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}

/** The share of each listener. One address never gets more than half of it. */
export function listenerLimits(openFiles: number | null): {
  readonly http: ListenerLimits;
  readonly mqtt: ListenerLimits;
} {
  // A served file needs a descriptor beside its connection.
  const spare = Math.max(0, (openFiles ?? Infinity) - limits.openFilesReservedCount);
  const share = (parts: number, maxCount: number, perAddressMaxCount: number): ListenerLimits => {
    const most = Math.max(1, Math.min(maxCount, Math.floor(spare / parts)));
    return {
      maxCount: most,
      perAddressMaxCount: Math.max(1, Math.min(perAddressMaxCount, Math.floor(most / 2))),
    };
  };
  return {
    http: share(4, limits.httpConnectionsMaxCount, limits.httpConnectionsPerAddressMaxCount),
    mqtt: share(2, limits.mqttClientsMaxCount, limits.mqttLoginsPerAddressMaxCount),
  };
}
