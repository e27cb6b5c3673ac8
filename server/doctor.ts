// `linnet server doctor`: what is missing for this fleet server, and what to do about it. Opens no
// database and changes nothing, so it can run beside the server.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { inputFiles } from '../shared/base/config.js';
import { bad, faultText, good, warning, type Finding } from '../shared/base/findings.js';
import { limits } from '../shared/base/limits.js';
import {
  configurationFindings,
  diskFinding,
  filesFinding,
  folderFinding,
  nodeFinding,
  sqliteFinding,
  type FolderState,
  type NodeVersions,
} from '../shared/base/machine-findings.js';
import { DAY_MS } from '../shared/base/units.js';
import { authorityPaths } from './certificates/authority-files.js';
import { checkTogether, ServerSettings } from './config.js';

/** What the checks ask; a test answers in place of the machine. */
export interface ServerProbes {
  /** Path of the configuration. */
  readonly config: string;
  readonly node: NodeVersions;
  /** Why the module of SQLite does not load; null when it does. */
  readonly sqliteFailure: () => string | null;
  /** Throws a Fault for mistakes in the configuration. */
  readonly settings: () => ServerSettings;
  readonly user: number;
  readonly folder: (path: string) => FolderState;
  readonly freeBytes: (path: string) => number;
  /** Throws when the repository has no online keys that can be used. */
  readonly onlineKeys: (repository: string) => Promise<unknown>;
  /** Throws a Fault that names the setting and the path. */
  readonly file: (setting: string, path: string) => Uint8Array;
  readonly exists: (path: string) => boolean;
  /** Why nothing can listen there; null when something can. */
  readonly listenFailure: (host: string, port: number) => Promise<string | null>;
  readonly now: () => number;
}

const AS_USER = {
  name: 'linnet-server',
  command: 'sudo -u linnet-server linnet-server doctor --config FILE',
};
const REINSTALL = 'install the server again with the Node.js that runs it';
/** Name of the check that looks for what `linnet repo init` makes. */
export const REPOSITORY_CHECK = 'repository';
const CONFIGURED = [
  'data folder',
  'disk',
  'device CA',
  REPOSITORY_CHECK,
  'files',
  'TLS',
  'HTTP address',
  'MQTT address',
] as const;

/** All checks, in the order in which a person would repair what they find. */
export async function serverFindings(probes: ServerProbes): Promise<Finding[]> {
  const { node } = probes;
  const findings = [nodeFinding(node), sqliteFinding(probes.sqliteFailure(), node, REINSTALL)];
  const configuration = configurationFindings(probes.config, () => checked(probes.settings()), {
    about: () => 'has no mistake',
    checks: CONFIGURED,
  });
  findings.push(...configuration.findings);
  const { settings } = configuration;
  if (settings === null) return findings;
  const { data_dir: path, http, mqtt, broker } = settings;
  return [
    ...findings,
    folderFinding(path, probes.folder(path), probes.user, AS_USER),
    diskFinding(path, probes.freeBytes),
    authorityFinding(probes, settings),
    await repositoryFinding(probes, settings),
    filesFinding(
      inputFiles(ServerSettings, settings).filter(({ setting }) => !setting.startsWith('tls.')),
      probes.file,
    ),
    tlsFinding(probes, settings),
    await listenFinding(probes, 'HTTP address', http),
    broker === undefined
      ? await listenFinding(probes, 'MQTT address', mqtt)
      : good('MQTT address', `an external broker: ${broker.url}`),
  ];
}

function checked(settings: ServerSettings): ServerSettings {
  checkTogether(settings);
  return settings;
}

function authorityFinding(probes: ServerProbes, settings: ServerSettings): Finding {
  const paths = Object.values(authorityPaths(settings)) as string[];
  const missing = paths.filter((path) => !probes.exists(path));
  const todo =
    settings.device_ca === undefined
      ? 'run once: linnet server init --config FILE --token-out FILE'
      : 'copy the CA to where device_ca names it';
  return missing.length === 0
    ? good('device CA', paths[0] ?? '')
    : bad('device CA', `missing: ${missing.join(' and ')}`, todo);
}

async function repositoryFinding(
  probes: ServerProbes,
  { repository }: ServerSettings,
): Promise<Finding> {
  try {
    await probes.onlineKeys(repository);
    return good(REPOSITORY_CHECK, `${repository} has its online keys`);
  } catch (error) {
    const todo = 'repository must be the folder server/ of what `linnet repo init` made';
    return bad(REPOSITORY_CHECK, faultText(error), todo);
  }
}

function tlsFinding(probes: ServerProbes, { tls, http }: ServerSettings): Finding {
  if (tls === undefined)
    return ['127.0.0.1', '::1', 'localhost'].includes(http.host)
      ? good('TLS', 'none, and the server listens on this machine only')
      : warning('TLS', `none on ${http.host}`, 'set tls, or put a proxy with TLS in front');
  const todo = 'tls.cert_file needs a PEM certificate that is valid, tls.key_file its key';
  try {
    const pem = probes.file('tls.cert_file', tls.cert_file);
    const certificate = new X509Certificate(pem);
    const key = createPrivateKey(Buffer.from(probes.file('tls.key_file', tls.key_file)));
    if (!certificate.checkPrivateKey(key))
      return bad('TLS', 'tls.key_file is not the key of tls.cert_file', todo);
    const leftMs = Date.parse(certificate.validTo) - probes.now();
    const found = `the certificate is valid until ${certificate.validTo}`;
    if (leftMs <= 0) return bad('TLS', found, 'renew it');
    return leftMs < limits.doctorCertificateLeftMs
      ? warning('TLS', `${found}, ${Math.floor(leftMs / DAY_MS)} days`, 'renew it')
      : good('TLS', found);
  } catch (error) {
    return bad('TLS', faultText(error), todo);
  }
}

async function listenFinding(
  probes: ServerProbes,
  check: string,
  { host, port }: { host: string; port: number },
): Promise<Finding> {
  const failure = await probes.listenFailure(host, port);
  const found = `${host}:${port}`;
  if (failure === null) return good(check, `${found} is free`);
  return failure === 'EADDRINUSE'
    ? warning(check, `${found} is in use`, 'fine when this server runs; else choose another port')
    : bad(check, `${found}: ${failure}`, 'name an address of this machine, and a port above 1023');
}
