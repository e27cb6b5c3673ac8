// `linnet login|logout|profile`: which fleet server the commands of an operator talk to, kept in a
// file that only the operator can read.
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { Fault } from '../../../shared/base/fault-codes.js';
import { Proxies } from '../../../shared/platform/proxies.js';
import { readArgumentFile } from '../../../shared/platform/setting-files.js';
import { GroupPage } from '../../../shared/protocol/operator-api.js';
import { FleetClient, operatorToken, serverUrl } from '../../fleet/fleet-client.js';
import {
  profileIn,
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
    .description('forget the token of a profile; the token stays valid (see: linnet token revoke)')
    .option('--profile <name>', 'which one', DEFAULT_PROFILE)
    .addHelpText('after', '\nExample:\n  $ linnet logout --profile lab\n')
    .action(async ({ profile }: { profile: string }) => {
      if (!(await removeProfile(profile, process.env)))
        throw new Fault('not_found', `there is no profile ${profile}; linnet profile list`);
      out.result({ profile }, () => `profile ${profile} is forgotten`);
    });
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
