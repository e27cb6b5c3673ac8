// Errors of the database as faults. Every part of the server may meet one, so the mapping stands
// beside the store and not in it: nothing but main imports the store.
import { Fault, reason, systemCode } from '../shared/base/fault-codes.js';

/** SQLite's own errors as faults; anything else is rethrown as it is (a bug). */
export function databaseFault(error: unknown, doing: string): unknown {
  const code = systemCode(error);
  if (code === 'SQLITE_FULL')
    return new Fault('disk_full', `${doing}: ${reason(error)}`, { cause: error });
  if (
    code?.startsWith('SQLITE_IOERR') === true ||
    code?.startsWith('SQLITE_CANTOPEN') === true ||
    code === 'SQLITE_CORRUPT' ||
    code === 'SQLITE_NOTADB' ||
    code === 'SQLITE_READONLY'
  ) {
    return new Fault('disk_failed', `${doing}: ${reason(error)}`, { cause: error });
  }
  return error;
}
