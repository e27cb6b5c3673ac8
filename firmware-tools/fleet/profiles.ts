// Profiles of `linnet login`: which fleet server, trusted by which CA, with which token. They are
// in one file that only its owner can read, $XDG_CONFIG_HOME/linnet/profiles.json (by default in
// ~/.config). A file that others can read is refused, not repaired: its tokens are known already.
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { Type, type Static } from 'typebox';
import { utf8 } from '../../shared/base/bytes.js';
import { decodeJson } from '../../shared/base/decode.js';
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import { makeFolders, tempBeside, writeWhole } from '../../shared/platform/durable-files.js';
import { realRandom } from '../../shared/platform/clock.js';
import { whenFound, withDiskFaults } from '../../shared/platform/errno-faults.js';
import { readPrivateFile } from '../../shared/platform/private-file.js';
import { stat } from 'node:fs/promises';

export type Env = Readonly<Record<string, string | undefined>>;

const strict = { additionalProperties: false } as const;
const Profile = Type.Object(
  {
    server: Type.String({ minLength: 1 }),
    token: Type.String({ minLength: 1 }),
    /** PEM of the CA that signed the server's certificate, beside those that Node trusts. */
    ca: Type.Union([Type.Null(), Type.String()]),
  },
  strict,
);
export type Profile = Static<typeof Profile>;

const Profiles = Type.Object(
  {
    format: Type.Literal('linnet.profiles/1'),
    /** The profile of commands that name none. */
    current: Type.String(),
    profiles: Type.Record(Type.String(), Profile),
  },
  strict,
);
export type Profiles = Static<typeof Profiles>;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const FILE_MODE = 0o600;

export function profilesFile(env: Env): string {
  const home = env['HOME'] ?? homedir();
  return join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'linnet', 'profiles.json');
}

/** Null before the first login. Fault: profile_invalid, also when others can read it. */
export async function readProfiles(env: Env): Promise<Profiles | null> {
  const file = profilesFile(env);
  const there = await withDiskFaults(`read ${file}`, () => whenFound(() => stat(file)));
  if (there === null) return null;
  const bytes = await readPrivateFile(file).catch((error: unknown) => {
    if (!isFault(error, 'key_invalid')) throw error;
    throw new Fault('profile_invalid', error.detail.replace('key file', 'file of profiles'));
  });
  return decodeJson(Profiles, Buffer.from(bytes).toString('utf8'), file, 'profile_invalid');
}

/** By its own name only: not what every object has, such as `constructor`. */
export function profileIn(all: Profiles | null, name: string): Profile | undefined {
  return all !== null && Object.hasOwn(all.profiles, name) ? all.profiles[name] : undefined;
}

/** The profile that a command uses; null before the first login. Fault usage: it does not exist. */
export async function profileNamed(name: string | undefined, env: Env): Promise<Profile | null> {
  const all = await readProfiles(env);
  const wanted = name ?? all?.current;
  if (wanted === undefined) return null;
  const found = profileIn(all, wanted);
  if (found !== undefined) return found;
  if (name === undefined) return null;
  throw new Fault(
    'usage',
    `there is no profile ${name} in ${profilesFile(env)}; linnet login --profile ${name} makes it`,
  );
}

/** Adds or replaces a profile, and makes it the current one. Faults: usage, disk_*. */
export async function saveProfile(name: string, profile: Profile, env: Env): Promise<void> {
  if (!NAME.test(name))
    throw new Fault(
      'usage',
      `${name}: a profile is named by letters, digits, dots, dashes and underscores`,
    );
  const before = await readProfiles(env);
  await write({ ...before?.profiles, [name]: profile }, name, env);
}

/** Whether it was there. Faults: disk_*. */
export async function removeProfile(name: string, env: Env): Promise<boolean> {
  const before = await readProfiles(env);
  if (before === null || profileIn(before, name) === undefined) return false;
  const { [name]: _removed, ...rest } = before.profiles;
  const current = before.current === name ? (Object.keys(rest)[0] ?? name) : before.current;
  await write(rest, current, env);
  return true;
}

async function write(profiles: Profiles['profiles'], current: string, env: Env): Promise<void> {
  const file = profilesFile(env);
  const all: Profiles = { format: 'linnet.profiles/1', current, profiles };
  await withDiskFaults(`write ${file}`, async () => {
    await makeFolders(dirname(file));
    const bytes = utf8(`${JSON.stringify(all, null, 2)}\n`);
    await writeWhole(file, [bytes], { temp: tempBeside(file, realRandom), mode: FILE_MODE });
  });
}
