// `linnet login|logout|profile`: which fleet server the commands of an operator talk to, kept in a
// file that only the operator can read.
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
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
import { table, type Output } from '../output.js';

const DEFAULT_PROFILE = 'default';

const LOGIN_HELP = `
The server is asked whether it takes the token; then server, CA and token are kept in
~/.config/linnet/profiles.json (mode 0600), and the profile becomes the one that commands use.
What a command is told by --server, --token-file or the environment (LINNET_SERVER,
LINNET_TOKEN_FILE, LINNET_TOKEN) comes first.

Example:
  $ linnet login --server https://fleet.example:7300 --token-file admin.token
  $ linnet login --profile lab --server https://10.0.0.5:7300 --ca lab-ca.crt < lab.token`;

interface LoginOptions {
  readonly server: string;
  readonly tokenFile?: string;
  readonly ca?: string;
  readonly profile: string;
}

export function registerLoginCommands(program: Command, out: Output): void {
  program
    .command('login')
    .description('keep server, CA and token of a fleet, so that commands need no options')
    .requiredOption('--server <url>', 'address of the fleet server')
    .option('--token-file <file>', 'file with the operator token (default: standard input)')
    .option('--ca <file>', "PEM of the CA of the server's certificate")
    .option('--profile <name>', 'to tell several fleets apart', DEFAULT_PROFILE)
    .addHelpText('after', LOGIN_HELP)
    .action(async (options: LoginOptions) => {
      const server = serverUrl(options.server);
      const ca = options.ca === undefined ? null : readArgumentFile('the CA file', options.ca);
      const profile = {
        server,
        token: await tokenOf(options.tokenFile),
        ca: ca === null ? null : ca.toString('utf8'),
      };
      const proxies = new Proxies(process.env);
      await new FleetClient({ ...profile, proxies }).request('GET', '/groups?limit=1', GroupPage);
      await saveProfile(options.profile, profile, process.env);
      const file = profilesFile(process.env);
      out.result(
        { profile: options.profile, server, file },
        () => `logged in to ${server} as profile ${options.profile} (${file})`,
      );
    });
  logout(program, out);
  profiles(program, out);
}

async function tokenOf(file: string | undefined): Promise<string> {
  if (file === undefined && process.stdin.isTTY)
    throw new Fault('usage', 'pass --token-file FILE, or the token on standard input');
  if (file === undefined) return operatorToken(await text(process.stdin), 'standard input');
  const given = readArgumentFile('the token file', file).toString('utf8');
  return operatorToken(given, `the token file ${file}`);
}

function logout(program: Command, out: Output): void {
  program
    .command('logout')
    .description('forget the token of a profile; the token stays valid, unless --everywhere')
    .option('--profile <name>', 'which one', DEFAULT_PROFILE)
    .option('--everywhere', 'first revoke every token of the name that this token has')
    .option('--others', 'revoke the other tokens of that name; the profile stays')
    .addHelpText('after', LOGOUT_HELP)
    .action(async ({ profile, everywhere = false, others = false }: LogoutOptions) => {
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
    });
}

const LOGOUT_HELP = `
Examples:
  $ linnet logout --profile lab
  $ linnet logout --everywhere
`;

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

function profiles(program: Command, out: Output): void {
  const profile = program
    .command('profile')
    .description('profiles of linnet login')
    .addHelpText('after', '\nExample:\n  $ linnet profile list\n  $ linnet profile use lab\n');
  profile
    .command('list')
    .description('profiles and their servers, without the tokens')
    .addHelpText('after', '\nExample:\n  $ linnet profile list\n')
    .action(async () => {
      const all = await readProfiles(process.env);
      const rows = Object.entries(all?.profiles ?? {}).map(([name, { server, ca }]) => ({
        name,
        server,
        hasCa: ca !== null,
        current: name === all?.current,
      }));
      out.result(rows, () =>
        rows.length === 0
          ? 'no profiles; linnet login makes one'
          : table([
              ['PROFILE', 'SERVER', 'CA', 'CURRENT'],
              ...rows.map((row) => [
                row.name,
                row.server,
                row.hasCa ? 'own' : '-',
                row.current ? 'yes' : '-',
              ]),
            ]),
      );
    });
  profile
    .command('use')
    .description('commands use this profile from now on')
    .argument('<profile>')
    .addHelpText('after', '\nExample:\n  $ linnet profile use lab\n')
    .action(async (name: string) => {
      const found = profileIn(await readProfiles(process.env), name);
      if (found === undefined)
        throw new Fault('not_found', `there is no profile ${name}; linnet profile list`);
      await saveProfile(name, found, process.env);
      out.result({ profile: name, server: found.server }, () => `commands use ${found.server} now`);
    });
}
