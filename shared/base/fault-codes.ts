// Every fault that Linnet can report, by code: its kind (`refused`: the input is wrong, do not
// retry; `flaked`: a temporary failure, retry within limits; `spent`: the limit of retries was
// reached), what it means, and what an operator should do. A bug is not a
// fault: it is an assertion. Codes are part of the API: they travel in outcomes, HTTP errors and
// security events, so they are never renamed. Over 400 lines because the registry is one table:
// code, kind, meaning and what to do.

export type FaultKind = 'refused' | 'flaked' | 'spent';

interface Entry {
  readonly kind: FaultKind;
  /** HTTP status, where the fault may answer a request. */
  readonly http: number;
  readonly meaning: string;
  readonly todo: string;
  /** Reported to the server as a security event as well. */
  readonly security?: true;
}

const refused = (http: number, meaning: string, todo: string): Entry => ({
  kind: 'refused',
  http,
  meaning,
  todo,
});
const attack = (meaning: string, todo: string): Entry => ({
  kind: 'refused',
  http: 422,
  meaning,
  todo,
  security: true,
});
const flaked = (http: number, meaning: string, todo: string): Entry => ({
  kind: 'flaked',
  http,
  meaning,
  todo,
});
const spent = (meaning: string, todo: string): Entry => ({
  kind: 'spent',
  http: 500,
  meaning,
  todo,
});

export const FAULT_CODES = {
  // TUF and Uptane metadata
  metadata_undecodable: attack(
    'signed metadata is not what its schema says',
    'Fetch it again; if that fails too, the repository is damaged or tampered with.',
  ),
  metadata_too_large: attack(
    'metadata is longer than its limit (endless data attack)',
    'Check the mirror that served it.',
  ),
  metadata_signature: attack(
    "metadata is not signed by its role's threshold of keys (arbitrary installation attack)",
    'Sign it with the keys that root.json names.',
  ),
  metadata_rollback: attack(
    'metadata is older than what was trusted before (rollback attack)',
    'Publish with a higher version; check the mirror for stale copies.',
  ),
  metadata_expired: attack(
    'metadata has expired (indefinite freeze attack)',
    'Let the server re-sign its timestamp, or sign new metadata; check the device clock.',
  ),
  metadata_mismatch: attack(
    'metadata is not the version, length or hash that its parent lists (mix-and-match attack)',
    'Check that the mirror serves one consistent snapshot.',
  ),
  metadata_time: attack(
    'signed metadata names a time that cannot be the present (freeze attack by a lying clock)',
    'Check the clock of the fleet server; if a key was stolen, rotate it with a new root.',
  ),
  root_version: attack(
    'a new root is not exactly one version above the trusted one',
    'Publish every intermediate root.',
  ),
  director_delegates: attack(
    'director targets carry delegations, which Uptane forbids',
    'Check the fleet server.',
  ),
  director_other_device: attack(
    'director metadata was made for another device (replay)',
    'Check the fleet server and its broker rules.',
  ),
  target_unknown: attack(
    'the director assigns a release that image targets do not list (arbitrary software attack)',
    'Publish the release first; if it is published, the director may be compromised.',
  ),
  target_mismatch: attack(
    'director and image repository disagree on a release',
    'Publish again; if that does not help, the director may be compromised.',
  ),
  component_unknown: attack(
    'the director assigns a release to a component that the device does not have',
    "Compare `components` in the agent's configuration with the rollout; check the fleet server.",
  ),
  // Releases and bundles
  signature_invalid: attack(
    'a signature does not match its document',
    'Rebuild and sign the release with a key that root.json lists as a release key.',
  ),
  manifest_undecodable: attack(
    'a release manifest is not what its schema says',
    'Build the bundle with `linnet bundle build`.',
  ),
  manifest_mismatch: attack(
    'the signed manifest is for another component or version than the target that carries it',
    'Publish again with `linnet publish`.',
  ),
  file_digest: attack(
    'a file does not have the SHA-256 that its manifest lists',
    'Fetch or build it again.',
  ),
  file_length: attack(
    'a file is longer or shorter than its manifest says',
    'Fetch or build it again.',
  ),
  bundle_undecodable: refused(
    400,
    'the file is not a Linnet bundle, or is damaged',
    'Copy it again, or build it with `linnet bundle build`.',
  ),
  bundle_truncated: refused(
    400,
    'the bundle ends too early',
    'Copy it again: the copy is not complete.',
  ),
  hardware_unsupported: refused(
    409,
    "the release does not list this device's hardware id",
    'Build the release for this hardware or choose other devices.',
  ),
  version_floor: attack(
    'the release is older than the one that runs (rollback attack)',
    'Publish a higher version; `linnet rollout abort` rolls devices back.',
  ),
  payload_unsupported: refused(
    422,
    'the release has a payload kind that this component does not support',
    'Assign a release of a kind that the agent supports, or update the agent first.',
  ),
  contract_memory: refused(
    409,
    "the device has less free memory than the release's resource contract needs",
    'Free memory or ship a smaller model.',
  ),
  contract_disk: refused(
    507,
    'the device has less free disk than the release needs',
    'Free disk space, then start the rollout again.',
  ),
  // Models
  model_not_onnx: refused(
    400,
    'the file is not an ONNX model that ONNX Runtime can load',
    'Export it again and check it with `linnet model inspect`.',
  ),
  model_tensors_differ: refused(
    409,
    "the model's tensors differ from its manifest or from the given data",
    'Rebuild the bundle from this very model, or give inputs as `linnet model inspect` lists them.',
  ),
  model_unsupported: refused(
    400,
    'the model uses a feature that Linnet does not serve',
    'Change the model as the message says and export it again.',
  ),
  model_unquantizable: refused(
    400,
    'the quantizer cannot quantize this model',
    'The message names the node; change it or ship the fp32 model.',
  ),
  data_mismatch: refused(
    400,
    'the given data is not what the model takes',
    'Give arrays with the names, types and shapes that `linnet model inspect` lists.',
  ),
  data_undecodable: refused(
    400,
    'a data file cannot be decoded',
    'Write it as NumPy .npy version 1 (f4, u1, i4 or i8, C order).',
  ),
  // Probes and trials
  probe_differs: refused(
    409,
    'a golden probe answers outside its tolerance on this device',
    'The model computes other values here: check hardware and runtime, record goldens again.',
  ),
  acceptance_failed: refused(
    409,
    "the release does not reach what the component's acceptance set asks for",
    'Its answers to labelled inputs are wrong: check its training data and their labels.',
  ),
  probe_slow: refused(
    409,
    "golden probes are slower than the release's latency contract",
    'Ship a smaller model or raise the contract.',
  ),
  probe_memory: refused(
    409,
    "the model process uses more memory than the release's contract",
    'Ship a smaller model or raise the contract.',
  ),
  rehearsal_differs: refused(
    409,
    "the new model's answers to the device's own recent inputs differ beyond the limit",
    'Compare the two models on labelled data before trying again.',
  ),
  rehearsal_crashes: refused(
    409,
    "the new model's process crashed or hung on the device's own recent inputs",
    "Look at the model process's log on the device.",
  ),
  trial_disagreement: refused(
    409,
    'old and new model disagree on the same live inputs beyond the limit',
    'Compare the two models on labelled data before trying again.',
  ),
  trial_drift: refused(
    409,
    "the new model's predicted classes or confidences moved away from the old one's",
    'Compare the two models on labelled data before trying again.',
  ),
  trial_errors: refused(
    409,
    'the new model failed on live requests beyond the limit',
    "Read the device's log; fix the model.",
  ),
  trial_differs: refused(
    409,
    'the answers differ more from the old release than declared, but less than the cap',
    'Compare what was declared with what was measured; accept it for this rollout or drop it.',
  ),
  difference_not_accepted: refused(
    409,
    'the difference that a release expects is too large or was measured on too few inputs',
    'Evaluate on more inputs, make a release that differs less, or accept the numbers with ' +
      '--accept-difference.',
  ),
  trial_slow: refused(
    409,
    'the new model is slower than the old one or than its latency contract',
    "See the trial's reasons; raise the accepted slowdown or make the model faster.",
  ),
  trial_crashes: refused(
    409,
    "the new model's process crashed or hung repeatedly",
    "Read the device's log; fix the model.",
  ),
  trial_unproven: refused(
    409,
    'the trial ended without enough evidence of health',
    'Send the device traffic, lengthen the trial, or lower its minimum.',
  ),
  shadow_needs_serving: refused(
    409,
    'there is no release to compare with: a shadow runs beside a release of its kind that serves',
    'Roll a release out to the device first, or leave the device out of the shadow.',
  ),
  release_halted: refused(
    409,
    'a release failed on more devices than acceptable, and its rollout was stopped',
    'See the arithmetic in `linnet rollout show`; correct the release before the next rollout.',
  ),
  release_alarm: refused(
    409,
    'a release of a completed rollout failed on more devices than acceptable',
    'No further device takes it; see `linnet rollout show`, and undo the rollout.',
  ),
  release_unhealthy: refused(
    409,
    'devices of a fleet newly show a condition of their release more often than acceptable',
    'See `linnet device list` for the devices; undo the rollout if the release is the cause.',
  ),
  trial_withdrawn: refused(
    409,
    'the server withdrew the release during the trial',
    'See why the rollout stopped: `linnet rollout show`.',
  ),
  model_crash_loop: refused(
    409,
    'a confirmed release crashed or hung again and again, and the device went back by itself',
    "Read the device's log; fix the model.",
  ),
  model_unhealthy: refused(
    409,
    'a confirmed release crashes, hangs, fails, withholds answers or exceeds its contract',
    'See `linnet device show` for what it is; roll the release back when more devices show it.',
  ),
  // Requests to the local inference API
  request_undecodable: refused(
    400,
    'the request is not Open Inference Protocol v2',
    'Compare it with the example in the README (`v2/models/digits/infer`).',
  ),
  request_unsupported: refused(
    400,
    'the request uses a protocol feature that Linnet does not have',
    'Leave out what the message names.',
  ),
  request_foreign: refused(
    403,
    'the Host or Origin header names another site (DNS rebinding or a cross-site request)',
    'Use a loopback address, a name in `api.host_names`, or the unix socket.',
  ),
  method_not_allowed: refused(
    405,
    'the path exists, but not for this HTTP method',
    'Use a method that the Allow header lists.',
  ),
  request_tensor: refused(
    400,
    "a tensor's name, shape, datatype or size is not what the model takes",
    'GET /v2/models/{model} lists what it takes.',
  ),
  request_value: refused(
    400,
    'a tensor holds NaN, infinity, or a value out of the declared range',
    'Check the sensor or the pre-processing.',
  ),
  request_too_large: refused(
    413,
    'the request is larger than its limit',
    'Send fewer or smaller tensors.',
  ),
  model_unknown: refused(
    404,
    'no such model or version is served here',
    'The error names the models and versions that are served; so does `linnet device show`.',
  ),
  model_not_ready: flaked(
    503,
    'no release of this model is loaded yet',
    "Wait for the first rollout, or read the agent's log.",
  ),
  busy: flaked(
    503,
    'the admission queue is full',
    'Send fewer requests at once, or retry after a moment.',
  ),
  deadline: flaked(
    504,
    'the request missed its deadline',
    'Retry; if it happens often, the model is too slow for its traffic.',
  ),
  host_start: flaked(
    503,
    'a model process did not start',
    "Read the agent's log: it quotes the process's standard error.",
  ),
  host_died: flaked(
    503,
    'a model process died during a request',
    'Retry; the agent restarts it and rolls back after repeated faults.',
  ),
  host_hung: flaked(
    503,
    'a model process did not answer and was killed',
    'Retry; the agent restarts it and rolls back after repeated faults.',
  ),
  installation_incomplete: flaked(
    503,
    'the installation of the agent lacks files that model processes need',
    'Install the agent again; the message names what is missing.',
  ),
  model_run_failed: refused(
    500,
    'the model failed on input that its manifest allows, or answered NaN or infinity',
    'Try other input; if that fails too, the release is faulty: read the log, roll it back.',
  ),
  // Network and disk
  server_unreachable: flaked(
    503,
    'the fleet server does not answer',
    'Check the address, the network and the server.',
  ),
  server_untrusted: refused(
    502,
    'the certificate of the server does not verify',
    "Check the address and this machine's clock; name the CA that signed the certificate: " +
      '`linnet login --ca FILE`, or NODE_EXTRA_CA_CERTS=FILE.',
  ),
  server_foreign: refused(
    502,
    'what answers at the address is not a fleet server',
    'Correct the address: scheme, host and port of the fleet server, and its path behind a proxy.',
  ),
  database_unreachable: flaked(
    503,
    "PostgreSQL did not answer, or refused the fleet server's login",
    'Check the URL, the password and that PostgreSQL runs; the server goes on when it answers.',
  ),
  schema_newer: refused(
    500,
    'the database, or the backup, was made by a newer version of Linnet',
    'Run that version or a newer one. To go back to this one, restore the backup from before the' +
      ' upgrade (docs/operations.md).',
  ),
  backup_invalid: refused(
    422,
    'a file is no backup, is cut short, or is damaged',
    'Take another copy of the backup, or an older one; nothing was restored from this one.',
  ),
  restore_unfinished: refused(
    500,
    'a restore into this data folder was cut short',
    'Run `linnet server restore` again with the same backup; it begins anew.',
  ),
  fetch_interrupted: flaked(503, 'a download was interrupted', 'It resumes by itself.'),
  disk_full: flaked(
    507,
    'the disk is full',
    'Free disk space on the machine that the message is from; what it has is kept.',
  ),
  disk_failed: flaked(
    500,
    'a read from or a write to the disk failed',
    'Check the storage medium.',
  ),
  artifact_store_unreachable: flaked(
    503,
    'the artifact store fails, cuts connections or does not answer',
    'Check the store and the network between it and the fleet server.',
  ),
  artifact_store_refused: refused(
    502,
    'the artifact store refuses what the fleet server asks for',
    'Check bucket, region, `path_style`, the access key and what it may do; the message says more.',
  ),
  deferred: flaked(
    503,
    "the device waits for its own update hours (`update.windows` in the agent's configuration)",
    'Nothing to do; the detail says when they begin.',
  ),
  retries_spent: spent(
    'a step failed as often as its limit allows',
    'Read the cause; start the rollout again when the cause is fixed.',
  ),
  writes_spent: spent(
    'the update record was written as often as its limit allows (loop)',
    'Report this: the update machine did not reach a stable state.',
  ),
  // Server, access, configuration
  message_undecodable: refused(
    400,
    'a message or request cannot be decoded',
    'Correct what the message names; /openapi.json says what each route takes.',
  ),
  media_type_unsupported: refused(
    415,
    'the content type of the body is not one that the route takes',
    'Send application/json, or what /openapi.json says for the route.',
  ),
  header_too_large: refused(
    431,
    'the head of the request is longer than its limit',
    'Send shorter headers and a shorter URL.',
  ),
  range_unsatisfiable: refused(
    416,
    'the requested range lies outside the file',
    'Ask for a range within the length that the Content-Range header names.',
  ),
  request_timeout: flaked(
    408,
    'the request did not arrive within its time limit',
    'Send it again over a faster connection.',
  ),
  auth_missing: refused(
    401,
    'no valid credentials',
    'Operators: `linnet login` with a valid token. Devices: enrol.',
  ),
  clock_wrong: refused(
    401,
    "a device token was made at another time than the server's present",
    'The device corrects its offset by itself; set its clock if it stays.',
  ),
  fleet_wrong: refused(
    401,
    'a device token is for the director of another fleet',
    'Compare `trust.director_root` with the trust/ folder of the fleet, and check `server.url`.',
  ),
  too_many_attempts: flaked(
    429,
    'too many failed logins from this address',
    'Wait as long as Retry-After says, and correct the token: only failed logins count.',
  ),
  overloaded: flaked(
    503,
    'more devices come than the server can serve at once',
    'Devices come back by themselves; if it lasts, SCALE.md says how many a server carries.',
  ),
  too_many_streams: flaked(
    429,
    'too many open change streams of this token, or in all',
    'Close pages of the console that nobody reads, or use a token of your own.',
  ),
  quota_exceeded: flaked(
    507,
    'files that were uploaded and not published fill the quota of this operator',
    'Publish their releases, or wait until they expire.',
  ),
  auth_denied: refused(
    403,
    'these credentials do not allow this',
    'Use a token with the role that the message names.',
  ),
  claim_invalid: refused(
    403,
    'the claim token is unknown, used up or expired',
    'Make a new one with `linnet device claim`.',
  ),
  fingerprint_mismatch: refused(
    409,
    "approval by name needs the fingerprint of the device's key, and it must match",
    "Compare with the fingerprint in the device's log, or approve by id.",
  ),
  device_cloned: refused(
    409,
    'two installations alternate under one device id (a copied data folder)',
    'Remove identity.json from the data folder of the copy and enrol it as a device of its own.',
  ),
  not_found: refused(
    404,
    'nothing has this name, id or path',
    'Check the name, id or path that the message gives.',
  ),
  conflict: refused(
    409,
    'what is there already does not allow this',
    'Change what the message names, or name something else; the same request is refused again.',
  ),
  certificate_request_invalid: refused(
    422,
    'a request for a client certificate does not name its device or does not prove its key',
    'Update the agent; if it is current, someone else holds a token of this device.',
  ),
  config_invalid: refused(
    400,
    'the configuration has mistakes',
    'Correct every one that the message lists in the configuration file, or set it right in the ' +
      'environment (LINNET_SERVER__..., LINNET_AGENT__...); nothing was started.',
  ),
  key_invalid: refused(
    400,
    'a key file cannot be used',
    'Make one with `linnet keys new`, or give its passphrase in LINNET_KEY_PASSPHRASE.',
  ),
  profile_invalid: refused(
    400,
    'the file of profiles cannot be used',
    'Do what the message says; or remove the file and run `linnet login` again.',
  ),
  port_in_use: refused(
    409,
    'the address is already in use',
    'Stop the other process or choose another port.',
  ),
  usage: refused(400, 'the command line is wrong', 'See --help.'),
  file_unreadable: refused(
    400,
    'a file that the command is to read cannot be read',
    'Name a file that is there and that this user can read.',
  ),
  internal: {
    kind: 'spent',
    http: 500,
    meaning: 'a bug in Linnet',
    todo: 'Report it with the log.',
  },
} as const satisfies Record<string, Entry>;

export type FaultCode = keyof typeof FAULT_CODES;

/**
 * The one error class for everything that is not a bug. `detail` says what is wrong, for people.
 */
export class Fault extends Error {
  override readonly name = 'Fault';
  /** When to try again, where the fault knows it. */
  readonly retryAfterMs: number | null;
  constructor(
    readonly code: FaultCode,
    readonly detail: string,
    { retryAfterMs = null, ...options }: { cause?: unknown; retryAfterMs?: number | null } = {},
  ) {
    super(`${code}: ${detail}`, options);
    this.retryAfterMs = retryAfterMs;
  }

  get kind(): FaultKind {
    return FAULT_CODES[this.code].kind;
  }

  get entry(): Entry {
    return FAULT_CODES[this.code];
  }
}

export function isFault(error: unknown, ...codes: FaultCode[]): error is Fault {
  return error instanceof Fault && (codes.length === 0 || codes.includes(error.code));
}

export function isFaultCode(text: string): text is FaultCode {
  return Object.hasOwn(FAULT_CODES, text);
}

/** What to do about a code that an agent reported; null for one of another version. */
export const todoOf = (code: string): string | null =>
  isFaultCode(code) ? FAULT_CODES[code].todo : null;

/** The text of any thrown value, with its causes, on one line. */
export function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error instanceof Fault ? error.message : `${error.name}: ${error.message}`;
  return error.cause === undefined ? own : `${own} <- ${reason(error.cause)}`;
}

/** A thrown value as an Error: itself, or an Error that says what was thrown. */
export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(reason(error));
}

/** The system error code (ENOSPC, EADDRINUSE, ...) of a thrown value, where it has one. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** How Node.js names a certificate that does not verify. */
const CERTIFICATE_CODES = new RegExp(
  '^(CERT_|CRL_|DEPTH_ZERO_|ERR_TLS_CERT_|HOSTNAME_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|' +
    'SELF_SIGNED|UNABLE_TO_)',
);
export const isCertificateCode = (code: string): boolean => CERTIFICATE_CODES.test(code);
