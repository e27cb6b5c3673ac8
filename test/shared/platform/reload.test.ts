// SIGHUP: what changes, what is said, and that a mistake in the file ends nothing.
import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import { Fault } from '../../../shared/base/fault-codes.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import type { DaemonLog } from '../../../shared/platform/logger.js';
import { reloadOnHangup } from '../../../shared/platform/reload.js';

interface Settings {
  log_level: string;
  data_dir: string;
  http: { port: number };
}
const started: Settings = { log_level: 'info', data_dir: '/a', http: { port: 1 } };

function hangup(read: () => Settings): { level: string | null; lines: string[] } {
  const seen = { level: null as string | null, lines: [] as string[] };
  const line = (level: string) => (fields: object, message: string) =>
    void seen.lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  const log: DaemonLog = {
    ...silentLog,
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    setLevel: (level) => (seen.level = level),
  };
  const signals = new EventEmitter();
  reloadOnHangup({ settings: started, read, log, signals });
  signals.emit('SIGHUP');
  return seen;
}

it('the_level_of_the_log_changes_at_once', () => {
  const { level, lines } = hangup(() => ({ ...started, log_level: 'debug' }));
  expect(level).toBe('debug');
  expect(lines).toEqual(['info configuration reloaded {"log_level":"debug"}']);
});

it('what_needs_a_new_start_is_named', () => {
  const { lines } = hangup(() => ({ ...started, data_dir: '/b', http: { port: 2 } }));
  expect(lines[1]).toBe(
    'warn these settings changed and take effect at the next start only ' +
      '{"keys":["data_dir","http"]}',
  );
});

it('a_configuration_with_mistakes_changes_nothing_and_ends_nothing', () => {
  const { level, lines } = hangup(() => {
    throw new Fault('config_invalid', '1 mistake(s)');
  });
  expect(level).toBeNull();
  expect(lines).toEqual([
    'error configuration not reloaded; everything stays as it was {"reasons":"1 mistake(s)"}',
  ]);
});
