// What `linnet server` and its subcommands do. All mistakes of the configuration are reported at
// once and before anything is opened. The server reports on stdout that it is ready, and stops
// cleanly on SIGTERM and SIGINT. SIGHUP reloads the configuration.
import { existsSync } from 'node:fs';
import { open, unlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import { Fault, reason, systemCode } from '../shared/base/fault-codes.js';
import { findingLines, isHealthy, type Finding } from '../shared/base/findings.js';
import { realClock } from '../shared/platform/clock.js';
import { NEGATIVE_RESULT, reportFindings } from '../shared/platform/doctor-report.js';
import { stderrLog } from '../shared/platform/logger.js';
import { ServiceManager } from '../shared/platform/service-manager.js';
import { reloadOnHangup } from '../shared/platform/reload.js';
import { readArgumentFile, readSettingFile } from '../shared/platform/setting-files.js';
import { authorityPaths } from './certificates/authority-files.js';
import {
  checkTogether,
  isBrokerIdentity,
  revocationListFile,
  serverSettings,
  type ServerSettings,
} from './config.js';
import { REPOSITORY_CHECK, serverFindings } from './doctor.js';
import { serverProbes } from './doctor-probes.js';
import { initAnswers, type InitAnswers, type Questions } from './init-questions.js';
import { initServer, startServer } from './main.js';
import { emqxFiles, mosquittoFiles, type BrokerFiles } from './mqtt/broker-config.js';
import { databaseModuleFailure } from './store/database.js';

/** The part of the CLI's Output (firmware-tools/cli/output.ts) that is needed here. */
export interface Output {
  result(value: unknown, human: () => string): void;
  progress(text: string): void;
}

interface ServeOptions {
  readonly config?: string;
  readonly printConfig?: true;
}

export async function serve(out: Output, { config, printConfig }: ServeOptions): Promise<void> {
  const settings = readSettings(config);
  if (printConfig === true) out.result(settings, () => JSON.stringify(settings, null, 2));
  else await run(settings, () => readSettings(config), out);
}

export async function init(out: Output, _options: unknown, command: Command): Promise<void> {
  // `--config` is also an option of `server`; commander gives it to the command that sees it first.
  const { yes, ...given } = command.optsWithGlobals<InitFlags>();
  const { config, tokenOut, newConfig } = await questioned(out, yes === true, given);
  if (existsSync(tokenOut)) throw tokenExists(tokenOut);
  if (newConfig !== null) await writeConfig(config, newConfig);
  const settings = readSettings(config);
  checkTogether(settings);
  await initTo(settings, tokenOut);
  const missing = await whatIsMissing(config, settings);
  const next = nextSteps(command.parent, { config, tokenOut, settings, missing });
  out.result({ tokenFile: tokenOut, dataDir: settings.data_dir, missing, next }, () => tokenOut);
  out.progress([...findingLines(missing), 'Next:', ...next.map((step) => `  ${step}`)].join('\n'));
  if (!isHealthy(missing)) process.exitCode = NEGATIVE_RESULT;
}

export async function doctor(out: Output, _options: unknown, command: Command): Promise<void> {
  const { config } = command.optsWithGlobals<{ config?: string }>();
  if (config === undefined) throw new Fault('usage', 'pass --config FILE');
  const settings = (): ServerSettings => readSettings(config);
  const probes = serverProbes(config, settings, realClock, databaseModuleFailure);
  reportFindings(await serverFindings(probes), out);
}

interface BrokerConfigFlags {
  readonly config?: string;
  readonly for: 'mosquitto' | 'emqx';
  readonly folder?: string;
  readonly servers: string;
  readonly port: string;
}

export function brokerConfig(out: Output, _options: unknown, command: Command): Promise<void> {
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
  const options = { folder, port, servers, authority: authority.toString('utf8') };
  const files = flags.for === 'emqx' ? forEmqx(config, options) : forMosquitto(config, options);
  out.result(files, () =>
    Object.entries(files)
      .map(([name, text]) => `# ---- ${folder}/${name}\n${text}`)
      .join('\n'),
  );
  return Promise.resolve();
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

/**
 * What the doctor says of a server that was just prepared, without what is good. A repository that
 * is not there yet is a step to come, not a mistake: the keys may be made on another machine.
 */
async function whatIsMissing(config: string, settings: ServerSettings): Promise<Finding[]> {
  const probes = serverProbes(config, () => settings, realClock, databaseModuleFailure);
  const findings = await serverFindings(probes);
  return findings.filter(
    ({ check, state }) =>
      (state === 'bad' || state === 'warning') &&
      (check !== REPOSITORY_CHECK || existsSync(settings.repository)),
  );
}

interface Prepared {
  readonly config: string;
  readonly tokenOut: string;
  readonly settings: ServerSettings;
  readonly missing: readonly Finding[];
}

/** The commands to type now, in the words of the program that runs (`linnet-server` is one). */
function nextSteps(
  server: Command | null,
  { config, tokenOut, settings, missing }: Prepared,
): string[] {
  const program = [server?.parent?.name(), server?.name()].filter((name) => name !== undefined);
  const { http, tls } = settings;
  const host = ['0.0.0.0', '::'].includes(http.host) ? hostname() : http.host;
  const url = `${tls === undefined ? 'http' : 'https'}://${host}:${http.port}`;
  const start = [
    ...repositorySteps(settings.repository),
    `${program.join(' ')} --config ${config}`,
    `linnet login --server ${url} --token-file ${tokenOut}`,
  ];
  return isHealthy(missing)
    ? start
    : [`(correct what is bad above)`, `${program.join(' ')} doctor --config ${config}`, ...start];
}

/** None when it is there. `linnet repo init` makes a folder with `server` in it. */
function repositorySteps(repository: string): string[] {
  if (existsSync(repository)) return [];
  const folder = dirname(repository);
  if (basename(repository) === 'server' && !existsSync(folder))
    return [`linnet repo init --out ${folder}`];
  return ['linnet repo init --out fleet', `cp -r fleet/server ${repository}`];
}

interface InitFlags {
  readonly config?: string;
  readonly tokenOut?: string;
  readonly yes?: true;
}

async function questioned(
  out: Output,
  yes: boolean,
  given: Questions['given'],
): Promise<InitAnswers> {
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
  const tell = (complaint: string): void => out.progress(complaint);
  try {
    return await initAnswers({ given, exists: existsSync, ask, tell });
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

export function readSettings(file: string | undefined): ServerSettings {
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
