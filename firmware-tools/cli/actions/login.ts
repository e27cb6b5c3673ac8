// `linnet login|logout|profile`: keeps profiles in a file that only the operator can read.
import { X509Certificate } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { counted } from '../../../shared/base/counted.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { Proxies } from '../../../shared/platform/proxies.js';
import { readArgumentFile } from '../../../shared/platform/setting-files.js';
import { GroupPage, RevokedTokens } from '../../../shared/protocol/operator-api.js';
import { FleetClient, operatorToken, serverUrl } from '../../fleet/fleet-client.js';
import {
  profileIn,
  type Profile,
  profilesFile,
  readProfiles,
  removeProfile,
  saveProfile,
} from '../../fleet/profiles.js';
import { requireFiles } from '../arguments.js';
import { listText, type Output } from '../output.js';

interface LoginOptions {
  readonly server: string;
  readonly tokenFile?: string;
  readonly ca?: string;
  readonly profile: string;
}

async function tokenOf(file: string | undefined): Promise<string> {
  if (file === undefined && process.stdin.isTTY)
    throw new Fault('usage', 'pass --token-file FILE, or the token on standard input');
  if (file === undefined) return operatorToken(await text(process.stdin), 'standard input');
  const given = readArgumentFile('the token file', file).toString('utf8');
  return operatorToken(given, `the token file ${file}`);
}

/** Its text. Faults: file_unreadable, usage (no certificate in it). */
function certificatesIn(file: string): string {
  const text = readArgumentFile('the CA file', file).toString('utf8');
  try {
    new X509Certificate(text);
    return text;
  } catch (error) {
    throw new Fault('usage', `--ca ${file} holds no certificate in PEM`, { cause: error });
  }
}

interface LogoutOptions {
  readonly profile: string;
  readonly everywhere?: boolean;
  readonly others?: boolean;
}

async function revokeOwn(profile: Profile, keepThis: boolean): Promise<number> {
  const client = new FleetClient({ ...profile, proxies: new Proxies(process.env) });
  const { revoked } = await client.request('POST', '/self/revoke', RevokedTokens, { keepThis });
  return revoked;
}

export async function login(out: Output, options: LoginOptions): Promise<void> {
  const server = serverUrl(options.server);
  await requireFiles(options.ca, options.tokenFile);
  const ca = options.ca === undefined ? null : certificatesIn(options.ca);
  const profile = {
    server,
    token: await tokenOf(options.tokenFile),
    ca,
  };
  const proxies = new Proxies(process.env);
  await new FleetClient({ ...profile, proxies }).request('GET', '/groups?limit=1', GroupPage);
  await saveProfile(options.profile, profile, process.env);
  const file = profilesFile(process.env);
  out.result(
    { profile: options.profile, server, file },
    () => `logged in to ${server} as profile ${options.profile} (${file})`,
  );
}

export async function logout(
  out: Output,
  { profile, everywhere = false, others = false }: LogoutOptions,
): Promise<void> {
  if (everywhere && others)
    throw new Fault('usage', 'pass --everywhere or --others: --others keeps this token');
  const known = profileIn(await readProfiles(process.env), profile);
  if (known === undefined)
    throw new Fault('not_found', `there is no profile ${profile}; linnet profile list`);
  const revoked = everywhere || others ? await revokeOwn(known, others) : 0;
  if (!others) await removeProfile(profile, process.env);
  const done = others ? `profile ${profile} stays` : `profile ${profile} is forgotten`;
  const first = everywhere || others ? `${counted(revoked, 'token')} revoked; ` : '';
  out.result({ profile, revoked }, () => `${first}${done}`);
}

export async function listProfiles(out: Output): Promise<void> {
  const all = await readProfiles(process.env);
  const rows = Object.entries(all?.profiles ?? {}).map(([name, { server, ca }]) => ({
    name,
    server,
    hasCa: ca !== null,
    current: name === all?.current,
  }));
  out.result(rows, () =>
    listText(
      'no profiles; linnet login makes one',
      ['PROFILE', 'SERVER', 'CA', 'CURRENT'],
      rows.map((row) => [row.name, row.server, row.hasCa ? 'own' : '-', row.current ? 'yes' : '-']),
    ),
  );
}

export async function useProfile(out: Output, name: string): Promise<void> {
  const found = profileIn(await readProfiles(process.env), name);
  if (found === undefined)
    throw new Fault('not_found', `there is no profile ${name}; linnet profile list`);
  await saveProfile(name, found, process.env);
  out.result({ profile: name, server: found.server }, () => `commands use ${found.server} now`);
}
