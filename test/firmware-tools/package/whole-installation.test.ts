// A package whose files are not all there: what is started says so, whatever is missing. One
// package is made, with the native module of this installation, and damaged again and again.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, renameSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEVICE } from '../../../firmware-tools/package/kinds.js';
import { NODE_MAJORS } from '../../../firmware-tools/package/node-archives.js';
import { makePackage } from '../../../firmware-tools/package/packages.js';
import { ARCHITECTURES, isInstalled } from '../../../firmware-tools/package/tools.js';

const EXIT = { usage: 2, flaked: 4, badNews: 6 };
const arch = ARCHITECTURES.find((each) => each === process.arch);
const major = NODE_MAJORS.find((each) => process.versions.node.startsWith(`${each}.`));
const missing =
  process.platform !== 'linux' || arch === undefined || major === undefined
    ? 'Linux and a Node.js that packages support'
    : ['tar', 'xz', 'gzip'].find((program) => !isInstalled(program));
if (missing !== undefined) console.log(`damaged packages are not tested: they need ${missing}`);

let folder: string;
let home: string;

const agent = (...args: string[]) =>
  spawnSync(process.execPath, [join(home, 'dist/agent/agent.js'), ...args], { encoding: 'utf8' });

describe.skipIf(missing !== undefined)('the agent of a package', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'linnet-whole-'));
    const [tree = ''] = await makePackage(DEVICE, {
      arch: arch ?? 'x64',
      withNode: false,
      majors: major === undefined ? [] : [major],
      installedModule: true,
      compression: 0,
      version: '1.2.3',
      epochSeconds: 1,
      out: folder,
    });
    home = join(tree, 'usr/lib/linnet-agent');
  }, 60_000);

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('starts_when_everything_is_there', () => {
    expect(agent('--version').stdout).toBe('1.2.3\n');
    const { status, stderr } = agent();
    expect(status, stderr).toBe(EXIT.usage);
  });

  it('file_that_is_missing_is_named_before_anything_is_loaded', () => {
    const others = readdirSync(join(home, 'dist/agent')).filter((name) => name !== 'agent.js');
    const library = 'node_modules/onnxruntime-node/bin/napi-v6/linux';
    const names = [
      'package.json',
      'files.json',
      ...others.map((name) => `dist/agent/${name}`),
      ...readdirSync(join(home, library, process.arch)).map(
        (name) => `${library}/${process.arch}/${name}`,
      ),
    ];
    expect(others.length).toBeGreaterThan(4);
    for (const name of names) {
      const path = join(home, name);
      renameSync(path, join(folder, 'kept'));
      const { status, stderr } = agent('--config', '/etc/linnet/agent.toml');
      expect(stderr, name).toContain(`the installation of linnet-agent is not complete: ${path} `);
      expect(stderr).toContain('what to do: install the package linnet-agent again');
      expect(status).toBe(EXIT.flaked);
      renameSync(join(folder, 'kept'), path);
    }
  }, 60_000);

  it('file_that_is_cut_is_a_finding_of_the_doctor', () => {
    const path = join(home, `native/abi${process.versions.modules}/better_sqlite3.node`);
    copyFileSync(path, join(folder, 'kept'));
    truncateSync(path, 1000);
    const { status, stdout } = agent('doctor');
    expect(status).toBe(EXIT.badNews);
    expect(stdout).toMatch(/^bad +program files +.*better_sqlite3\.node has 1000 of \d+ bytes$/m);
    const report = JSON.parse(agent('doctor', '--json').stdout) as unknown;
    expect(report).toMatchObject({ healthy: false, findings: [{ check: 'program files' }] });
    renameSync(join(folder, 'kept'), path);
    expect(agent('doctor').stdout).toContain('good     program files');
  });
});
