// Key files: round trips, passphrases, and every way in which one is refused.
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  createKeyFile,
  readKeyFile,
  readSigningKey,
} from '../../../firmware-tools/release/keys/key-files.js';
import { initRepository } from '../../../firmware-tools/release/repository.js';
import { readOnlineKeys } from '../../../server/tuf/online-keys.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import { utf8 } from '../../../shared/base/bytes.js';
import { verify } from '../../../shared/trust/ed25519.js';
import { decodeDocument, releaseRing } from '../../../shared/trust/documents.js';
import { startTrust } from '../../../shared/trust/trusted-set.js';
import { refused } from '../../support/metadata-device.js';
import { tempFolder } from '../../support/temp-folders.js';

const PASSPHRASE = 'correct horse battery staple';
let folder: string;
let sealed: string;
beforeAll(async () => {
  folder = tempFolder();
  sealed = join(folder, 'sealed.key.json');
  await createKeyFile(sealed, { role: 'release', passphrase: PASSPHRASE, random: realRandom });
});

test('a_plain_key_file_signs_after_a_round_trip_and_only_its_owner_can_read_it', async () => {
  const file = join(folder, 'plain.key.json');
  const made = await createKeyFile(file, { passphrase: null, random: realRandom });
  const read = await readSigningKey(file, {});
  expect(read.keyId).toBe(made.keyId);
  expect(verify(made.publicKey, utf8('x'), await read.sign(utf8('x')))).toBe(true);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('a_sealed_key_file_opens_with_its_passphrase_and_holds_its_seed_nowhere', async () => {
  const read = await readSigningKey(sealed, { LINNET_KEY_PASSPHRASE: PASSPHRASE });
  expect(verify(read.publicKey, utf8('x'), await read.sign(utf8('x')))).toBe(true);
  expect(await readKeyFile(sealed)).toMatchObject({
    role: 'release',
    keyId: read.keyId,
    secret: { kind: 'scrypt-secretbox' },
  });
  expect(readFileSync(sealed, 'utf8')).not.toContain('"seed"');
});

describe('refused', () => {
  test('wrong_passphrase_and_no_passphrase', async () => {
    await refused(readSigningKey(sealed, { LINNET_KEY_PASSPHRASE: 'wrong' }), 'key_invalid');
    expect((await refused(readSigningKey(sealed, {}), 'key_invalid')).detail).toContain(
      'LINNET_KEY_PASSPHRASE',
    );
  });

  test('readable_by_others', async () => {
    const file = join(folder, 'open.key.json');
    await createKeyFile(file, { passphrase: null, random: realRandom });
    for (const mode of [0o644, 0o640, 0o604]) {
      chmodSync(file, mode);
      expect((await refused(readSigningKey(file, {}), 'key_invalid')).detail).toContain(
        'chmod 600',
      );
    }
  });

  test('overwriting_a_key', async () => {
    const before = readFileSync(sealed);
    await refused(createKeyFile(sealed, { passphrase: null, random: realRandom }), 'conflict');
    expect(readFileSync(sealed).equals(before)).toBe(true);
  });

  test.each([
    ['another public key', (text: string) => text.replace(/"public": "../, '"public": "00')],
    [
      'a tampered box',
      (text: string) =>
        text.replace(
          /"box": "(.)/,
          (_all, first: string) => `"box": "${first === '0' ? '1' : '0'}`,
        ),
    ],
    [
      'a cost that would eat all memory',
      (text: string) => text.replace(/"N": \d+/, '"N": 1048576').replace(/"r": \d+/, '"r": 32'),
    ],
    ['cut short', (text: string) => text.slice(0, 100)],
    ['an unknown field', (text: string) => text.replace('{', '{"extra": 1,')],
  ])('%s', async (name, change) => {
    const file = join(folder, `${name.replaceAll(' ', '-')}.key.json`);
    writeFileSync(file, change(readFileSync(sealed, 'utf8')), { mode: 0o600 });
    await refused(readSigningKey(file, { LINNET_KEY_PASSPHRASE: PASSPHRASE }), 'key_invalid');
  });

  test('a_missing_one', async () => {
    await refused(readSigningKey(join(folder, 'none.key.json'), {}), 'key_invalid');
  });
});

describe('linnet repo init', () => {
  test('makes_what_each_of_the_three_places_needs_and_nothing_of_the_offline_keys_reaches_the_server', async () => {
    const out = join(tempFolder(), 'fleet');
    const made = await initRepository({
      out,
      passphrase: null,
      clock: realClock,
      random: realRandom,
    });
    const online = await readOnlineKeys(made.server);
    const image = startTrust('image', readFileSync(join(made.trust, 'image-root.json'))).root
      .signed;
    const director = startTrust(
      'director',
      readFileSync(join(made.trust, 'director-root.json')),
      '-',
    ).root.signed;
    expect(image.roles.snapshot.keyids).toEqual([online.image.snapshot.keyId]);
    expect(image.roles.timestamp.keyids).toEqual([online.image.timestamp.keyId]);
    expect(director.roles.targets.keyids).toEqual([online.director.targets.keyId]);
    const release = await readSigningKey(join(made.offline, 'release.key.json'), {});
    expect(releaseRing(image)).toMatchObject({ keyids: [release.keyId], threshold: 1 });
    const onlineIds = [
      ...Object.values({ ...online.image }),
      ...Object.values({ ...online.director }),
    ].map(({ keyId }) => keyId);
    for (const role of ['root', 'targets'] as const)
      expect(onlineIds).not.toContain(image.roles[role].keyids[0]);
    expect(onlineIds).not.toContain(release.keyId);
    expect(
      decodeDocument('targets', readFileSync(join(made.server, 'metadata/image/1.targets.json')))
        .signed.targets,
    ).toEqual({});
    await refused(
      initRepository({ out, passphrase: null, clock: realClock, random: realRandom }),
      'conflict',
    );
    expect((await readSigningKey(join(made.offline, 'release.key.json'), {})).keyId).toBe(
      release.keyId,
    );
  });

  test('the_server_refuses_online_keys_that_others_can_read', async () => {
    const made = await initRepository({
      out: join(tempFolder(), 'fleet'),
      passphrase: null,
      clock: realClock,
      random: realRandom,
    });
    chmodSync(join(made.server, 'online', 'timestamp.key.json'), 0o644);
    expect((await refused(readOnlineKeys(made.server), 'key_invalid')).detail).toContain(
      'timestamp.key.json',
    );
  });
});
