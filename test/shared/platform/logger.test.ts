// The log of a daemon, as another process reads it from stderr.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const LOGGER = fileURLToPath(new URL('../../../dist/shared/platform/logger.js', import.meta.url));

/** Runs `code` with `log` of the level info, and returns the lines that it left on stderr. */
function linesOf(code: string): unknown[] {
  const script = `import { stderrLog } from ${JSON.stringify(LOGGER)};
    const log = stderrLog('info');
    ${code}
    process.kill(process.pid, 'SIGKILL');`;
  const args = ['--input-type=module', '--eval', script];
  const { stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return stderr.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as unknown]));
}

it('line_before_a_crash_is_there_and_names_no_host', () => {
  const [line, ...more] = linesOf(`log.info({ device: 'dev-1' }, 'the end');`);
  expect(line).toEqual({
    level: 30,
    time: expect.any(Number) as number,
    device: 'dev-1',
    msg: 'the end',
  });
  expect(more).toEqual([]);
});

it('credentials_are_removed_and_an_error_has_its_stack', () => {
  const [line] = linesOf(
    `log.child({ token: 'secret-1' }).warn(
      { claim: 'secret-2', headers: { authorization: 'secret-3' }, err: new Error('why') }, 'x');`,
  );
  expect(JSON.stringify(line)).not.toContain('secret');
  expect(line).toMatchObject({
    err: { message: 'why', stack: expect.stringContaining('at ') as string },
  });
});

it('lines_below_the_level_are_not_written', () => {
  expect(linesOf(`log.debug({}, 'x');`)).toEqual([]);
});

it('a_new_level_counts_for_children_that_were_made_before', () => {
  const lines = linesOf(
    `const child = log.child({ room: 'a' });
    log.setLevel('debug'); child.debug({}, 'seen');
    log.setLevel('silent'); child.error({}, 'unseen');`,
  );
  expect(lines).toMatchObject([{ level: 20, room: 'a', msg: 'seen' }]);
});
