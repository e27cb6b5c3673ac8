// `linnet server`: runs a fleet server, or prepares one. All mistakes of the configuration are
// reported at once and before anything is opened. The server reports on stdout that it is ready,
// and stops cleanly on SIGTERM and SIGINT. SIGHUP reloads the configuration.
import { existsSync } from 'node:fs';
import { open, unlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { Option, type Command } from 'commander';
import { Fault, reason, systemCode } from '../shared/base/fault-codes.js';
import { findingLines, isHealthy, type Finding } from '../shared/base/findings.js';
import { realClock } from '../shared/platform/clock.js';
import { reportFindings } from '../shared/platform/doctor-report.js';
import { stderrLog } from '../shared/platform/logger.js';
import { ServiceManager } from '../shared/platform/service-manager.js';
import { reloadOnHangup } from '../shared/platform/reload.js';
import { readArgumentFile, readSettingFile } from '../shared/platform/setting-files.js';
import { authorityPaths } from './certificates/authority-files.js';
import {
  checkTogether,
  isBrokerIdentity,
  revocationListFile,
  SERVER_IDENTITY,
  serverSettings,
  type ServerSettings,
} from './config.js';
import { registerBackupCommands } from './backup-commands.js';
import { serverFindings } from './doctor.js';
import { serverProbes } from './doctor-probes.js';
import { initAnswers, type InitAnswers, type Questions } from './init-questions.js';
import { initServer, startServer } from './main.js';
import { emqxFiles, mosquittoFiles, type BrokerFiles } from './mqtt/broker-config.js';
import { databaseModuleFailure } from './store/database.js';

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

/** The part of the CLI's Output (firmware-tools/cli/output.ts) that is needed here. */
interface Output {
  result(value: unknown, human: () => string): void;
  progress(text: string): void;
}

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
    .action(async (options: { config?: string; printConfig?: true }) => {
      const settings = readSettings(options.config);
      if (options.printConfig === true)
        out.result(settings, () => JSON.stringify(settings, null, 2));
      else await run(settings, () => readSettings(options.config), out);
    });
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
    .action(async (_options: unknown, command: Command) => {
      // `--config` is also an option of `server`; commander gives it to the command that sees it
      // first.
      const { yes, ...given } = command.optsWithGlobals<InitFlags>();
      const { config, tokenOut, newConfig } = await questioned(yes === true, given);
      if (existsSync(tokenOut)) throw tokenExists(tokenOut);
      if (newConfig !== null) await writeConfig(config, newConfig);
      const settings = readSettings(config);
      checkTogether(settings);
      await initTo(settings, tokenOut);
      const missing = await whatIsMissing(config, settings);
      const next = nextSteps(server, { config, tokenOut, settings, missing });
      out.result(
        { tokenFile: tokenOut, dataDir: settings.data_dir, missing, next },
        () => tokenOut,
      );
      out.progress(
        [...findingLines(missing), 'Next:', ...next.map((step) => `  ${step}`)].join('\n'),
      );
    });
  registerDoctor(server, out);
  registerBrokerConfig(server, out);
  registerBackupCommands(server, { out, readSettings });
}

/** What the doctor says of a server that was just prepared, without what is good. */
async function whatIsMissing(config: string, settings: ServerSettings): Promise<Finding[]> {
  const probes = serverProbes(config, () => settings, realClock, databaseModuleFailure);
  const findings = await serverFindings(probes);
  return findings.filter(({ state }) => state === 'bad' || state === 'warning');
}

interface Prepared {
  readonly config: string;
  readonly tokenOut: string;
  readonly settings: ServerSettings;
  readonly missing: readonly Finding[];
}

/** The commands to type now, in the words of the program that runs (`linnet-server` is one). */
function nextSteps(server: Command, { config, tokenOut, settings, missing }: Prepared): string[] {
  const program = [server.parent?.name(), server.name()].filter((name) => name !== undefined);
  const { http, tls } = settings;
  const host = ['0.0.0.0', '::'].includes(http.host) ? hostname() : http.host;
  const url = `${tls === undefined ? 'http' : 'https'}://${host}:${http.port}`;
  const start = [
    `${program.join(' ')} --config ${config}`,
    `linnet login --server ${url} --token-file ${tokenOut}`,
  ];
  return isHealthy(missing)
    ? start
    : [`(correct what is bad above)`, `${program.join(' ')} doctor --config ${config}`, ...start];
}

interface InitFlags {
  readonly config?: string;
  readonly tokenOut?: string;
  readonly yes?: true;
}

async function questioned(yes: boolean, given: Questions['given']): Promise<InitAnswers> {
  const complete = given.config !== undefined && given.tokenOut !== undefined;
  if (yes)
    return initAnswers({
      given,
      exists: existsSync,
      ask: (_, standard) => Promise.resolve(standard),
    });
  if (complete || !process.stdin.isTTY)
    return initAnswers({ given, exists: existsSync, ask: null });
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const ask = async (question: string, standard: string): Promise<string> =>
    (await terminal.question(`${question} [${standard}]: `)).trim() || standard;
  try {
    return await initAnswers({ given, exists: existsSync, ask });
  } finally {
    terminal.close();
  }
}

/** Its mistakes are reported before it is written. */
async function writeConfig(path: string, text: string): Promise<void> {
  checkTogether(serverSettings(text, process.env));
  try {
    await writeFile(path, text, { flag: 'wx' });
  } catch (error) {
    throw new Fault('disk_failed', `${path} cannot be written: ${reason(error)}`, { cause: error });
  }
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
    .action(async (_options: unknown, command: Command) => {
      const { config } = command.optsWithGlobals<{ config?: string }>();
      if (config === undefined) throw new Fault('usage', 'pass --config FILE');
      const settings = (): ServerSettings => readSettings(config);
      const probes = serverProbes(config, settings, realClock, databaseModuleFailure);
      reportFindings(await serverFindings(probes), out);
    });
}

interface BrokerConfigFlags {
  readonly config?: string;
  readonly for: 'mosquitto' | 'emqx';
  readonly folder?: string;
  readonly servers: string;
  readonly port: string;
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
    .action(async (_options: unknown, command: Command) => {
      const flags = command.optsWithGlobals<BrokerConfigFlags>();
      const port = Number(flags.port);
      if (!Number.isInteger(port) || port < 1 || port > 65_535)
        throw new Fault('usage', `--port ${flags.port} is not a port`);
      const servers = flags.servers.split(',');
      for (const server of servers)
        if (!isBrokerIdentity(server))
          throw new Fault('usage', `--servers: ${server} is no broker.identity; give a,b`);
      const config = readSettings(flags.config);
      const authority = readSettingFile(
        'the device CA (linnet server init makes it)',
        authorityPaths(config).certificate,
      );
      const folder = flags.folder ?? `/etc/${flags.for}/linnet`;
      const options = {
        folder,
        port,
        servers,
        authority: authority.toString('utf8'),
      };
      const files = flags.for === 'emqx' ? forEmqx(config, options) : forMosquitto(config, options);
      out.result(files, () =>
        Object.entries(files)
          .map(([name, text]) => `# ---- ${folder}/${name}\n${text}`)
          .join('\n'),
      );
      return Promise.resolve();
    });
}

const forMosquitto = (settings: ServerSettings, options: BrokerFiles): Record<string, string> =>
  mosquittoFiles({ ...options, revocationList: resolve(revocationListFile(settings)) });

function forEmqx({ broker }: ServerSettings, options: BrokerFiles): Record<string, string> {
  if (broker?.crl_url === undefined)
    throw new Fault(
      'config_invalid',
      'broker.crl_url is not set, and EMQX finds revoked devices only by it: let a web server ' +
        'offer broker.crl_file, set broker.crl_url to its address, restart the fleet server, and ' +
        'let devices enrol after that',
    );
  return emqxFiles(options);
}

function readSettings(file: string | undefined): ServerSettings {
  if (file === undefined) throw new Fault('usage', 'pass --config FILE');
  const text = readArgumentFile('the configuration', file).toString('utf8');
  return serverSettings(text, process.env, file);
}

const tokenExists = (path: string): Fault =>
  new Fault('conflict', `${path} exists already; name a new file by --token-out`);

/** The token is on the disk before the database has it: no token exists that was not written. */
async function initTo(settings: ServerSettings, tokenOut: string): Promise<void> {
  let file;
  try {
    file = await open(tokenOut, 'wx', 0o600);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') throw tokenExists(tokenOut);
    throw new Fault('disk_failed', `${tokenOut} cannot be written: ${reason(error)}`, {
      cause: error,
    });
  }
  try {
    await initServer(settings, async (token) => {
      await file.writeFile(`${token}\n`);
      await file.sync();
    });
  } catch (error) {
    await file.close();
    await unlink(tokenOut);
    throw error;
  }
  await file.close();
}

async function run(
  settings: ServerSettings,
  read: () => ServerSettings,
  out: Output,
): Promise<void> {
  const log = stderrLog(settings.log_level);
  reloadOnHangup({ settings, read, log, signals: process });
  const running = await startServer(settings, { log });
  const stopped = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
  });
  out.result({ ready: true, address: running.address, mqttPort: running.mqttPort }, () =>
    [
      `fleet server ready at ${running.address} (MQTT on port ${running.mqttPort})`,
      `  console  ${running.address}/console`,
      `  API      ${running.address}/openapi.json`,
    ].join('\n'),
  );
  const { env, pid } = process;
  const manager = new ServiceManager({ env, pid, clock: realClock, log });
  void manager.ready();
  log.info({ signal: await stopped }, 'stopping');
  await Promise.all([manager.stopping(), running.close()]);
  log.info({}, 'stopped');
}
