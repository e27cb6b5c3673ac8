// `linnet acceptance build`: signs labelled inputs that every release of a component must pass.
import type { Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import { ACCEPTANCE_HELP } from '../../release/acceptance-help.js';
import type { Output } from '../output.js';

const actions = () => import('../actions/acceptance.js');

const HELP = `${ACCEPTANCE_HELP}

The key must be one that the image root lists as an acceptance key; keep it away from those who make
releases. \`linnet publish --acceptance FILE\` makes the set the component's.

Example:
  linnet acceptance build quality.toml --key fleet/offline/acceptance.key.json \\
    -o quality.acceptance`;

export function registerAcceptanceCommands(program: Command, out: Output): void {
  program
    .command('acceptance')
    .description('labelled inputs that releases must pass')
    .addHelpText(
      'after',
      '\nExample:\n  linnet acceptance build quality.toml --key ' +
        'fleet/offline/acceptance.key.json -o quality.acceptance',
    )
    .command('build')
    .description('build and sign an acceptance set')
    .argument('<spec>', 'what the set holds (TOML)')
    .requiredOption('--key <file>', 'acceptance key that signs the set')
    .requiredOption('-o, --output <file>', 'file to write')
    .addHelpText('after', HELP)
    .action(lazily(out, async () => (await actions()).build));
}
