// `linnet agent doctor`: what is missing on this device, and what to do about it. Checks the
// installation first, then the configuration, then what that names. The part on the installation is
// also what the agent refuses to start with. Changes nothing on the device.
import { X509Certificate } from 'node:crypto';
import { inputFiles } from '../shared/base/config.js';
import {
  bad,
  faultText,
  findingsText,
  good,
  skipped,
  warning,
  type Finding,
} from '../shared/base/findings.js';
import { Fault, isCertificateCode, isFault } from '../shared/base/fault-codes.js';
import { limits } from '../shared/base/limits.js';
import {
  configurationFindings,
  diskFinding,
  filesFinding,
  folderFinding,
  isBefore,
  listenFinding,
  nodeFinding,
  sqliteFinding,
  type FolderState,
  type NodeVersions,
} from '../shared/base/machine-findings.js';
import type { ServerLook } from '../shared/platform/machine-probes.js';
import { routes, TIME_HEADER } from '../shared/protocol/device-api.js';
import { requireFreshRoot, startTrust } from '../shared/trust/trusted-set.js';
import { AgentSettings } from './config.js';
import type { TrustedRoots } from './identity/provisioning.js';

/** What the checks ask; a test answers in place of the device. */
export interface DoctorProbes {
  /** Path of the configuration. */
  readonly config: string;
  readonly node: NodeVersions;
  readonly glibc: () => string | null;
  /** Files of the installation that are not there. */
  readonly missingFiles: () => string[];
  /** Why the module of the spool does not load; null when it does. */
  readonly sqliteFailure: () => string | null;
  /** Why ONNX Runtime does not load, in a process of its own; null when it does. */
  readonly onnxFailure: () => Promise<string | null>;
  /** Throws a Fault for each mistake in the configuration. */
  readonly settings: () => AgentSettings;
  readonly user: number;
  /** Throws a Fault that names the setting and the path. */
  readonly file: (setting: string, path: string) => Uint8Array;
  readonly folder: (path: string) => FolderState;
  readonly freeBytes: (path: string) => number;
  readonly roots: (settings: AgentSettings) => TrustedRoots;
  readonly certificates: (settings: AgentSettings) => Uint8Array | undefined;
  /** Whether this device has a key, and a claim token for its first contact. */
  readonly identity: (settings: AgentSettings) => {
    readonly key: boolean;
    readonly claim: boolean;
  };
  /** Why nothing can listen there; null when something can. */
  readonly listenFailure: (host: string, port: number) => Promise<string | null>;
  /** Throws a Fault when the proxy that is set is none. */
  readonly server: (settings: AgentSettings, url: string, ca?: Uint8Array) => Promise<ServerLook>;
  readonly now: () => number;
}

const GLIBC_OLDEST = [2, 34] as const;
const AS_USER = { name: 'linnet', command: 'sudo -u linnet linnet-agent doctor' };
/** Checks of what the configuration names. */
const CONFIGURED = [
  'data folder',
  'disk',
  'trusted roots',
  'certificates',
  'enrolment',
  'API address',
  'server',
  'clock',
] as const;
const REINSTALL = 'install the agent again, for this processor';
const OTHER_NODE = `install Node.js 20, 22 or 24, or ${REINSTALL}`;
/** Files that a check of their own reads. */
const READ: ReadonlySet<string> = new Set([
  'trust.image_root',
  'trust.director_root',
  'server.ca_file',
  'server.claim_file',
]);

/** Of the installation, as far as the agent needs it at its start; loads no ONNX Runtime. */
function installationFindings(probes: DoctorProbes): Finding[] {
  return [
    nodeFinding(probes.node),
    glibcFinding(probes),
    programFilesFinding(probes),
    sqliteFinding(probes.sqliteFailure(), probes.node, OTHER_NODE),
  ];
}

/** The agent does not start without them. Fault installation_incomplete, with the findings. */
export function requireInstallation(probes: DoctorProbes): void {
  const findings = installationFindings(probes).filter(({ state }) => state === 'bad');
  if (findings.length > 0)
    throw new Fault(
      'installation_incomplete',
      `the installation of the agent is not complete:\n${findingsText(findings)}`,
    );
}

/** All checks, in the order in which a person would repair what they find. */
export async function agentFindings(probes: DoctorProbes): Promise<Finding[]> {
  const findings = installationFindings(probes);
  const files = findings.find(({ check }) => check === 'program files');
  findings.push(
    files?.state === 'good'
      ? await onnxFinding(probes)
      : skipped('ONNX Runtime', 'needs the program files'),
  );
  const configuration = configurationFindings(probes.config, probes.settings, {
    about: ({ name, hardware }) => `device "${name}" of ${hardware}`,
    checks: CONFIGURED,
  });
  findings.push(...configuration.findings);
  const { settings } = configuration;
  if (settings === null) return findings;
  const { data_dir: path } = settings;
  const others = inputFiles(AgentSettings, settings).filter(({ setting }) => !READ.has(setting));
  findings.push(
    folderFinding(path, probes.folder(path), probes.user, AS_USER),
    diskFinding(path, probes.freeBytes),
    rootsFinding(probes, settings),
    certificatesFinding(probes, settings),
    enrolmentFinding(probes, settings),
    listenFinding('API address', settings.api, {
      failure: await probes.listenFailure(settings.api.host, settings.api.port),
      daemon: 'agent',
    }),
    ...(others.length === 0 ? [] : [filesFinding(others, probes.file)]),
    ...(await serverFindings(probes, settings)),
  );
  return findings;
}

function glibcFinding({ glibc, node }: DoctorProbes): Finding {
  if (!node.system.startsWith('linux')) return good('C library', `that of ${node.system}`);
  const version = glibc();
  if (version === null)
    return bad(
      'C library',
      'no glibc (musl?)',
      'use a system with glibc: ONNX Runtime has no build for another C library',
    );
  return isBefore(version, GLIBC_OLDEST)
    ? warning(
        'C library',
        `glibc ${version}`,
        `packages are made for glibc ${GLIBC_OLDEST.join('.')}: use a newer system, or make ` +
          'the package on this one',
      )
    : good('C library', `glibc ${version}`);
}

function programFilesFinding(probes: DoctorProbes): Finding {
  const missing = probes.missingFiles();
  return missing.length === 0
    ? good('program files', 'model process and ONNX Runtime are there')
    : bad('program files', `missing: ${missing.join(' and ')}`, REINSTALL);
}

async function onnxFinding(probes: DoctorProbes): Promise<Finding> {
  const failure = await probes.onnxFailure();
  return failure === null
    ? good('ONNX Runtime', 'loads')
    : bad('ONNX Runtime', failure, `no model can run: ${REINSTALL}`);
}

function rootsFinding(probes: DoctorProbes, settings: AgentSettings): Finding {
  const check = 'trusted roots';
  try {
    const { imageRoot, directorRoot } = probes.roots(settings);
    requireFreshRoot(startTrust('image', imageRoot), probes.now());
    requireFreshRoot(startTrust('director', directorRoot, 'any'), probes.now());
    return good(check, 'both are there and valid');
  } catch (error) {
    const found = faultText(error);
    // A newer root is fetched from the server, if the chain reaches it.
    if (isFault(error) && error.code === 'metadata_expired')
      return warning(check, found, 'check the clock; copy newer roots if updates are refused');
    return bad(check, found, 'copy both from the trust/ folder that `linnet repo init` made');
  }
}

const PEM = /-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g;

function certificatesFinding(probes: DoctorProbes, settings: AgentSettings): Finding {
  const check = 'certificates';
  const todo = 'server.ca_file must hold the PEM certificates that the fleet server is trusted by';
  try {
    const bytes = probes.certificates(settings);
    if (bytes === undefined) return good(check, "the system's are used");
    const all = Buffer.from(bytes).toString('utf8').match(PEM) ?? [];
    if (all.length === 0) return bad(check, 'server.ca_file holds no certificate', todo);
    const ends = all.map((pem) => Date.parse(new X509Certificate(pem).validTo));
    return Math.max(...ends) <= probes.now()
      ? bad(check, 'all of server.ca_file have expired', 'copy the new ones; check the clock')
      : good(check, `${all.length} in server.ca_file`);
  } catch (error) {
    return bad(check, faultText(error), todo);
  }
}

function enrolmentFinding(probes: DoctorProbes, settings: AgentSettings): Finding {
  const check = 'enrolment';
  let known: ReturnType<DoctorProbes['identity']>;
  try {
    known = probes.identity(settings);
  } catch (error) {
    return bad(
      check,
      faultText(error),
      'server.claim_file must hold a claim token, or be left out',
    );
  }
  const { key, claim } = known;
  if (key) return good(check, 'this device has its key');
  if (claim) return good(check, 'there is a claim token for the first start');
  const { claim_file: file } = settings.server;
  const noFile = file === undefined ? '' : `: server.claim_file ${file} is not there`;
  return warning(
    check,
    `neither a key nor a claim token${noFile}`,
    'make a token by `linnet device claim`, or approve the device by `linnet device approve`',
  );
}

async function serverFindings(
  probes: DoctorProbes,
  settings: AgentSettings,
): Promise<[Finding, Finding]> {
  const { url } = settings.server;
  let ca: Uint8Array | undefined;
  try {
    ca = probes.certificates(settings);
  } catch {
    return [skipped('server', 'needs the certificates'), skipped('clock', 'needs the server')];
  }
  const path = routes.director('timestamp.json');
  let look: ServerLook;
  try {
    look = await probes.server(settings, url.replace(/\/+$/, '') + path, ca);
  } catch (error) {
    const todo = 'correct server.proxy, or HTTPS_PROXY and HTTP_PROXY of the environment';
    return [bad('server', faultText(error), todo), skipped('clock', 'needs the server')];
  }
  if (look.failure !== null) {
    const isCertificate = isCertificateCode(look.failure);
    const todo = isCertificate
      ? 'put the certificate of its CA into server.ca_file; check the name in server.url and ' +
        'the clock'
      : 'check server.url, the network and the firewall; what is installed is served without it';
    const finding = isCertificate ? bad : warning;
    return [
      finding('server', `${url}: ${look.failure}`, todo),
      skipped('clock', 'needs the server'),
    ];
  }
  const named = Number(look.headers[TIME_HEADER]);
  if (!Number.isSafeInteger(named) || named <= 0)
    return [
      bad('server', `${url} answers ${look.status}, but is no fleet server`, 'correct server.url'),
      skipped('clock', 'needs the server'),
    ];
  return [good('server', `${url} answers`), clockFinding(probes.now() - named)];
}

function clockFinding(errorMs: number): Finding {
  const seconds = Math.round(Math.abs(errorMs) / 1000);
  const found = `${seconds} s ${errorMs < 0 ? 'behind' : 'ahead of'} the server`;
  return Math.abs(errorMs) > limits.clockErrorShownMs
    ? warning('clock', found, "set it (NTP); until then the agent goes by the server's time")
    : good('clock', found);
}
