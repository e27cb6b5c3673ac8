// `linnet keys new|show`: creates and shows signing keys. Prints public keys only.
import type { Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import type { Output } from '../output.js';
import { KEY_SUFFIX } from '../../release/keys/key-suffix.js';

const actions = () => import('../actions/keys.js');

const NEW_HELP = `
The file is NAME${KEY_SUFFIX}, mode 0600. It is sealed (scrypt + secretbox) when
LINNET_KEY_PASSPHRASE is set; without it the key is stored plain. An existing file is never
overwritten.

Example:
  LINNET_KEY_PASSPHRASE=... linnet keys new release-2027 --out offline --role release`;

const SHOW_HELP = `
Shows the key id, the public key and whether the secret is sealed. Needs no passphrase.

Example:
  linnet keys show offline/release.key.json`;

export function registerKeyCommands(program: Command, out: Output): void {
  const keys = program
    .command('keys')
    .description('make and show signing keys')
    .addHelpText('after', '\nExample:\n  linnet keys new release --out offline --role release');
  keys
    .command('new')
    .description('make a new Ed25519 signing key')
    .argument('<name>', 'name of the key: letters, digits, . _ -')
    .requiredOption('--out <dir>', 'folder to put it into')
    .option('--role <role>', 'what the key is for, as free text')
    .addHelpText('after', NEW_HELP)
    .action(lazily(out, async () => (await actions()).create));
  keys
    .command('show')
    .description('show the public side of a key file')
    .argument('<file>', 'key file')
    .addHelpText('after', SHOW_HELP)
    .action(lazily(out, async () => (await actions()).show));
}
