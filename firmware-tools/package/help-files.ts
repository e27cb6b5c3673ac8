// What helps on the command line: the manual page, and the completion scripts of three shells,
// written from the commands of the packaged program.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { completionScript, type Shell } from '../cli/completion-script.js';
import { commandTree } from '../cli/main.js';
import type { PackageKind } from './kinds.js';
import { project, run } from './tools.js';
import { filled, write } from './tree.js';

/** Where a shell looks for the script of a program. */
const SCRIPTS: Readonly<Record<Shell, (name: string) => string>> = {
  bash: (name) => `usr/share/bash-completion/completions/${name}`,
  zsh: (name) => `usr/share/zsh/vendor-completions/_${name}`,
  fish: (name) => `usr/share/fish/vendor_completions.d/${name}.fish`,
};

/** Writes them into the tree of the package; `values` are those of its templates. */
export async function writeHelp(
  kind: PackageKind,
  tree: string,
  values: Readonly<Record<string, string>>,
): Promise<void> {
  const { name, manual, templates } = kind;
  const program = await programOf(kind);
  for (const [shell, pathOf] of Object.entries(SCRIPTS) as [Shell, (name: string) => string][])
    write(join(tree, pathOf(name)), completionScript(shell, program));
  const page = `${name}.${manual}`;
  const path = join(tree, `usr/share/man/man${manual}`, page);
  const text = readFileSync(join(project, 'firmware-tools/package', templates, page), 'utf8');
  write(path, filled(text, { ...values, COMMANDS: commandList(program) }));
  run('gzip', ['-n9', path]);
}

/** As it is called in the package: `linnet agent doctor` is `linnet-agent doctor` there. */
async function programOf({ name, command }: PackageKind): Promise<Command> {
  const linnet = await commandTree();
  if (command === null) return linnet;
  const program = linnet.commands.find((inner) => inner.name() === command);
  if (program === undefined) throw new Error(`no command is named ${command}`);
  return program.name(name).option('--version').option('--json');
}

/** In the language of manual pages. */
const commandList = (program: Command): string =>
  program.commands
    .map((inner) => `.TP\n.B ${dashes(inner.name())}\n${dashes(inner.description())}`)
    .join('\n');

const dashes = (text: string): string => text.replaceAll('-', '\\-');
