// The log of a daemon: one JSON object a line on stderr, written before the call returns, so that
// the last lines before a crash are there. The supervisor of the process adds host and pid.
import { pino } from 'pino';
import type { Log } from '../base/interfaces.js';

const SECRETS = ['authorization', 'password', 'token', 'claim'];

/** No code logs a credential; `redact` is a second protection. */
export function stderrLog(level: string): Log {
  return pino(
    {
      level,
      base: null,
      redact: { paths: [...SECRETS, ...SECRETS.map((name) => `*.${name}`)], remove: true },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}
