// SIGHUP for a daemon: the configuration is read again, and what can change while it runs does.
// A configuration with mistakes changes nothing and ends nothing: the mistakes are in the log.
import { isFault } from '../base/fault-codes.js';
import type { DaemonLog } from './logger.js';

interface Settings {
  readonly log_level: string;
}

export interface ReloadOptions<S extends Settings> {
  /** The settings that the process started with. */
  readonly settings: S;
  /** File and environment, read anew. */
  readonly read: () => S;
  readonly log: DaemonLog;
  /** `process`. */
  readonly signals: { on(signal: 'SIGHUP', listener: () => void): unknown };
}

/** From now on SIGHUP reloads; it no longer ends the process. */
export function reloadOnHangup<S extends Settings>(options: ReloadOptions<S>): void {
  options.signals.on('SIGHUP', () => reload(options));
}

function reload<S extends Settings>({ settings, read, log }: ReloadOptions<S>): void {
  let fresh: S;
  try {
    fresh = read();
  } catch (error) {
    const reasons = isFault(error) ? error.detail : String(error);
    log.error({ reasons }, 'configuration not reloaded; everything stays as it was');
    return;
  }
  log.setLevel(fresh.log_level);
  log.info({ log_level: fresh.log_level }, 'configuration reloaded');
  const fixed = Object.keys({ ...settings, ...fresh }).filter(
    (key) => key !== 'log_level' && !isSame(settings, fresh, key as keyof S),
  );
  if (fixed.length > 0)
    log.warn({ keys: fixed }, 'these settings changed and take effect at the next start only');
}

const isSame = <S>(before: S, after: S, key: keyof S): boolean =>
  JSON.stringify(before[key]) === JSON.stringify(after[key]);
