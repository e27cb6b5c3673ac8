// `linnet repo init`: creates a fleet's keys, first roots and empty repositories.
import type { Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import type { Output } from '../output.js';

const actions = () => import('../actions/repository.js');

const INIT_HELP = `
Makes three folders in DIR, for three different places:
  offline/  keys of people: image-root, image-targets, release, acceptance, director-root. Keep them
            away from the server, and acceptance away from those who make releases. Sealed when
            LINNET_KEY_PASSPHRASE is set.
  server/   what the fleet server gets as its repository folder, with its online keys (they can
            renew and select, but sign no release).
  trust/    image-root.json and director-root.json, which every device is provisioned with.
DIR must be empty or missing; nothing is ever overwritten.

Example:
  LINNET_KEY_PASSPHRASE=... linnet repo init --out fleet`;

export function registerRepoCommands(program: Command, out: Output): void {
  const repo = program
    .command('repo')
    .description('make a new image and director repository')
    .addHelpText('after', '\nExample:\n  linnet repo init --out fleet');
  repo
    .command('init')
    .description('make keys, first roots and an empty repository')
    .requiredOption('--out <dir>', 'folder to make')
    .addHelpText('after', INIT_HELP)
    .action(lazily(out, async () => (await actions()).init));
}
