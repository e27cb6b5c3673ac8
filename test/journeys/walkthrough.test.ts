// The README's walk-through, line by line, as a person would run it: what stands between the two
// marks, in one shell, from the project's folder, stopping at the first command that fails. Then
// what it claims is looked up.
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { walkthroughLines } from '../support/walkthrough-lines.js';
import { endGroup } from '../support/process-groups.js';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const WALK = join(PROJECT, '.linnet', 'walk');
const LIMIT_MS = 240_000;

/** Runs the script; everything that it started in the background ends with it. */
function run(script: string): Promise<{ code: number | null; output: string }> {
  const folder = join(PROJECT, '.linnet'); // Not there yet on a fresh clone.
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'walkthrough.sh');
  writeFileSync(file, `set -euo pipefail\n${script}`);
  // A process group of its own, so that also what a failing line leaves in the background can be
  // ended.
  const child = spawn('bash', [file], {
    cwd: PROJECT,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const timer = setTimeout(() => endGroup(child), LIMIT_MS);
  child.on('exit', () => endGroup(child));
  return new Promise((resolve) =>
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    }),
  );
}

describe('the walk-through of the README', () => {
  afterAll(() => rmSync(WALK, { recursive: true, force: true }));

  it('uses_every_command_that_the_product_promises', () => {
    const script = walkthroughLines();
    for (const command of [
      'server',
      'agent --config',
      'keys show',
      'repo init',
      'model inspect',
      'model quantize',
      'bundle build',
      'bundle inspect',
      'bundle verify',
      'publish',
      'device list',
      'device show',
      'group list',
      'group set',
      'rollout create',
      'rollout start',
      'rollout watch',
      'rollout pause',
      'rollout resume',
      'rollout list',
      'rollout show',
    ])
      expect(script).toContain(`linnet ${command}`);
  });

  it(
    'runs_from_its_first_line_to_its_last',
    async () => {
      rmSync(WALK, { recursive: true, force: true });
      const { code, output } = await run(walkthroughLines());
      expect(code, output).toBe(0);
      expect(output).toMatch(/completed/);
      expect(output).toMatch(/Linnet-Release: digits@1\.0\.0#[0-9a-f]{64}/i);
    },
    LIMIT_MS + 30_000,
  );
});
