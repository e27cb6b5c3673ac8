// `linnet server doctor`: what is missing for this fleet server, and what to do about it. Opens no
// database and changes nothing, so it can run beside the server.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { bad, good, skipped, warning, type Finding } from '../shared/base/findings.js';
import { isFault, reason } from '../shared/base/fault-codes.js';
import { limits } from '../shared/base/limits.js';
import {
  diskFinding,
  folderFinding,
  nodeFinding,
  type FolderState,
  type NodeVersions,
} from '../shared/base/machine-findings.js';
import { DAY_MS } from '../shared/base/units.js';
import { authorityPaths } from './certificates/authority-files.js';
import { checkTogether, type ServerSettings } from './config.js';

/** What the checks ask; a test answers in place of the machine. */
export interface ServerProbes {
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
const CONFIGURED = [
  'data folder',
  'disk',
  'device CA',
  'repository',
  'files',
  'TLS',
  'HTTP address',
  'MQTT address',
] as const;

/** All checks, in the order in which a person would repair what they find. */
export async function serverFindings(probes: ServerProbes): Promise<Finding[]> {
  const findings = [nodeFinding(probes.node), sqliteFinding(probes)];
  let settings: ServerSettings;
  try {
    settings = probes.settings();
    checkTogether(settings);
    findings.push(good('configuration', 'has no mistake'));
  } catch (error) {
    const todo = 'correct the configuration file; `--print-config` shows what it results in';
    return [
      ...findings,
      bad('configuration', faultText(error), todo),
      ...CONFIGURED.map((check) => skipped(check, 'needs the configuration')),
    ];
  }
  const { data_dir: path, http, mqtt, broker } = settings;
  return [
    ...findings,
    folderFinding(path, probes.folder(path), probes.user, AS_USER),
    diskFinding(path, probes.freeBytes),
    authorityFinding(probes, settings),
    await repositoryFinding(probes, settings),
    filesFinding(probes, settings),
    tlsFinding(probes, settings),
    await listenFinding(probes, 'HTTP address', http),
    broker === undefined
      ? await listenFinding(probes, 'MQTT address', mqtt)
      : good('MQTT address', `an external broker: ${broker.url}`),
  ];
}

function sqliteFinding(probes: ServerProbes): Finding {
  const failure = probes.sqliteFailure();
  const todo =
    `it must be made for Node.js modules ${probes.node.modules}: install the server again ` +
    'with the Node.js that runs it';
  return failure === null ? good('SQLite module', 'loads') : bad('SQLite module', failure, todo);
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
    return good('repository', `${repository} has its online keys`);
  } catch (error) {
    const todo = 'repository must be the folder server/ of what `linnet repo init` made';
    return bad('repository', faultText(error), todo);
  }
}

/** The files that settings name beside those of TLS and of the device CA. */
function filesFinding(probes: ServerProbes, settings: ServerSettings): Finding {
  const { s3, oci, broker, syslog, webhook } = settings;
  const named: Record<string, string | undefined> = {
    database_password_file: settings.database_password_file,
    's3.credentials_file': s3?.credentials_file,
    'oci.credentials_file': oci?.credentials_file,
    'oci.ca_file': oci?.ca_file,
    'broker.password_file': broker?.password_file,
    'broker.ca_file': broker?.ca_file,
    'syslog.ca_file': syslog?.ca_file,
    'webhook.secret_file': webhook?.secret_file,
  };
  const complaints: string[] = [];
  let count = 0;
  for (const [setting, path] of Object.entries(named)) {
    if (path === undefined) continue;
    count += 1;
    try {
      probes.file(setting, path);
    } catch (error) {
      complaints.push(faultText(error));
    }
  }
  return complaints.length === 0
    ? good('files', `${count} named and readable`)
    : bad('files', complaints.join('; '), 'put them there, readable by the user of the server');
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

const faultText = (error: unknown): string => (isFault(error) ? error.detail : reason(error));
