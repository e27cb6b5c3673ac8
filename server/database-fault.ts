// Errors of the database as faults. Every part of the server may meet one, so the mapping stands
// beside the store and not in it: nothing but main imports the store.
import { Fault, reason, systemCode } from '../shared/base/fault-codes.js';

/** Errors of SQLite and PostgreSQL as faults; anything else is rethrown as it is (a bug). */
export function databaseFault(error: unknown, doing: string): unknown {
  const code = systemCode(error);
  if (code === 'SQLITE_FULL' || code === POSTGRES_DISK_FULL)
    return new Fault('disk_full', `${doing}: ${reason(error)}`, { cause: error });
  if (
    code?.startsWith('SQLITE_IOERR') === true ||
    code?.startsWith('SQLITE_CANTOPEN') === true ||
    code === 'SQLITE_CORRUPT' ||
    code === 'SQLITE_NOTADB' ||
    code === 'SQLITE_READONLY' ||
    code === POSTGRES_IO_ERROR
  ) {
    return new Fault('disk_failed', `${doing}: ${reason(error)}`, { cause: error });
  }
  if (UNREACHABLE.has(code ?? '') || LOST_CONNECTION.test(reason(error)))
    return new Fault('database_unreachable', `${doing}: ${reason(error)}`, { cause: error });
  return error;
}

const POSTGRES_DISK_FULL = '53100';
const POSTGRES_IO_ERROR = '58030';
/**
 * No connection; a server that stops, starts or is full; a login that it refuses; a statement that
 * it gave up.
 */
const UNREACHABLE: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  '08000',
  '08001',
  '08003',
  '08004',
  '08006',
  '28000',
  '28P01',
  '3D000',
  '53300',
  '57014',
  '57P01',
  '57P02',
  '57P03',
]);
/** pg gives these no code. */
const LOST_CONNECTION =
  /^(?:Connection terminated|timeout exceeded when trying|Client has encountered a connection err)/;
