// `linnet server`: runs a fleet server, or prepares one. What the commands do is in run-server.ts,
// loaded at need: --version and --help load this file and backup-commands.ts only.
import { Option, type Command } from 'commander';
import { lazily } from '../shared/base/lazily.js';
import { registerBackupCommands } from './backup-commands.js';
import type { Output } from './run-server.js';
import { SERVER_IDENTITY } from './server-identity.js';

const actions = () => import('./run-server.js');

const EXAMPLE = `
Example:
  $ linnet server init --config fleet.toml --token-out admin.token
  $ linnet server --config fleet.toml

A configuration file (every key but the first two has the default shown):
  data_dir = "fleet-data"
  repository = "fleet-repository"        # made by: linnet repo init
  silent_after_seconds = 60
  log_level = "info"                     # debug, info, warn, error, silent
  [http]
  host = "127.0.0.1"
  port = 7300
  [mqtt]                                 # the embedded broker
  host = "127.0.0.1"
  port = 7301
  # trusted_proxies = ["10.0.0.0/8"]     # (at the top) proxies in front; they name the address
  # [broker]                             # or an external one
  # url = "mqtts://broker.example:8883"
  # username = "linnet"
  # password_file = "broker.password"
  # public_url = "mqtts://broker.example:8883"  # where devices reach it, when not at url
  # ca_file = "broker-ca.crt"            # what server and devices trust it by
  # crl_file = "/var/lib/linnet/device-ca.crl"  # revoked devices, for the broker
  # crl_url = "http://lists.example/device-ca.crl"  # where EMQX fetches that file
  # [tls]                                # of HTTP and of the embedded broker
  # cert_file = "server.crt"
  # key_file = "server.key"
  # [syslog]                             # security events to a log collector
  # host = "collector.example"
  # port = 6514
  # transport = "tls"                    # udp, tcp, tls
  # format = "rfc5424"                   # rfc5424, cef
  # ca_file = "collector-ca.crt"
  # [webhook]                            # security events to an HTTP endpoint
  # url = "https://alerts.example/linnet"
  # secret_file = "webhook.secret"       # whsec_ and base64 (Standard Webhooks)

Every key can be set by the environment: LINNET_SERVER__HTTP__PORT=8080
`;

export function registerServerCommands(program: Command, out: Output): void {
  serverCommand(program.command('server'), out);
}

/** Makes `server` the server's command; the server package has a program with this one command. */
export function serverCommand(server: Command, out: Output): void {
  server
    .description('run the fleet server')
    .option('--config <file>', 'configuration file (TOML)')
    .option('--print-config', 'print the settings that result from file and environment, and exit')
    .addHelpText('after', EXAMPLE)
    .action(lazily(out, async () => (await actions()).serve));
  server
    .command('init')
    .description('create the data folder, the CA for devices and the first admin token')
    .option('--config <file>', 'configuration file (TOML)')
    .option('--token-out <file>', 'where to write the admin token (mode 0600; must not exist)')
    .option('--yes', 'ask nothing: defaults for what is not given, and for a configuration file')
    .addHelpText(
      'after',
      '\nOn a terminal it asks for what is not given, and offers to write a configuration file.\n' +
        '\nExample:\n  $ linnet server init --config fleet.toml --token-out admin.token\n',
    )
    .action(lazily(out, async () => (await actions()).init));
  registerDoctor(server, out);
  registerBrokerConfig(server, out);
  registerBackupCommands(server, out);
}

function registerDoctor(server: Command, out: Output): void {
  server
    .command('doctor')
    .description('look for what is missing for this server, and say what to do; changes nothing')
    .option('--config <file>', 'configuration file (TOML)')
    .addHelpText(
      'after',
      '\nExit code 0: nothing is bad; 6: something is.\n' +
        '\nExample:\n  $ linnet server doctor --config fleet.toml\n',
    )
    .action(lazily(out, async () => (await actions()).doctor));
}

function registerBrokerConfig(server: Command, out: Output): void {
  server
    .command('broker-config')
    .description('print the configuration of an external broker for this fleet')
    .option('--config <file>', 'configuration file (TOML)')
    .addOption(
      new Option('--for <broker>', 'which broker')
        .choices(['mosquitto', 'emqx'])
        .default('mosquitto'),
    )
    .option('--folder <path>', "the files' folder there (default: /etc/mosquitto/linnet, or emqx)")
    .option('--port <number>', 'where devices connect', '8883')
    .option('--servers <names>', 'broker.identity of each fleet server', SERVER_IDENTITY)
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet server broker-config --config fleet.toml\n' +
        '  $ linnet server broker-config --config fleet.toml --for emqx --json\n' +
        '\nPrints linnet.conf, linnet.acl (EMQX: acl.conf) and device-ca.crt; --json gives them\n' +
        'as one object. The files for EMQX were not tried with EMQX; it needs broker.crl_url.\n',
    )
    .action(lazily(out, async () => (await actions()).brokerConfig));
}
