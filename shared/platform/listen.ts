// Starts a server on an address, with one Fault for an address that is taken and one for an address
// that cannot be used.
import type { Server } from 'node:net';
import { Fault, reason, systemCode } from '../base/fault-codes.js';

/**
 * Resolves when `server` listens, after `start` called its listen(). `where` names the address in
 * messages. Faults: port_in_use, config_invalid.
 */
export function listening(server: Server, where: string, start: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: unknown): void => reject(listenFault(error, where));
    server.once('error', failed);
    server.once('listening', () => {
      server.removeListener('error', failed);
      resolve();
    });
    start();
  });
}

/** The Fault of a failed listen(); what is not a system error passes unchanged. */
export function listenFault(error: unknown, where: string): unknown {
  const code = systemCode(error);
  if (code === 'EADDRINUSE')
    return new Fault('port_in_use', `${where} is already in use`, { cause: error });
  if (code === undefined) return error;
  return new Fault('config_invalid', `cannot listen on ${where}: ${reason(error)}`, {
    cause: error,
  });
}
