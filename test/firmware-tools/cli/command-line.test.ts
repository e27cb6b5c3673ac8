// The `linnet` command line itself: what a wrong one ends with, for a person and for a machine, and
// where help is found.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeEach, expect, it } from 'vitest';
import { EXIT } from '../../../firmware-tools/cli/output.js';
import { linnet } from '../../../firmware-tools/cli/main.js';

interface Ran {
  code: number;
  out: string;
  err: string;
}

beforeEach(() => {
  process.exitCode = undefined;
});

async function run(...args: string[]): Promise<Ran> {
  const ran: Ran = { code: -1, out: '', err: '' };
  ran.code = await linnet(args, {
    out: (text) => (ran.out += text),
    err: (text) => (ran.err += text),
  });
  return ran;
}

const WRONG: [string, string[], RegExp][] = [
  ['no subcommand at all', [], /linnet needs a subcommand/],
  ['no subcommand of a command', ['model'], /linnet model needs a subcommand/],
  ['an unknown command', ['modle'], /unknown command 'modle'/],
  ['a name that every object has', ['constructor'], /unknown command 'constructor'/],
  ['an unknown option', ['model', 'inspect', 'x.onnx', '--deep'], /unknown option '--deep'/],
  ['a missing argument', ['model', 'inspect'], /missing required argument 'file'/],
];

it.each(WRONG)('a_command_line_with_%s_is_a_usage_error', async (_name, args) => {
  const { code, out, err } = await run(...args);
  expect({ code, out }).toEqual({ code: EXIT.usage, out: '' });
  expect(err).not.toBe('');
});

it.each(WRONG)('with_json_%s_is_one_line_on_stdout', async (_name, args, reasons) => {
  const { code, out, err } = await run(...args, '--json');
  expect({ code, err }).toEqual({ code: EXIT.usage, err: '' });
  expect(out.trimEnd().split('\n')).toHaveLength(1);
  const body = JSON.parse(out) as { error: string; code: string };
  expect(body.code).toBe('usage');
  expect(body.error).toMatch(reasons);
});

it('help_is_the_same_wherever_it_is_asked_for', async () => {
  for (const args of [[], ['model'], ['model', 'quantize'], ['publish']]) {
    const before = await run('help', ...args);
    const after = await run(...args, '--help');
    expect(before).toEqual(after);
    expect(after.code).toBe(EXIT.done);
    expect(after.out).toMatch(new RegExp(`Usage: ${['linnet', ...args].join(' ')}`));
  }
});

it.each([
  [['release', 'show', 'digits@1'], 'digits@1: the version must be a version such as 1.0.0'],
  [
    ['release', 'lineage', 'Digits@1.0.0'],
    'Digits@1.0.0: the component must be 1 to 63 characters',
  ],
  [['group', 'set', 'No Group', 'cam-1'], 'group No Group: must be 1 to 63 characters'],
  [['device', 'approve', 'cam-1', '--group', 'A'], '--group A: must be'],
  [['device', 'approve', 'cam-1', '--fingerprint', 'xyz'], '--fingerprint xyz: must be'],
  [['device', 'claim', '--group', 'a', '--uses', '0'], '--uses 0: must be >= 1'],
  [['device', 'label', 'cam-1', 'Site=north'], 'label Site=north: '],
  [['rollout', 'create', 'digits@1.0.0', '--canary', 'A'], '--canary A: must be'],
  [['token', 'create', 'a b', '--role', 'viewer'], 'name a b: must be'],
])('a_wrong_argument_is_named_before_a_server_is_asked_%j', async (args, why) => {
  const { code, err } = await run(...args, '--server', 'http://127.0.0.1:1');
  expect([code, err]).toEqual([EXIT.usage, expect.stringContaining(`error: ${why}`)]);
});

it('everything_that_is_missing_is_told_at_once_and_where_help_is', async () => {
  const { code, err } = await run('bundle', 'build');
  expect(code).toBe(EXIT.usage);
  expect(err).toMatch(/^error: these are missing: <spec>, --key <file>, --output <file>\n/);
  expect(err).toContain('\nsee: linnet bundle build --help\n');
  expect((await run('rollout', 'start')).err).toBe(
    "error: missing required argument 'rollout'\nsee: linnet rollout start --help\n",
  );
});

it.each([
  [['help', 'nosuch'], "unknown command 'nosuch'"],
  [['nosuch', '--help'], "unknown command 'nosuch'"],
  [['help', 'device', 'lst'], "unknown command 'lst'\n(Did you mean list?)"],
])('help_of_what_is_not_there_says_so_%j', async (args, why) => {
  const { code, err, out } = await run(...args);
  expect([code, out]).toEqual([EXIT.usage, '']);
  expect(err).toContain(`error: ${why}`);
});

it('an_id_is_taken_without_the_white_space_around_it_and_never_empty', async () => {
  const at = ['--server', 'http://127.0.0.1:1'];
  process.env['LINNET_TOKEN'] = `lnt_${'0'.repeat(43)}`;
  const pasted = await run('rollout', 'show', ' ro-1\n', ...at);
  const several = await run('group', 'set', 'a ', '\tcam-1', ...at);
  const empty = await run('device', 'show', ' ', ...at);
  Reflect.deleteProperty(process.env, 'LINNET_TOKEN');
  expect(pasted.err).toContain('/rollouts/ro-1: ');
  expect(several.err).toContain('/devices/cam-1: ');
  expect([empty.code, empty.err]).toEqual([
    EXIT.usage,
    expect.stringContaining('<device> is empty'),
  ]);
});

it.each([
  [['device', 'list', '--limit', 'x'], '--limit: x is not a whole number'],
  [['rollout', 'create', 'a@1.0.0', '--then', '50,10'], '--then: 50,10: shares are whole percents'],
  [['audit', 'list', '--since', 'x'], '--since: x is not a time'],
])('a_value_that_an_option_cannot_take_is_refused_with_its_name_%j', async (args, why) => {
  const { code, err } = await run(...args);
  expect([code, err]).toEqual([EXIT.usage, expect.stringContaining(`error: ${why}`)]);
});

it.each([
  [['keys', 'new', 'a', '--out', '/proc/nope/keys']],
  [['repo', 'init', '--out', '/proc/nope/repo']],
])('a_folder_that_cannot_be_made_is_told_and_does_not_hang_%j', async (args) => {
  const { code, err } = await run(...args);
  expect([code, err]).toEqual([EXIT.flaked, expect.stringContaining('/proc/nope')]);
});

it('output_that_a_full_disk_does_not_take_is_no_bug', async () => {
  const program = fileURLToPath(
    new URL('../../../dist/firmware-tools/cli/main.js', import.meta.url),
  );
  const ran = await promisify(execFile)('sh', ['-c', `node ${program} completion bash > /dev/full`])
    .then(() => ({ code: 0, stderr: '' }))
    .catch((error: unknown) => error as { code: number; stderr: string });
  expect(ran.code).toBe(EXIT.flaked);
  expect(ran.stderr).toMatch(/^error: cannot write the output: ENOSPC/);
  expect(ran.stderr).not.toContain(' at ');
});
