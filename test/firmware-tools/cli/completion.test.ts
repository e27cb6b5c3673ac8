// The completion scripts, and that every command which a message or a document advises exists.
import { spawnSync } from 'node:child_process';
import type { Command } from 'commander';
import ts from 'typescript';
import { beforeAll, describe, expect, it } from 'vitest';
import { completionScript } from '../../../firmware-tools/cli/completion-script.js';
import { commandTree } from '../../../firmware-tools/cli/main.js';
import { documents, lineOf, nodesOf, productFiles } from '../../tidy/source-files.js';

let tree: Command;
beforeAll(async () => {
  tree = await commandTree();
});

/** What bash offers for a line that ends at the cursor. */
function completed(line: string): string[] {
  const script = `${completionScript('bash', tree)}
    COMP_WORDS=(${line
      .split(' ')
      .map((word) => `'${word}'`)
      .join(' ')})
    COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
    _linnet
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', script], { encoding: 'utf8' });
  expect(stderr).toBe('');
  return stdout.split('\n').filter((word) => word !== '');
}

describe('completion', () => {
  it.each([
    ['linnet roll', ['rollout']],
    ['linnet rollout wa', ['watch']],
    ['linnet rollout watch --unt', ['--until-held']],
    ['linnet token create ci --role pub', ['publisher']],
    ['linnet --json device li', ['list']],
    ['linnet completion x', []],
  ])('bash_completes_%s', (line, names) => {
    expect(completed(line)).toEqual(names);
  });

  it('every_command_and_option_is_in_the_scripts_of_all_shells', () => {
    for (const shell of ['bash', 'zsh', 'fish'] as const) {
      const script = completionScript(shell, tree);
      for (const [path, command] of commandsOf(tree)) {
        expect(script).toContain(`'${path}'`);
        for (const { long } of command.options)
          expect(script).toContain(shell === 'fish' ? `-l ${long?.slice(2)} ` : long);
      }
    }
  });
});

function commandsOf(command: Command, path = ''): [string, Command][] {
  return command.commands.flatMap((inner) => {
    const own = `${path} ${inner.name()}`.trim();
    return [[own, inner] as [string, Command], ...commandsOf(inner, own)];
  });
}

/** They have commands below them and run without one, too. */
const RUN_THEMSELVES: readonly string[] = ['agent', 'server', 'backup'];

/** Why `linnet a b --c` cannot be typed, or null. What follows the command are its arguments. */
function mistakeIn(advice: string): string | null {
  let command = tree;
  const parts = advice.split(/\s+/).slice(1);
  while (command.commands.length > 0) {
    // Computed at run time: `linnet rollout ${command} ...`.
    if (command !== tree && parts[0]?.startsWith('${') === true) return null;
    const next = parts[0]?.replace(/[^a-z-]+$/, '') ?? '';
    const inner = command.commands.find((some) => some.name() === next);
    if (inner === undefined) break;
    command = inner;
    parts.shift();
  }
  const isLeaf = command.commands.length === 0 || RUN_THEMSELVES.includes(command.name());
  if (command === tree || !isLeaf) return `${advice}: no such command`;
  const known = ['--help', '--json', ...command.options.map(({ long }) => long)];
  const wrong = parts
    .map((word) => /^--[a-z-]+/.exec(word)?.[0])
    .find((option) => option !== undefined && !known.includes(option));
  return wrong === undefined ? null : `${advice}: no option ${wrong}`;
}

/** Quoted in backticks: `linnet rollout show`. */
const ADVICE = /\\?`(linnet [a-z][^`\\]*)\\?`/g;

describe('advice', () => {
  it('messages_name_commands_and_options_that_exist', () => {
    const wrong = productFiles.flatMap((file) =>
      [...nodesOf(file.tree)]
        .filter((node) => ts.isStringLiteralLike(node) || ts.isTemplateExpression(node))
        .flatMap((node) =>
          [...node.getText().matchAll(ADVICE)]
            .map(([, advice = '']) => mistakeIn(advice))
            .filter((mistake) => mistake !== null)
            .map((mistake) => `${file.path}:${lineOf(file, node)} ${mistake}`),
        ),
    );
    expect(wrong).toEqual([]);
  });

  it('documents_name_commands_and_options_that_exist', () => {
    const wrong = documents
      .filter(({ path }) => path === 'README.md' || path.startsWith('docs/'))
      .flatMap(({ path, text }) =>
        [...text.replaceAll('\n', ' ').matchAll(ADVICE)]
          .map(([, advice = '']) => mistakeIn(advice))
          .filter((mistake) => mistake !== null)
          .map((mistake) => `${path}: ${mistake}`),
      );
    expect(wrong).toEqual([]);
  });
});
