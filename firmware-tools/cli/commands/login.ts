// `linnet login|logout|profile`: which fleet server the commands of an operator talk to, kept in a
// file that only the operator can read.
import type { Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import type { Output } from '../output.js';

const actions = () => import('../actions/login.js');

const DEFAULT_PROFILE = 'default';

const LOGIN_HELP = `
The server is asked whether it takes the token; then server, CA and token are kept in
~/.config/linnet/profiles.json (mode 0600), and the profile becomes the one that commands use.
What a command is told by --server, --token-file or the environment (LINNET_SERVER,
LINNET_TOKEN_FILE, LINNET_TOKEN) comes first.

Example:
  $ linnet login --server https://fleet.example:7300 --token-file admin.token
  $ linnet login --profile lab --server https://10.0.0.5:7300 --ca lab-ca.crt < lab.token`;

export function registerLoginCommands(program: Command, out: Output): void {
  program
    .command('login')
    .description('keep server, CA and token of a fleet, so that commands need no options')
    .requiredOption('--server <url>', 'address of the fleet server')
    .option('--token-file <file>', 'file with the operator token (default: standard input)')
    .option('--ca <file>', "PEM of the CA of the server's certificate")
    .option('--profile <name>', 'to tell several fleets apart', DEFAULT_PROFILE)
    .addHelpText('after', LOGIN_HELP)
    .action(lazily(out, async () => (await actions()).login));
  logout(program, out);
  profiles(program, out);
}

function logout(program: Command, out: Output): void {
  program
    .command('logout')
    .description('forget the token of a profile; the token stays valid, unless --everywhere')
    .option('--profile <name>', 'which one', DEFAULT_PROFILE)
    .option('--everywhere', 'first revoke every token of the name that this token has')
    .option('--others', 'revoke the other tokens of that name; the profile stays')
    .addHelpText('after', LOGOUT_HELP)
    .action(lazily(out, async () => (await actions()).logout));
}

const LOGOUT_HELP = `
Examples:
  $ linnet logout --profile lab
  $ linnet logout --everywhere
`;

function profiles(program: Command, out: Output): void {
  const profile = program
    .command('profile')
    .description('profiles of linnet login')
    .addHelpText('after', '\nExample:\n  $ linnet profile list\n  $ linnet profile use lab\n');
  profile
    .command('list')
    .description('profiles and their servers, without the tokens')
    .addHelpText('after', '\nExample:\n  $ linnet profile list\n')
    .action(lazily(out, async () => (await actions()).listProfiles));
  profile
    .command('use')
    .description('commands use this profile from now on')
    .argument('<profile>')
    .addHelpText('after', '\nExample:\n  $ linnet profile use lab\n')
    .action(lazily(out, async () => (await actions()).useProfile));
}
