// The demo's processes: what a command prints for machines is read line by line, and what goes
// wrong in it reaches the caller that awaits the command. The commands are small scripts in place
// of `linnet`.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EXIT, printError } from '../../../firmware-tools/cli/output.js';
import { Processes } from '../../../firmware-tools/demo/processes.js';
import { Fault } from '../../../shared/base/fault-codes.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'linnet-demo-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Processes whose command line runs `body` instead of linnet. */
function running(body: string, onDeath: (reasons: string) => void = () => {}): Processes {
  const script = join(folder, 'command.cjs');
  writeFileSync(script, body);
  return new Processes({ root: folder, env: process.env, say: () => {}, onDeath, script });
}

it('an_error_is_one_line_of_json_whatever_it_is', () => {
  for (const error of [new Fault('not_found', 'no such\nthing'), new Error('a bug')]) {
    let out = '';
    printError(error, true, { out: (text) => (out += text), err: () => {} });
    expect(out.endsWith('}\n')).toBe(true);
    expect(out.trimEnd().split('\n')).toHaveLength(1);
  }
});

it('follow_tells_each_value_and_a_last_one_without_a_line_end', async () => {
  const seen: number[] = [];
  const code = await running(
    `process.stdout.write('1\\n2\\n3'); process.exitCode = ${EXIT.badNews};`,
  ).follow<number>([], (value) => seen.push(value));
  expect({ seen, code }).toEqual({ seen: [1, 2, 3], code: EXIT.badNews });
});

it('follow_rejects_with_the_error_that_the_command_printed', async () => {
  const body = JSON.stringify({
    error: 'the server is away',
    code: 'server_unreachable',
    kind: 'flaked',
    todo: 'wait',
  });
  const seen: unknown[] = [];
  const following = running(
    `console.log('1'); console.log('${body}'); process.exitCode = 4;`,
  ).follow(['rollout', 'watch'], (value) => seen.push(value));
  await expect(following).rejects.toThrow(
    'linnet rollout watch ended with exit code 4: server_unreachable: the server is away',
  );
  expect(seen).toEqual([1]);
});

it('follow_rejects_when_a_line_is_no_json_and_ends_the_command', async () => {
  await expect(
    running(`console.log('{ oops'); setInterval(() => {}, 1000);`).follow([], () => {}),
  ).rejects.toThrow(SyntaxError);
});

it('follow_rejects_with_what_its_reader_throws', async () => {
  const following = running(`console.log('1'); setInterval(() => {}, 1000);`).follow([], () => {
    throw new Error('the reader tripped');
  });
  await expect(following).rejects.toThrow('the reader tripped');
});

it('stopping_ends_a_command_under_way_and_a_daemon_and_starts_nothing_more', async () => {
  const deaths: string[] = [];
  const processes = running(`console.log(process.pid); setInterval(() => {}, 1000);`, (reasons) =>
    deaths.push(reasons),
  );
  processes.daemon('keeper', []);
  let tell: (pid: number) => void = () => {};
  const started = new Promise<number>((resolve) => {
    tell = resolve;
  });
  const following = processes
    .follow<number>(['watch'], tell)
    .catch((error: Error) => error.message);
  const pid = await started;
  await processes.stop();
  expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  expect(await following).toMatch(/linnet watch ended with exit code/);
  expect(deaths).toEqual([]);
  expect(() => processes.daemon('late', [])).toThrow('late is not started');
  await expect(processes.quiet(['device', 'list'])).rejects.toThrow(
    'linnet device list is not started',
  );
});
