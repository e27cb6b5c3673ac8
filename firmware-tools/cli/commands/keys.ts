// `linnet keys new|show`: creates and shows signing keys. Prints public keys only.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { Fault } from '../../../shared/base/fault-codes.js';
import { realRandom } from '../../../shared/platform/clock.js';
import { fromHex } from '../../../shared/base/bytes.js';
import { publicKeyOf } from '../../../shared/trust/signer.js';
import { requireFiles } from '../arguments.js';
import type { Output } from '../output.js';
import {
  asFault,
  createKeyFile,
  KEY_SUFFIX,
  passphraseOf,
  readKeyFile,
} from '../../release/keys/key-files.js';

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
    .action(async (name: string, options: { out: string; role?: string }) => {
      if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name))
        throw new Fault('usage', `'${name}' is not a name for a key: letters, digits, . _ -`);
      const passphrase = passphraseOf(process.env);
      await mkdir(options.out, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
        throw asFault(error, options.out);
      });
      const file = join(options.out, `${name}${KEY_SUFFIX}`);
      const key = await createKeyFile(file, {
        passphrase,
        random: realRandom,
        ...(options.role === undefined ? {} : { role: options.role }),
      });
      const sealed = passphrase !== null;
      out.result(
        { file, keyId: key.keyId, public: key.publicKey.keyval.public, sealed },
        () =>
          `${file}\n  key id  ${key.keyId}\n  public  ` +
          `${key.publicKey.keyval.public}\n  secret  ` +
          (sealed ? 'sealed' : 'plain (set LINNET_KEY_PASSPHRASE to seal it)'),
      );
    });
  keys
    .command('show')
    .description('show the public side of a key file')
    .argument('<file>', 'key file')
    .addHelpText('after', SHOW_HELP)
    .action(async (file: string) => {
      await requireFiles(file);
      const key = await readKeyFile(file);
      const sealed = key.secret.kind !== 'plain';
      const shown = {
        file,
        keyId: key.keyId,
        role: key.role ?? null,
        sealed,
        key: publicKeyOf(fromHex(key.public)),
      };
      out.result(
        shown,
        () =>
          `${file}\n  key id  ${key.keyId}\n  role    ${key.role ?? '-'}\n  public  ` +
          `${key.public}\n  secret  ${sealed ? 'sealed' : 'plain'}`,
      );
    });
}
