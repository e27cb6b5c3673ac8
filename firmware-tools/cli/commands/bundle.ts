// `linnet bundle build|inspect|verify`: releases as files.
import type { Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import type { Output } from '../output.js';
import { SPEC_HELP } from '../../release/bundle/spec-help.js';

const actions = () => import('../actions/bundle.js');

const BUILD_HELP = `${SPEC_HELP}

With --against, the new model and that of each older release answer the [evaluation] inputs, and the
difference is signed into the manifest: devices that run that release accept so much (its upper 95 %
bound plus 3 points) at most up to the policy's cap. The older bundles are verified first.

The same input gives the same bytes. The passphrase of a sealed key is read from
LINNET_KEY_PASSPHRASE.

Example:
  linnet bundle build digits.toml --key fleet/offline/release.key.json -o digits-1.1.0.bundle \\
    --against digits-1.0.0.bundle,digits-0.9.0.bundle`;

const INSPECT_HELP = `
Checks every digest and the layout, but no signature (see verify). A bundle is an ordinary tar file.

Example:
  linnet bundle inspect digits-1.1.0.bundle`;

const VERIFY_HELP = `
Verifies that the manifest is signed by the release keys that ROOT names, and that every byte of
every file is what the manifest lists. The first fault is reported and the exit code is 3.

Example:
  linnet bundle verify digits-1.1.0.bundle --root fleet/trust/image-root.json`;

/** `a.bundle,b.bundle`; the option may be given several times. */
const bundleNames = (text: string, before: string[] | undefined): string[] => [
  ...(before ?? []),
  ...text.split(',').filter((name) => name !== ''),
];

export function registerBundleCommands(program: Command, out: Output): void {
  const bundle = program
    .command('bundle')
    .description('build, inspect and verify release bundles')
    .addHelpText(
      'after',
      '\nExample:\n  linnet bundle build digits.toml --key ' +
        'fleet/offline/release.key.json -o digits-1.1.0.bundle',
    );
  bundle
    .command('build')
    .description('build and sign a release')
    .argument('<spec>', 'release spec (TOML)')
    .requiredOption('--key <file>', 'release key that signs the manifest')
    .requiredOption('-o, --output <file>', 'bundle to write')
    .option('--against <bundles>', 'older releases, separated by commas', bundleNames)
    .option(
      '--root <file>',
      'image-root.json that names the keys of the older releases (else: --key)',
    )
    .option('--accept-difference', 'take a difference that was measured on few inputs', false)
    .addHelpText('after', BUILD_HELP)
    .action(lazily(out, async () => (await actions()).build));
  bundle
    .command('inspect')
    .description('show what a bundle holds')
    .argument('<file>', 'bundle')
    .addHelpText('after', INSPECT_HELP)
    .action(lazily(out, async () => (await actions()).inspect));
  bundle
    .command('verify')
    .description('verify a bundle: signatures and every digest')
    .argument('<file>', 'bundle')
    .requiredOption('--root <file>', 'trusted image-root.json, which names the release keys')
    .addHelpText('after', VERIFY_HELP)
    .action(lazily(out, async () => (await actions()).verify));
}
