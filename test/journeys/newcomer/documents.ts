// Runs the commands of a document in a Debian system. What a person, systemd and apt's network do
// there is done by stand-ins: sudo, apt, sudoedit, systemctl and journalctl.
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { project } from '../../../firmware-tools/package/tools.js';
import { digitsSpec } from '../../support/journey-devices.js';

/** A Debian system; in one that is booted, systemd and sudo are no stand-ins. */
export interface DebianSystem {
  path(inside: string): string;
  run(script: string): string;
}

export const SERVER_SETTINGS = '/etc/linnet-server/fleet.toml';
export const AGENT_SETTINGS = '/etc/linnet/agent.toml';
/** The documents name packages without Node.js; these take their places. */
export const DOCUMENTED = {
  server: '.linnet/packages/linnet-server_0.1.0_amd64.deb',
  operator: '.linnet/packages/linnet_0.1.0_amd64.deb',
  agent: 'linnet-agent_0.1.0_arm64.deb',
} as const;

const RELEASE = digitsSpec('1.0.0', { hardware: 'linux-any', model: 'digits-1.0.0.onnx' });

/** A release of the digits in /root/release, rolled out to all; by an operator. */
export const ROLL_OUT = `cat > /root/release/release.toml <<'TOML'
${RELEASE}TOML
linnet bundle build release/release.toml --key fleet/offline/release.key.json -o digits.bundle
linnet publish digits.bundle --keys fleet/offline --root fleet/trust/image-root.json
linnet rollout create digits@1.0.0 --then 100 --soak 1 --trial-min 2 --trial-max 5 --json > rollout
linnet rollout start $(sed -n 's/^ *"id": "\\([^"]*\\)".*/\\1/p' rollout | head -1)
`;

/** In the system; removed before what a package left behind is looked for. */
const FOLDER = '/opt/newcomer';

const STAND_INS: Readonly<Record<string, string>> = {
  // As sudo does, with the home folder of the user.
  sudo: `if [ "$1" = -u ]; then
  user=$2; shift 2
  HOME=$(getent passwd "$user" | cut -d: -f6) \\
    exec setpriv --reuid="$user" --regid="$user" --clear-groups "$@"
fi
exec "$@"`,
  // All that the packages need is installed: apt would fetch nothing.
  apt: 'shift; exec dpkg -i "$@"',
  sudoedit: `exec sed -i -f ${FOLDER}/$(basename "$1").sed "$1"`,
  systemctl: `echo "$*" >> ${FOLDER}/systemctl.log`,
  journalctl: ':',
  npm: ':',
};

/** Shell commands of a document, from a heading (the start where it is null) to the next one. */
export function commandsOf(document: string, heading: string | null): string {
  const text = readFileSync(join(project, document), 'utf8');
  const from = heading === null ? 0 : text.indexOf(`\n## ${heading}\n`);
  if (from === -1) throw new Error(`${document} has no section ${heading}`);
  const end = text.indexOf('\n## ', from + 1);
  const part = text.slice(from, end === -1 ? text.length : end);
  return [...part.matchAll(/```sh\n(.*?)```/gs)].map(([, block = '']) => block).join('\n');
}

/** What a person changes in a settings file: lines of the file, and what they become. */
export type Edits = Readonly<Record<string, string>>;

/** Of a booted system: sudo finds the real apt and systemctl, and there is a real sudo. */
const REAL_WHEN_BOOTED = new Set(['sudo', 'apt', 'systemctl']);

export function addStandIns(root: DebianSystem, { booted = false } = {}): void {
  const folder = root.path(FOLDER);
  mkdirSync(folder, { recursive: true });
  for (const [name, script] of Object.entries(STAND_INS)) {
    if (booted && REAL_WHEN_BOOTED.has(name)) continue;
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
  }
}

export const removeStandIns = (root: DebianSystem): void =>
  rmSync(root.path(FOLDER), { recursive: true });

/** What `sudoedit FILE` will do. */
export function willEdit(root: DebianSystem, file: string, edits: Edits): void {
  const lines = Object.entries(edits).map(([from, to]) => `s|^${from}$|${to}|`);
  writeFileSync(root.path(join(FOLDER, `${basename(file)}.sed`)), `${lines.join('\n')}\n`);
}

/** Throws where a line that was to be changed was not there. */
export function requireEdited(root: DebianSystem, file: string, edits: Edits): void {
  const text = readFileSync(root.path(file), 'utf8').split('\n');
  const missing = Object.values(edits).filter((line) => !text.includes(line));
  if (missing.length > 0) throw new Error(`${file} does not have: ${missing.join('; ')}`);
}

export const runCommands = (root: DebianSystem, commands: string): string =>
  root.run(`PATH=${FOLDER}:$PATH\n${commands}`);

/** Throws unless the commands made systemd start the unit. */
export function requireStarted(root: DebianSystem, unit: string): void {
  const calls = root.path(join(FOLDER, 'systemctl.log'));
  const wanted = `enable --now ${unit}`;
  if (!existsSync(calls) || !readFileSync(calls, 'utf8').split('\n').includes(wanted))
    throw new Error(`the document does not say: systemctl ${wanted}`);
}
