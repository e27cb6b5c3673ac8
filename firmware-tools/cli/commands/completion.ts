// `linnet completion`: prints a script with which a shell completes the commands of linnet.
import { Argument, type Command } from 'commander';
import { completionScript, SHELLS, type Shell } from '../completion-script.js';
import type { Output } from '../output.js';

/** `tree` loads every command. */
export function registerCompletionCommand(
  program: Command,
  out: Output,
  tree: () => Promise<Command>,
): void {
  program
    .command('completion')
    .description('print a completion script for bash, zsh or fish')
    .addArgument(new Argument('<shell>').choices([...SHELLS]))
    .addHelpText(
      'after',
      '\nExample:\n  $ source <(linnet completion bash)\n' +
        '  $ linnet completion fish > ~/.config/fish/completions/linnet.fish\n',
    )
    .action(async (shell: Shell) => {
      const script = completionScript(shell, await tree());
      out.result({ shell, script }, () => script);
    });
}
