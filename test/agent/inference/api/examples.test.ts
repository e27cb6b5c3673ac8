// The programs of examples/ against a running inference API.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InferenceApi } from '../../../support/inference-api.js';

let api: InferenceApi;

beforeAll(async () => {
  api = await InferenceApi.start();
});

afterAll(() => api.close());

async function run(
  command: readonly [string, string],
  component: string,
  readings: string,
): Promise<{ code: number; out: string; err: string }> {
  const [program, script] = command;
  const child = spawn(program, [script, component, `http://127.0.0.1:${api.port}`]);
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  child.stdin.on('error', () => {}); // A program that failed reads no more.
  child.stdin.end(readings);
  const [code] = (await once(child, 'close')) as [number];
  return { code, out, err };
}

const PROGRAMS = [
  { language: 'TypeScript', command: [process.execPath, 'dist/examples/sensor.js'] },
  { language: 'Python', command: ['python3', 'examples/sensor.py'] },
] as const;

describe.each(PROGRAMS)('the sensor in $language', ({ command }) => {
  const isThere = spawnSync(command[0], ['--version']).status === 0;
  if (!isThere) console.log(`not tested: ${command[0]} is not installed`);

  it.skipIf(!isThere)('every_reading_is_answered_by_the_release_in_use', async () => {
    // This model adds 0.5 to the first number.
    const { code, out, err } = await run(command, 'digits', '1 2 3 4\n9 2 3 4\n');
    expect(err).toBe('');
    expect(out.replaceAll('.0 ', ' ')).toBe('3 4 1.0.0\n0 9.5 1.0.0\n');
    expect(code).toBe(0);
  });

  it.skipIf(!isThere)('reading_of_a_wrong_length_ends_with_what_the_agent_said', async () => {
    const { code, err } = await run(command, 'digits', '1 2\n');
    expect(code).toBe(1);
    expect(err).toMatch(/answered 400: .*code/);
  });
});
