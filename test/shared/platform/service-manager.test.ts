// What systemd is told, and when; once through systemd's own program to a socket.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { silentLog, type Clock, type Log } from '../../../shared/base/interfaces.js';
import { realClock } from '../../../shared/platform/clock.js';
import { ServiceManager } from '../../../shared/platform/service-manager.js';

/** A clock whose timers run when the test says so. */
function timers(): { clock: Clock; waits: number[]; turn: () => void } {
  const waits: number[] = [];
  let next: (() => void) | null = null;
  const clock: Clock = {
    now: () => 0,
    monotonic: () => 0,
    after: (ms, fn) => {
      waits.push(ms);
      next = fn;
      return () => {
        next = null;
      };
    },
  };
  return { clock, waits, turn: () => next?.() };
}

function manager(env: Record<string, string>, send?: (message: string) => Promise<void>) {
  const told: string[] = [];
  const { clock, waits, turn } = timers();
  const note = (message: string): Promise<void> => {
    told.push(message);
    return send?.(message) ?? Promise.resolve();
  };
  const errors: object[] = [];
  const log: Log = { ...silentLog, error: (fields) => void errors.push(fields) };
  const made = new ServiceManager({ env, pid: 7, clock, log, send: note });
  return { made, told, waits, turn, errors };
}

const SOCKET = { NOTIFY_SOCKET: '/run/notify' };

describe('the service manager', () => {
  it('program_without_a_service_manager_tells_nobody', async () => {
    const { made, told } = manager({});
    await made.ready();
    await made.stopping();
    expect(told).toEqual([]);
  });

  it('unit_without_a_watchdog_is_told_of_start_and_stop_only', async () => {
    const { made, told, waits } = manager(SOCKET);
    await made.ready();
    await made.stopping();
    expect(told).toEqual(['READY=1', 'STOPPING=1']);
    expect(waits).toEqual([]);
  });

  it('watchdog_is_told_three_times_in_its_time_until_the_stop', async () => {
    const { made, told, waits, turn } = manager({ ...SOCKET, WATCHDOG_USEC: '180000000' });
    await made.ready();
    turn();
    turn();
    expect(told).toEqual(['READY=1', 'WATCHDOG=1', 'WATCHDOG=1']);
    expect(waits).toEqual([60_000, 60_000, 60_000]);
    await made.stopping();
    turn();
    expect(told.slice(3)).toEqual(['STOPPING=1']);
  });

  it('watchdog_of_another_process_is_not_told', async () => {
    const env = { ...SOCKET, WATCHDOG_USEC: '1000', WATCHDOG_PID: '8' };
    const { made, waits } = manager(env);
    await made.ready();
    expect(waits).toEqual([]);
  });

  it('message_that_cannot_be_sent_is_logged_and_ends_nothing', async () => {
    const { made, errors } = manager(SOCKET, () => Promise.reject(new Error('ENOENT')));
    await made.ready();
    expect(errors).toEqual([{ message: 'READY=1', err: 'Error: ENOENT' }]);
  });
});

const missing = ['systemd-notify', 'python3'].find(
  (program) => spawnSync(program, ['--version']).status !== 0,
);
const LISTENER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
print(s.recv(1000).decode().split("\\n")[0], flush=True)
s.recv(1000)
`;

it('systemd_notify_delivers_the_message', async (test) => {
  if (missing !== undefined) {
    console.log(`not tested: ${missing} is not installed`);
    return test.skip();
  }
  const folder = mkdtempSync(join(tmpdir(), 'linnet-notify-'));
  const path = join(folder, 'socket');
  const listener = spawn('python3', ['-c', LISTENER, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    let text = '';
    listener.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    await once(listener.stdout, 'data');
    process.env['NOTIFY_SOCKET'] = path;
    const env = { NOTIFY_SOCKET: path };
    await new ServiceManager({ env, pid: 1, clock: realClock, log: silentLog }).ready();
    if (listener.exitCode === null) await once(listener, 'exit');
    expect(text).toBe('bound\nREADY=1\n');
  } finally {
    delete process.env['NOTIFY_SOCKET'];
    listener.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  }
});
