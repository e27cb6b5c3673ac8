// The log of a daemon: one JSON object a line on stderr, written before the call returns, so that
// the last lines before a crash are there. The supervisor of the process adds host and pid.
import { pino } from 'pino';
import type { Log } from '../base/interfaces.js';

const SECRETS = ['authorization', 'password', 'token', 'claim'];

/** A log whose level can change while the process runs, also that of its children. */
export interface DaemonLog extends Log {
  setLevel(level: string): void;
}

/** No code logs a credential; `redact` is a second protection. */
export function stderrLog(level: string): DaemonLog {
  const root = pino(
    {
      level: 'debug',
      base: null,
      redact: { paths: [...SECRETS, ...SECRETS.map((name) => `*.${name}`)], remove: true },
    },
    pino.destination({ fd: 2, sync: true }),
  );
  const threshold = { value: valueOf(level) };
  return { ...levelled(root, threshold), setLevel: (next) => (threshold.value = valueOf(next)) };
}

/** `silent` and what pino does not know: nothing is written. */
const valueOf = (level: string): number => pino.levels.values[level] ?? Infinity;

/** A child of pino keeps the level of its birth, so the level is asked for here at each line. */
function levelled(log: Log, threshold: { readonly value: number }): Log {
  const { debug = 0, info = 0, warn = 0, error = 0 } = pino.levels.values;
  return {
    debug: (fields, message) => {
      if (debug >= threshold.value) log.debug(fields, message);
    },
    info: (fields, message) => {
      if (info >= threshold.value) log.info(fields, message);
    },
    warn: (fields, message) => {
      if (warn >= threshold.value) log.warn(fields, message);
    },
    error: (fields, message) => {
      if (error >= threshold.value) log.error(fields, message);
    },
    child: (fields) => levelled(log.child(fields), threshold),
  };
}
