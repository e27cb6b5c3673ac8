// `linnet publish`: signs a bundle into the image repository and uploads its files.
import type { Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import { connectionOptions } from '../options.js';
import type { Output } from '../output.js';

const actions = () => import('../actions/publish.js');

const HELP = `
Verifies the bundle with the root's release keys and the server's current targets with the root's
targets keys, signs the next targets with OFFLINE_DIR/image-targets.key.json, uploads the files that
the server does not have yet, and publishes. Publishing the same bundle again does nothing; another
bundle of the same version is refused.

Example:
  linnet publish digits-1.1.0.bundle --keys fleet/offline --root fleet/trust/image-root.json \\
    --server http://127.0.0.1:7300 --token-file fleet/publisher.token`;

export function registerPublishCommand(program: Command, out: Output): void {
  const command = program
    .command('publish')
    .description('sign a release into the image repository and upload it')
    .argument('<bundle>', 'bundle to publish')
    .requiredOption('--keys <dir>', 'folder offline/ of linnet repo init (image-targets.key.json)')
    .requiredOption('--root <file>', 'trusted image-root.json')
    .option(
      '--floor <version>',
      'from now on devices may be sent back to this version, and no further (signed)',
    );
  connectionOptions(command)
    .option(
      '--acceptance <file>',
      'from now on releases of this component must pass this acceptance set',
    )
    .addHelpText('after', HELP)
    .action(lazily(out, async () => (await actions()).publish));
}
