// `linnet keys new|show`. Prints public keys only.
import { join } from 'node:path';
import { Fault } from '../../../shared/base/fault-codes.js';
import { realRandom } from '../../../shared/platform/clock.js';
import { makeFolders } from '../../../shared/platform/durable-files.js';
import { fromHex } from '../../../shared/base/bytes.js';
import { publicKeyOf } from '../../../shared/trust/signer.js';
import { requireFiles } from '../arguments.js';
import type { Output } from '../output.js';
import { asFault, createKeyFile, passphraseOf, readKeyFile } from '../../release/keys/key-files.js';
import { KEY_SUFFIX } from '../../release/keys/key-suffix.js';

export async function create(
  out: Output,
  name: string,
  options: { out: string; role?: string },
): Promise<void> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name))
    throw new Fault('usage', `'${name}' is not a name for a key: letters, digits, . _ -`);
  const passphrase = passphraseOf(process.env);
  await makeFolders(options.out, 0o700).catch((error: unknown) => {
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
}

export async function show(out: Output, file: string): Promise<void> {
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
}
