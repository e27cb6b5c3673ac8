// `npm start -- --once` as CI runs it: the whole scenario on real processes, in a folder of its
// own. The demo counts and checks by itself; this test requires that every check passed.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { endGroup } from '../support/process-groups.js';
import { isWhole } from '../support/whole.js';

const DEMO = fileURLToPath(new URL('../../dist/firmware-tools/demo/demo.js', import.meta.url));

// The walk-through of the README is the shorter version.
describe.skipIf(!isWhole)('the output of npm start (npm run test:whole)', () => {
  it('that_nobody_reads_any_more_ends_the_whole_fleet', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'linnet-demo-'));
    const child = spawn(process.execPath, [DEMO, '--dir', folder], {
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true, // A process group of its own: all that it started is in it.
    });
    const ended = once(child, 'close');
    try {
      let output = '';
      for await (const text of child.stdout.setEncoding('utf8')) {
        output += String(text);
        if (output.includes('linnet device claim')) break; // Which closes the pipe.
      }
      expect(output).toMatch(/console: http:\/\/127\.0\.0\.1:\d+\/console/);
      expect(await ended).toEqual([130, null]);
      expect(endGroup(child)).toBe('nothing was left');
    } finally {
      endGroup(child);
      rmSync(folder, { recursive: true, force: true });
    }
  }, 120_000);
});

describe.skipIf(!isWhole)('npm start (npm run test:whole)', () => {
  it('a_better_release_reaches_everyone_and_a_quietly_wrong_one_is_stopped_at_the_canaries', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'linnet-demo-'));
    try {
      const child = spawn(process.execPath, [DEMO, '--once', '--dir', folder], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let output = '';
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => {
          output += text;
        });
      const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
      expect(code, output).toBe(0);
      expect(output).toMatch(/rehearsal_differs: answers of \w+ differ by \d+ %/);
      expect(output).toMatch(
        /of \d planned, an acceptable release is halted with chance .*\): halted/,
      );
      expect(output).not.toMatch(/FAIL/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, 400_000);
});
