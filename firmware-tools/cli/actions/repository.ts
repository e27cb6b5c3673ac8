// `linnet repo init`. What goes where is described in release/repository.ts.
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import type { Output } from '../output.js';
import { passphraseOf } from '../../release/keys/key-files.js';
import { initRepository } from '../../release/repository.js';

export async function init(out: Output, options: { out: string }): Promise<void> {
  const passphrase = passphraseOf(process.env);
  const made = await initRepository({
    out: options.out,
    passphrase,
    clock: realClock,
    random: realRandom,
  });
  const sealing = passphrase === null ? 'plain: set LINNET_KEY_PASSPHRASE to seal them' : 'sealed';
  out.result({ ...made, sealed: passphrase !== null }, () =>
    [
      `${made.offline}  keys of people (${sealing}); keep them away from the server`,
      `${made.server}  repository folder of the fleet server`,
      `${made.trust}  roots that every device is provisioned with`,
      '',
      'Next: linnet bundle build SPEC.toml --key ' +
        `${made.offline}/release.key.json -o release.bundle`,
    ].join('\n'),
  );
}
