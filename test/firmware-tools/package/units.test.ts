// The systemd units, judged by systemd itself: what it complains about, and how much of the system
// they leave open to a program that was taken over (0 nothing, 10 everything).
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { isInstalled } from '../../../firmware-tools/package/tools.js';
import { filled } from '../../../firmware-tools/package/tree.js';

const UNITS = ['device/linnet-agent', 'server/linnet-server'];
/** Times 10, as `--threshold` has it; measured 1.5 by systemd 252. */
const EXPOSURE = 15;

const present = isInstalled('systemd-analyze');
if (!present) console.log('the systemd units are not judged: no systemd-analyze');

const folder = mkdtempSync(join(tmpdir(), 'linnet-units-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The unit as a package has it, with further lines in its last section but one. */
function unitFile(unit: string, more = ''): string {
  const text = readFileSync(join('firmware-tools/package', `${unit}.service`), 'utf8');
  const path = join(mkdtempSync(join(folder, 'unit-')), 'linnet.service');
  // Whether the program is there is not the question.
  const whole = filled(text, { NODE: process.execPath }).replace('[Install]', `${more}\n[Install]`);
  writeFileSync(path, whole);
  return path;
}

const systemdAnalyze = (...args: string[]) =>
  spawnSync('systemd-analyze', args, {
    encoding: 'utf8',
    env: { ...process.env, SYSTEMD_LOG_LEVEL: 'warning', SYSTEMD_PAGER: '' },
  });
/** Known since systemd 254; an older one ignores them and says so. */
const NEWER = /^.*Unknown key.*'Restart(?:Steps|MaxDelaySec)'.*ignoring\.\n/gm;
const complaints = (path: string): string =>
  systemdAnalyze('verify', '--man=no', '--recursive-errors=no', path).stderr.replace(NEWER, '');
const exposed = (path: string) =>
  systemdAnalyze('security', '--offline=true', `--threshold=${EXPOSURE}`, path);

describe.skipIf(!present)('systemd unit', () => {
  it.each(UNITS)('systemd_understands_every_line_of_a_unit', (unit) => {
    expect(complaints(unitFile(unit))).toBe('');
  });

  it('line_that_systemd_does_not_know_is_complained_about', () => {
    expect(complaints(unitFile('device/linnet-agent', 'NoSuchSetting=1'))).toContain('NoSuch');
  });

  it.each(UNITS)('unit_leaves_little_of_the_system_open', (unit) => {
    const { status, stdout } = exposed(unitFile(unit));
    expect(status, stdout).toBe(0);
  });

  it('unit_that_may_gain_privileges_is_above_the_limit', () => {
    const { status } = exposed(unitFile('device/linnet-agent', 'NoNewPrivileges=no'));
    expect(status).not.toBe(0);
  });
});
