// Every limit of Linnet, in one place, with its unit as the last word of its name. Both ends of the
// wire obey the same numbers. The relations that must hold between them are asserted at the end, so
// that a change that breaks one fails at the first import instead of in the field. Over 400 lines
// because all limits are read in one place.
import assert from 'node:assert/strict';
import { DAY_MS, HOUR_MS, KIB, MIB, MINUTE_MS } from './units.js';

export const limits = {
  /** Nesting of arrays and objects in any JSON document that Linnet parses. */
  jsonDepthMaxCount: 64,
  /** What a message lists (complaints, names) before it says how many more there are. */
  listedMaxCount: 20,
  /** Errors that the decoder looks at; every wrong branch of a union is one. */
  decodeErrorsMaxCount: 100,
  /** Of foreign text (a path, a topic, the answer of a server) that a message quotes. */
  quotedMaxChars: 300,
  /** A name that may come from elsewhere: of a tensor, a file, a payload type, an actor. */
  nameMaxChars: 200,
  filePathMaxChars: 4096,
  deviceIdMaxChars: 64,
  /** Read from a file at once. */
  readChunkBytes: 1 * MIB,

  // TUF metadata (the limits that python-tuf and tuf-js use by default; spec section 5.3 asks for
  // X, Y and Z bytes).
  rootMaxBytes: 512 * KIB,
  rootRotationsMaxCount: 256,
  timestampMaxBytes: 16 * KIB,
  snapshotMaxBytes: 2 * MIB,
  targetsMaxBytes: 5 * MIB,
  signaturesMaxCount: 32,
  /** Room for signatures of other schemes, which are passed over. */
  signatureMaxChars: 2000,
  /** Keys of one role. */
  ringKeysMaxCount: 64,
  /** How often the server looks whether what it signs itself must be renewed. */
  metadataRenewEveryMs: HOUR_MS,

  // Key files.
  keyFileMaxBytes: 16 * KIB,
  /** What scrypt may need for a key file; the cost in the file says how much it does. */
  scryptMemoryMaxBytes: 512 * MIB,
  /** Of a version that a device may report; nine digits are what file names have room for. */
  metadataVersionMaxCount: 900_000_000,

  // Releases.
  manifestMaxBytes: 1 * MIB,
  /** The index at the beginning of a bundle. */
  bundleIndexMaxBytes: 256 * KIB,
  /** A bundle's envelope and targets as they are published, in base64 in JSON. */
  publishBodyMaxBytes: 13 * MIB,
  releaseFilesMaxCount: 64,
  releaseFileMaxBytes: 1024 * MIB,
  releaseTotalMaxBytes: 2048 * MIB,
  /** Files that an operator has uploaded and that no release names yet. */
  uploadsPerOperatorMaxBytes: 8192 * MIB,
  uploadsPerOperatorMaxCount: 256,
  /** They are deleted when nobody has asked for them for so long. */
  uploadKeptMs: DAY_MS,
  uploadsCollectEveryMs: HOUR_MS,
  fileEncodingsMaxCount: 4,
  descriptionMaxChars: 500,
  /** Hardware that one release is for. */
  hardwareMaxCount: 64,
  /** Inputs, or outputs, of a model. */
  modelTensorsMaxCount: 32,
  tensorDimsMaxCount: 8,
  peakMemoryMaxMib: MIB,
  labelMaxChars: 100,
  /** Classes of a classifier. */
  labelsMaxCount: 1000,
  /** A signed set of labelled inputs, and how many it may hold. */
  acceptanceSetMaxBytes: 8 * MIB,
  acceptanceSamplesMaxCount: 5000,
  probesFileMaxBytes: 16 * MIB,
  probesMaxCount: 64,
  /**
   * The least signal to quantization noise ratio of an int8 model's output on the calibration data.
   * Real models reach 11 to 50 dB; below 7 dB (cosine about 0.9) a model answers differently.
   */
  quantizedSqnrMinDb: 7,
  /** The least share of equal elements of an int8 model's integer output, likewise. */
  quantizedEqualMinRatio: 0.9,
  /** Operator sets that the quantizer was checked against. */
  quantizedOpsetMinVersion: 9,
  quantizedOpsetMaxVersion: 22,
  /** Runs of a candidate that its latency is taken from. */
  probeRunsMaxCount: 200,
  /** With fewer runs the report says how many there were. */
  probeRunsMinCount: 50,
  probeRunsMs: 3_000,

  // The artifact store in an S3 bucket.
  /** Of a large upload; two of them are in memory. S3 takes 5 MiB to 5 GiB, and 10,000 of them. */
  s3PartBytes: 8 * MIB,
  s3PageMaxCount: 1_000,
  /** How long a URL works that a device is redirected to. */
  s3LinkMs: 5 * MINUTE_MS,

  // The artifact store in an OCI registry.
  /** Of an upload; one or two are in memory. Some registries take no more than 4 MiB at once. */
  ociChunkBytes: 4 * MIB,
  /** The most that a registry may ask for as the least length of a chunk. */
  ociChunkMaxBytes: 16 * MIB,
  ociPageMaxCount: 1_000,
  /** Manifests read at once for a list. */
  ociReadsAtOnceMaxCount: 8,
  /** A registry that says no life of its token means this one. */
  ociTokenMs: MINUTE_MS,
  /** A token is renewed this long before its end. */
  ociTokenMarginMs: 10_000,
  ociRedirectsMaxCount: 4,

  // Every artifact store over HTTP.
  /** Handed to the network at once. */
  storePieceBytes: 64 * KIB,
  /** Of an answer that is no artifact: a page of the list. */
  storeAnswerMaxBytes: 4 * MIB,
  storeTriesMaxCount: 4,
  storeBackoffFirstMs: 200,
  storeBackoffMaxMs: 5_000,
  /** A request on which nothing moves. */
  storeIdleMs: 30_000,

  // Fetching.
  fetchChunkBytes: 1 * MIB,
  /** Pieces of one write to a partial file; Linux takes 1024 (IOV_MAX). */
  writePiecesMaxCount: 512,
  fetchIdleMs: 30_000,
  /** A timestamp.json is asked for by its entity tag for so long after it was fetched whole. */
  revalidatedMs: 10 * MINUTE_MS,
  /** Bytes per second. A source that sends less is aborted. */
  fetchRateMinBytes: 1 * KIB,
  fetchDocumentMs: 5 * MINUTE_MS,
  /** Paths whose mirror is remembered: more than one release and its metadata have. */
  fetchGiversMaxCount: 256,
  /** Downloads of one release that fail verification before the assignment is refused. */
  fetchTriesMaxCount: 3,
  /** A mirror that failed is asked last for so long. */
  mirrorPauseMs: 60_000,
  errorBodyMaxBytes: 8 * KIB,
  /** Of the download of one file. */
  redirectsMaxCount: 2,

  // The update machine.
  stepTriesMaxCount: 5,
  /** A warning that says the same as before is logged again after so long. */
  sameWarningEveryMs: HOUR_MS,
  stepBackoffFirstMs: 500,
  stepBackoffMaxMs: 60_000,
  /**
   * A failed assignment that must succeed (a rollback, or a device that serves nothing) is accepted
   * again after this pause, which doubles each time.
   */
  assignmentRetryFirstMs: 60_000,
  assignmentRetryMaxMs: HOUR_MS,
  idlePauseMs: 1_000,
  trialPauseMs: 500,
  /** Between two looks at an installation that lacks files. */
  installationPauseMs: 10_000,
  /** The longest wait between two polls, whatever the settings say. */
  pollMaxMs: DAY_MS,
  recordWritesMaxCount: 200,
  recordMaxBytes: 256 * KIB,
  /** Faults of a new release in its trial before it is rolled back. */
  trialFaultsMaxCount: 3,
  freeSpaceReserveBytes: 1 * MIB,

  // Rehearsal.
  /** Recent inputs that a device keeps of a component: one for each part of their age. */
  rehearsalInputsMaxCount: 200,
  rehearsalInputsMaxMib: 1024,
  rehearsalAgeMaxHours: 7 * 24,
  /** All runs of one release in a rehearsal. */
  rehearsalRunsMs: 20_000,
  /** Rehearsals whose result is remembered: an input is used once for each release. */
  rehearsalsKeptMaxCount: 8,

  // Model processes.
  hostStartMs: 20_000,
  hostRunMs: 10_000,
  hostDrainMs: 10_000,
  hostFrameMaxBytes: 256 * MIB,
  hostRestartBackoffFirstMs: 200,
  hostRestartBackoffMaxMs: 10_000,
  /** Between SIGTERM and SIGKILL of a process that did not end when its socket closed. */
  hostTermGraceMs: 1_000,
  /** Lines of its standard error that reach the agent's log, for each process. */
  hostLogLinesMaxCount: 200,
  hostLogLineMaxChars: 500,
  /** The end of its standard error, quoted when it dies. */
  hostLogTailMaxChars: 300,
  /** How far back the conditions of a release reach (condition-watch.ts). */
  conditionWindowMs: 24 * 60 * 60_000,
  /** Requests below which a share of failed ones says nothing. */
  conditionRequestsMinCount: 100,
  conditionErrorsMaxPermille: 50,
  conditionsMaxCount: 16,
  memoryCheckEveryMs: 10_000,
  /** So many crashes and hangs of a confirmed release within crashLoopMs are a crash loop. */
  crashLoopMaxCount: 5,
  crashLoopMs: 10 * 60_000,
  /** Starts in a row that fail before a confirmed release gives way to the previous one. */
  activationTriesMaxCount: 8,
  /** Measured: up to this size one copy into one buffer is cheaper than a vector of pieces. */
  hostFrameJoinedMaxBytes: 64 * KIB,
  /** Header of one IPC frame: a control message or the table of tensors. */
  hostFrameHeaderMaxBytes: 1 * MIB,

  // The local inference API.
  requestMaxBytes: 64 * MIB,
  /** Request bodies in memory at once, in units of requestMaxBytes. */
  requestBodiesMaxCount: 2,
  requestHeaderMaxBytes: 1 * MIB,
  /** The last JSON header of a model is kept, so that a client that repeats it is served faster. */
  requestHeaderKeptMaxBytes: 4 * KIB,
  /** Measured: up to this size one copy into one buffer is cheaper than several writes. */
  answerJoinedMaxBytes: 32 * KIB,
  /** Of a wrong element of a tensor that a message quotes. */
  elementShownMaxChars: 40,
  /** JSON is parsed on the agent's event loop; larger tensors must use the binary form. */
  jsonRequestMaxBytes: 4 * MIB,
  requestIdMaxChars: 1_000,
  requestTensorsMaxCount: 64,
  /** Runs of one request: it is repeated once when its model process dies. */
  requestTriesMaxCount: 2,
  requestDeadlineMs: 5_000,
  /** To receive a whole request, and to send a whole answer. A slower client is cut off. */
  requestTransferMs: 10_000,
  connectionIdleMs: 60_000,
  connectionCheckMs: 1_000,
  connectionsMaxCount: 256,
  admissionQueueMaxCount: 64,
  shadowQueueMaxCount: 4,
  /**
   * Comparisons wait for a moment without requests; where there never is one, this often one is
   * made all the same.
   */
  shadowWaitMaxMs: 250,

  // Telemetry.
  recordBodyMaxBytes: 64 * KIB,
  /** What a record costs beside its body: its other fields in JSON, and its row. */
  recordExtraBytes: 80,
  /** The words of an outcome or a security event; longer ones are cut where they are made. */
  detailMaxChars: 2000,
  batchMaxCount: 200,
  batchMaxBytes: 256 * KIB,
  mqttPayloadMaxBytes: 1 * MIB,
  /** A publish: its payload, its topic and the protocol's own fields. */
  mqttPacketMaxBytes: 1 * MIB + 4 * KIB,
  /** A login, with its token; from a peer that is not known yet. */
  mqttConnectMaxBytes: 4 * KIB,
  /** A subscription to one filter. */
  mqttSubscribeMaxBytes: 256,
  /** Acknowledgements, pings, the end of a connection. */
  mqttControlMaxBytes: 64,
  /** From the start of a connection to its login. */
  mqttConnectMs: 10_000,
  /** Then a device that reads nothing of what waits for it is disconnected. */
  mqttUnreadMs: 10_000,
  mqttReconnectMs: 1_000,
  mqttClientIdMaxChars: 64,
  mqttTopicLevelsMaxCount: 8,
  /** Messages that an external broker keeps for one client that is slow. */
  brokerQueuedMaxCount: 100,
  /** Of one client at an external broker; a device and a server need one. */
  brokerSubscriptionsMaxCount: 4,
  ackWaitMs: 5_000,
  ackBackoffFirstMs: 1_000,
  ackBackoffMaxMs: 60_000,
  linkConnectMs: 15_000,
  /** For a proxy to open a tunnel. */
  proxyAnswerMaxMs: 15_000,
  linkKeepaliveSeconds: 30,
  linkBackoffFirstMs: 500,
  linkBackoffMaxMs: 30_000,
  /** A connection that holds this long ends the backoff. */
  linkSettledMs: 10_000,
  /** After such a connection is lost, a fleet comes back within this time, and not at once. */
  linkSpreadMs: 10_000,
  /** So many failed attempts does such a loss count for. */
  linkLostTriesCount: 3,
  linkRefusedFirstMs: 5_000,
  linkRefusedMaxMs: 120_000,
  /** The broker has no room now: it said so early, to be spared the next attempts. */
  linkBusyFirstMs: 10_000,
  linkBusyMaxMs: 30_000,
  spoolLockWaitMs: 2_000,
  healthEveryMs: 10_000,
  inferenceEveryMs: 2_000,

  // Access.
  deviceTokenLifeMs: 5 * MINUTE_MS,
  /** A device token is used again for so long. */
  deviceTokenReuseMs: 60_000,
  /** Public keys that are kept decoded: one costs more to decode than a check with it. */
  decodedKeysMaxCount: 20_000,
  /** Device tokens that the server remembers as verified, of HTTP and of MQTT each. */
  verifiedTokensMaxCount: 20_000,
  /** Devices whose director documents are kept from their timestamp to their targets. */
  directorAnswersMaxCount: 1_000,
  identityMaxBytes: 4 * KIB,
  enrolBodyMaxBytes: 64 * KIB,
  enrolAnswerMaxBytes: 64 * KIB,
  // Client certificates for brokers.
  authorityLifeMs: 20 * 365 * DAY_MS,
  deviceCertificateLifeMs: 90 * DAY_MS,
  /** A certificate and a revocation list are valid from so long before they are made. */
  certificateSkewMs: DAY_MS,
  /** Of one device that are valid at the same time. */
  deviceCertificatesMaxCount: 64,
  certificateRequestMaxChars: 2_000,
  /** A device looks so often whether its certificate is due. */
  certificateCheckMs: HOUR_MS,
  certificateBackoffFirstMs: 2_000,
  certificateAnswerMaxBytes: 64 * KIB,
  certificateFileMaxBytes: 64 * KIB,
  revocationListLifeMs: 7 * DAY_MS,
  revocationListEveryMs: 60 * MINUTE_MS,
  clockSkewMaxMs: 5 * MINUTE_MS,

  // `linnet agent doctor`, `linnet server doctor`.
  /** Of what a program that fails writes, as far as its reason is looked for. */
  programErrorMaxChars: 4000,
  /** Of a disk: a large release beside the one that serves. */
  doctorFreeMinBytes: 256 * MIB,
  doctorServerWaitMs: 10_000,
  /** A certificate that ends earlier should be renewed now. */
  doctorCertificateLeftMs: 14 * DAY_MS,
  /** For ONNX Runtime to load. */
  doctorLoadWaitMs: 2 * MINUTE_MS,

  /** An error of a device's clock that operators are told. */
  clockErrorShownMs: 60_000,
  /** The server's time is taken over again when it is this far from what the device goes by. */
  clockStepMinMs: 2_000,
  /**
   * How far the signed time of metadata may lie after the present, which is the last trusted time
   * plus the time elapsed since, or the device's clock. It limits what a lying clock can do.
   */
  trustedTimeStepMaxMs: 24 * 60 * 60_000,
  claimLifeDefaultMinutes: 60,
  /** Expired claims are kept so long, so that a device that shows one can be told why it waits. */
  claimKeptMs: 7 * 24 * 60 * 60_000,
  /** Hex digits of a key's fingerprint that must at least be compared. */
  fingerprintMinChars: 16,
  /** Instance ids of a device that are remembered: restarts between two reports of a copy. */
  deviceInstancesMaxCount: 8,
  /** A device counts as cloned for so long after two instances alternated last. */
  deviceClonedMs: 24 * 60 * 60_000,
  /** Repeats of a call that a token's role may not make are one audit entry in this time. */
  deniedRepeatsMs: 60_000,
  operatorBodyMaxBytes: 8 * MIB,
  /** A command waits for a server that asks it to come back within this time. */
  commandWaitMaxMs: 60_000,
  /** Points of the curve and of the boundary of a rollout's halt test. */
  evidencePointsMaxCount: 500,
  // Change streams (GET /events): open ones, of one token and in all.
  changeStreamsPerTokenMaxCount: 20,
  changeStreamsMaxCount: 200,
  /** Changes within it are one message. */
  changesGatherMs: 500,
  /** Of one topic in one message; more are told as any. */
  changedIdsMaxCount: 100,
  /** A stream hears of the passing time so often, and its token is checked again. */
  changeBeatMs: 10_000,
  /** Of a stream that its reader does not take; then changes are gathered. */
  changeStreamBytes: 64 * KIB,
  /** With several servers: how often one looks for what another one changed. */
  changeMarksEveryMs: 3_000,
  /** The newest rollouts whose revisions are compared. */
  changeMarksRolloutsMaxCount: 50,
  /** The overview of the fleet is counted at most so often. */
  fleetOverviewKeptMs: 5_000,
  listPageMaxCount: 1000,
  listPageDefaultCount: 100,
  /** Rows that one page of a list looks at, by a filter that no index serves. */
  listScanRowsCount: 10_000,
  /** `linnet rollout show` and `watch` name so many devices; `rollout members` has all. */
  rolloutScreenMembersMaxCount: 200,
  cursorMaxChars: 1000,
  /** A detail in a list is cut to this; the detail of the entry has all of it. */
  summaryDetailMaxChars: 200,
  auditDetailMaxChars: 4000,
  /** Rows that a verification of the audit chain reads at once. */
  auditVerifyMaxCount: 1000,
  /** The newest rollouts, in the detail of a release. */
  releaseRolloutsMaxCount: 20,
  /** What devices run is counted so often; the last count of an hour stays for so long. */
  fleetVersionsEveryMs: 5 * MINUTE_MS,
  fleetVersionsKeptMs: 30 * DAY_MS,
  /** Versions of a component, and components, that are counted apart. */
  fleetVersionsMaxCount: 20,
  fleetVersionsComponentsMaxCount: 20,
  fleetVersionsDefaultHours: 7 * 24,
  /** Of each kind, in the detail of a device. */
  deviceRecentMaxCount: 50,
  errorMaxChars: 4000,
  /** A parameter in a request's path. */
  pathParamMaxChars: 300,
  /** How long a stopping server lets requests under way end. */
  serverDrainMs: 5_000,
  /** Pending enrolments. Anyone can create one, so their number is limited. */
  pendingDevicesMaxCount: 1000,

  // What strangers may cost the server, by address (server/access).
  /** Failed logins of a kind that an address has at once, and the time that gives one back. */
  failedLoginsMaxCount: 30,
  failedLoginRefillMs: 1_000,
  /** Those of an identity that has logged in from the address. */
  knownFailedLoginsMaxCount: 10,
  limitedAddressesMaxCount: 10_000,
  knownLoginsMaxCount: 40_000,
  // Devices that come faster than they can be served (server/access/admission.ts).
  /**
   * Who would have to wait longer is refused. A device gives its login up after linkConnectMs, with
   * the wait in the kernel's queue before, and a request after fetchIdleMs.
   */
  loginWaitMaxMs: 2_000,
  deviceRequestWaitMaxMs: 5_000,
  admissionWaitingMaxCount: 5_000,
  /** In one turn of the event loop others begin until this time has passed. */
  admissionSliceMs: 2,
  admissionsPerTurnMaxCount: 8,
  /** Over so many the time that each takes is averaged. */
  admissionAverageCount: 32,
  /** When a refused device may ask again. */
  overloadRetryMs: 2_000,
  /** Descriptors for the database, the log and whatever else is not a connection. */
  openFilesReservedCount: 100,
  httpConnectionsMaxCount: 4_000,
  httpConnectionsPerAddressMaxCount: 1_000,
  /** Connections of an address that have not logged in yet; those that have are not counted. */
  mqttLoginsPerAddressMaxCount: 1_000,
  /** From the start of a connection, or of a further request on it, to the end of its headers. */
  httpHeadersMs: 10_000,
  httpHeadersMaxBytes: 16 * KIB,
  /** A connection without a request. */
  httpKeepAliveMs: 10_000,
  /** A connection on which nothing moves, in either direction. */
  httpIdleMs: 60_000,
  /** Between two looks of Node at headers that are late. */
  httpCheckEveryMs: 1_000,
  /** The body of a request whose sender is not an operator. */
  httpBodyMs: 30_000,
  /** The body of an operator's request: bytes a second, over each window. */
  uploadRateMinBytes: 4 * KIB,
  uploadRateWindowMs: 30_000,
  tlsHandshakeMs: 10_000,

  // The server's database.
  /** How long SQLite waits for another process (a backup, an operator's sqlite3) that locks it. */
  databaseLockWaitMs: 5_000,
  /** PostgreSQL: connections of one server; one statement; runs of a transaction that lost. */
  postgresConnectionsMaxCount: 10,
  statementMaxMs: 15_000,
  transactionTriesMaxCount: 10,
  /** SQLite: statements that are kept prepared. */
  preparedStatementsMaxCount: 500,
  /** PostgreSQL: likewise, of each connection; one has tens of kilobytes in the database. */
  postgresPreparedMaxCount: 200,
  /** Longer statements have lists of any length in them, and rarely come again. */
  postgresPreparedParametersMaxCount: 16,
  /**
   * SQLite: pages (4 KiB) in the write-ahead log before it is copied into the file. A page that
   * changes often is copied once; a copy of more pages would stall the event loop for longer.
   */
  sqliteLogMaxPages: 4_000,
  sqliteCacheMaxBytes: 16 * MIB,
  /** Rows of one statement: SQLite takes at most 32,766 parameters. */
  databaseRowsMaxCount: 500,
  statementParametersMaxCount: 32_766,

  // Backups of the server.
  /** Rows in memory at once; a part of the archive ends where it is longer. */
  backupRowsMaxCount: 100,
  backupPartBytes: 1 * MIB,
  /** A part as a restore takes it: a release's row has its manifest in it. */
  backupPartMaxBytes: 256 * MIB,
  /** The list at the end of the archive, with a line for each part and each file. */
  backupManifestMaxBytes: 256 * MIB,

  /** Small writes of many callers that share a transaction, and reads that share a statement. */
  groupedWritesMaxCount: 100,
  groupedReadsMaxCount: 100,
  /** What comes at once is gathered up to so many, or until nothing came for so many turns. */
  gatherMaxCount: 20,
  gatherQuietTurns: 2,

  // What the server keeps. The oldest go first.
  /** Raw records. Checked after every so many new ones of a device, so it may have a few more. */
  telemetryRowsPerDeviceMaxCount: 20_000,
  telemetryRowsCheckedCount: 1_000,
  rawTelemetryKeptMs: 7 * DAY_MS,
  telemetryHoursKeptMs: 30 * DAY_MS,
  /** An update report that repeats the one before is a row of its own once in this time. */
  updateRepeatedMs: HOUR_MS,
  /** Ids of batches of a device that are remembered, so that a repeated one is stored once. */
  recentBatchesMaxCount: 16,
  /** Devices whose new rows are counted in memory, for that check. */
  countedDevicesMaxCount: 100_000,
  pruneEveryMs: MINUTE_MS,
  /** Deleted in one transaction. */
  pruneRowsMaxCount: 1_000,
  /** Between two of these transactions. */
  prunePauseMs: 10,
  inferenceReleasesPerDeviceMaxCount: 50,
  outcomesPerDeviceMaxCount: 200,
  securityEventsPerSourceMaxCount: 5_000,
  /** Of one code of a known source. */
  securityEventsPerSourceAndCodeMaxCount: 2_000,
  /** Of one code, of all sources that did not authenticate together. */
  securityEventsAnonymousMaxCount: 2_000,
  /** Addresses of strangers, or details of a known source, of one code and day; then folded. */
  securityEventsPerCodeMaxCount: 500,
  /** Distinct events that wait to be written, of known and of anonymous sources each. */
  securityEventsQueueMaxCount: 1_000,
  /** Details of one code of a known source that wait; further ones are folded. */
  securityEventsWaitingPerCodeMaxCount: 50,
  securityEventsFlushMs: 500,
  /** Repeats of what strangers did are written so often. */
  securityEventsRepeatMs: 30_000,
  /**
   * Messages that wait for the database; beyond it they are dropped, and devices send them again.
   */
  ingestQueueMaxCount: 20_000,
  ingestQueueMaxBytes: 64 * MIB,
  /**
   * Of one device, besides what is being stored: it sends one batch and waits for the answer, and
   * may send it again.
   */
  ingestWaitingPerDeviceMaxCount: 4,
  /** A warning about one device is logged once in this time. */
  ingestWarningMs: 60_000,
  ingestWarningsKeptMaxCount: 1000,
  /** Batches of many devices that arrive within this time are stored in one transaction. */
  ingestGroupWaitMs: 2,
  ingestGroupMaxCount: 100,
  ingestGroupMaxBytes: 1 * MIB,
  ingestGroupRecordsMaxCount: 1_000,
  mqttClientsMaxCount: 20_000,
  /**
   * Connections that wait to be accepted: a fleet that comes back after a restart. Linux takes at
   * most net.core.somaxconn.
   */
  listenBacklogMaxCount: 4_096,

  // What operators watch.
  /** One look at whether the server is ready serves all who ask within this time. */
  readinessKeptMs: 2_000,
  /** With less room on a disk that it writes to, the server is not ready. */
  readyFreeMinBytes: 16 * MIB,
  /** The database is counted for metrics at most this often. */
  fleetCountsKeptMs: 15_000,
  /** Values of a label that keep their name; the others are added up as `other`. */
  metricGroupsMaxCount: 50,
  metricComponentsMaxCount: 20,
  metricVersionsMaxCount: 30,
  /** Series of one metric. */
  metricSeriesMaxCount: 1_000,
  eventLoopLookMs: 50,
  /** Of security events to the outside (server/exports). */
  exportEveryMs: 1_000,
  exportPageMaxCount: 100,
  /** An exporter that is further behind goes on with the newest. */
  exportBehindMaxCount: 10_000,
  exportSendMs: 10_000,
  /** Metrics by OTLP; the default of OpenTelemetry's own exporters. */
  metricsPushEveryMs: 60_000,
  exportBackoffFirstMs: 1_000,
  exportBackoffMaxMs: 5 * MINUTE_MS,
  /** Of a text in a line for a log collector; collectors take at least 2048 bytes a line. */
  exportedTextMaxChars: 1_000,
  hostNameMaxChars: 255,
  /** Of a W3C trace context. */
  traceIdBytes: 16,
  spanIdBytes: 8,
  webhookSecretMinBytes: 24,

  // Trials.
  /** The shortest block of time; longer ones double it. */
  trialBlockFirstMs: 125,
  /** Blocks of time without which a trial has no verdict on what it compares. */
  trialBlocksMinCount: 20,
  /** Blocks whose sequence is kept, for pooling over devices by rounds. */
  trialRoundsMaxCount: 64,
  /** Means of neighbouring blocks follow each other less than this. */
  trialAutocorrelationMaxRatio: 0.2,
  /** Outputs that are compared. */
  trialComparisonsMaxCount: 8,
  /** Requests at which the share of failed ones is looked at first, then at each doubling. */
  trialFirstLookCount: 100,
  /**
   * The fuse: so many pairs within so long, more than half of them beyond the cap in so many
   * scenes, or nearly all of them in fewer scenes.
   */
  trialFusePairsMinCount: 100,
  trialFuseSeconds: 10 * 60,
  trialFuseAfterSeconds: 5 * 60,
  trialFuseScenesMinCount: 20,
  trialFuseHopelessScenesMinCount: 4,
  trialFuseHopelessMinRatio: 0.9,
  /** Older releases from which a release declares its difference. */
  releaseBasesMaxCount: 16,
  /** Evaluation inputs below which an expected difference is taken only when it is accepted. */
  expectedDifferenceInputsMinCount: 300,
  /** Added to the upper bound of the difference that the makers measured. */
  trialDeclaredMarginPermille: 30,
  /** Share of requests that may be slower than the latency limit. */
  trialSlowRequestsMaxPermille: 30,
  /** A run is slow from this much of the old release's p99 on, where the contract allows it. */
  trialSlowRunMinRatio: 1.2,
  /** A trial that ended unproven goes on, and reports at this interval. */
  openTrialEveryMs: 60_000,

  /** Servers that sign for one device at once; each lost race is one of these. */
  signTriesMaxCount: 5,

  // The lease of the conductor, with several servers: it lasts, and is asked for this often.
  leaseMs: 3_500,
  leaseRenewMs: 1_000,
  /** How often a server looks for releases that another one published. */
  sharedFolderEveryMs: 1_000,
  /** From the death of a conductor until another server holds the lease. */
  leaseTakeoverMaxMs: 5_000,

  // Rollouts.
  conductorEveryMs: 500,
  /**
   * Looks of the conductor that are further apart were interrupted: nobody is judged by that time.
   */
  conductorGapMaxMs: 5_000,
  /** Devices and failures that the reasons of a rollout name one by one. */
  reasonLinesMaxCount: 5,
  /** A take races with others; after so many tries the device asks again. */
  takeTriesMaxCount: 5,
  /** Devices that ask for one rollout and are answered in one transaction. */
  takesTogetherMaxCount: 20,
  /** A command races with the conductor's steps; each lost race is one of these. */
  commandTriesMaxCount: 20,
  /** Members that the conductor reads, or changes in one transaction, at once. */
  conductorPageRowsMaxCount: 1_000,
  /** The first page of waiting devices; each further one is twice as long, up to that number. */
  conductorAskRowsMinCount: 50,
  /** So many pages of waiting devices are searched in one pass for those that can be asked. */
  conductorAskPagesMaxCount: 10,
  /** A rollout is read whole so often, also where nothing says that it changed. */
  conductorWholeEveryMs: 60_000,
  /** Reading a rollout whole takes at most this part of the time; after a failure, half of it. */
  conductorWholeShare: 0.05,
  /** Steps for one rollout in one pass, so that none delays the others; the rest comes next. */
  rolloutStepsMaxCount: 50,
  rolloutIdBytes: 8,
  /** The detail of a large rollout is kept for so many times as long as it took to make. */
  rolloutViewKeptFactor: 10,
  rolloutViewsKeptMaxCount: 20,
  /** A watch of a rollout asks so often, and goes on without an answer for so many times. */
  watchEveryMs: 1_000,
  watchTriesMaxCount: 300,
  /** The server has this long for the answer to a request of a command; an audit takes longest. */
  operatorAnswerMaxMs: 300_000,
  /** Rows of a long list, and records of which the history of a device is searched. */
  cliRowsDefaultCount: 50,
  /** Of lists that grow with the fleet. */
  cliDevicesDefaultCount: 1000,
  historyRecordsMaxCount: 20_000,
  /** When more devices than this change between two looks, `rollout watch` prints counts only. */
  watchChangedMaxCount: 20,
  /** A smaller terminal is drawn on as if it had so much; each wave names so many devices. */
  terminalMinColumns: 20,
  terminalMinRows: 8,
  treeDevicesMinCount: 3,
  /** The same trouble on so many devices before they begin is a reason to look. */
  sameTroubleMinCount: 3,
  /** Boundaries of halt tests that are kept, because computing one takes a while. */
  haltBoundariesMaxCount: 64,
  /** A device counts as touched by a release for so long after it took it. */
  silenceTouchedMs: DAY_MS,
  /** Slot of the fleet's watch over conditions, and the time between its false alarms. */
  conditionSlotMs: HOUR_MS,
  conditionAlarmDays: 90,
  previewNamesMaxCount: 100,
  /** Of fewer devices one alone would decide what they show together. */
  poolDevicesMinCount: 3,
  /** E-value at which they hold a rollout, for each output (server/rollout/pool.ts). */
  poolHoldMinRatio: 8,
  /** Devices of arm B that are compared with arm A; more would add nothing. */
  armsBlocksMaxCount: 1_000,
  armsPartnersMaxCount: 10,
  armsBlocksPerStepMaxCount: 5,
  /** Devices that would refuse a release, named one by one. */
  refusingNamesMaxCount: 10,
  /** A device that took a release and does not answer is taken to hold it no longer. */
  takeWaitMs: 10 * 60_000,
  /** A device swaps only this long after it heard the director. */
  swapPermitMs: 10 * 60_000,
  /** A device that was told to ask, and does not, is told again. */
  hintPauseMs: 5_000,
  /** Devices in one notice to other servers; PostgreSQL takes at most 8,000 bytes. */
  noticeDevicesMaxCount: 200,
  noticesRetryMs: 500,
  noticesRetryMaxMs: 30_000,
  wavesMaxCount: 20,
  rolloutDevicesMaxCount: 100_000,
} as const;

assert(
  limits.releaseFileMaxBytes <= limits.s3PartBytes * 10_000,
  'every file must fit the parts of an upload to S3',
);
assert(
  limits.batchMaxBytes * 2 <= limits.mqttPayloadMaxBytes,
  'a telemetry batch must fit one MQTT message after JSON escaping',
);
assert(
  limits.mqttPacketMaxBytes > limits.mqttPayloadMaxBytes,
  'an MQTT packet must have room for its topic beside the largest payload',
);
assert(
  limits.ingestQueueMaxBytes >= limits.mqttPayloadMaxBytes * 16,
  'a few large messages must not fill the ingest queue',
);
assert(
  limits.recentBatchesMaxCount > limits.ingestWaitingPerDeviceMaxCount,
  'a batch that waits twice must be known as the same',
);
assert(limits.ingestGroupRecordsMaxCount >= limits.batchMaxCount, 'every batch must fit a group');
assert(limits.recordBodyMaxBytes <= limits.batchMaxBytes, 'one telemetry record must fit a batch');
assert(
  limits.requestMaxBytes <= limits.hostFrameMaxBytes,
  'an admitted request must fit a frame to its model process',
);
assert(limits.jsonRequestMaxBytes <= limits.requestMaxBytes, 'a JSON request is a request');
assert(
  limits.requestDeadlineMs <= limits.hostRunMs,
  'a request gives up before its model process is declared stuck',
);
assert(
  limits.leaseMs >= limits.leaseRenewMs * 3 &&
    limits.leaseMs + limits.leaseRenewMs <= limits.leaseTakeoverMaxMs,
  'a lease outlasts two lost renewals, and ends in time for another server',
);
assert(
  limits.conductorGapMaxMs >= limits.conductorEveryMs * 4,
  'a conductor that runs as it should is not taken for one that stood still',
);
assert(
  limits.summaryDetailMaxChars <= limits.detailMaxChars &&
    limits.detailMaxChars <= limits.auditDetailMaxChars,
  'a summary shows a part of a detail, and an audit entry can quote one',
);
assert(
  limits.uploadsPerOperatorMaxBytes >= 2 * limits.releaseTotalMaxBytes &&
    limits.uploadsPerOperatorMaxCount >= 2 * limits.releaseFilesMaxCount,
  'an operator may upload a release while another one waits to be published',
);
assert(
  limits.modelTensorsMaxCount <= limits.requestTensorsMaxCount,
  'a request must be able to carry every input of a model',
);
assert(
  limits.metadataRenewEveryMs * 4 <= DAY_MS,
  'metadata that lives a day is renewed at half its life, not at its end',
);
assert(
  limits.publishBodyMaxBytes >= 2 * (limits.manifestMaxBytes + limits.targetsMaxBytes),
  'an envelope and targets in base64 must fit the request that publishes them',
);
assert(
  limits.bundleIndexMaxBytes >= limits.releaseFilesMaxCount * KIB,
  'the index of a bundle must be able to name every file of a release',
);
assert(
  limits.acceptanceSetMaxBytes >= 2 * limits.manifestMaxBytes &&
    limits.acceptanceSetMaxBytes <= limits.releaseFileMaxBytes,
  'the payload of an envelope may be as long as the longest document that is one, in base64',
);
assert(
  limits.ringKeysMaxCount >= limits.signaturesMaxCount,
  'a role may have a key for every signature of a document',
);
assert(
  limits.manifestMaxBytes >= limits.releaseFilesMaxCount * KIB,
  'a manifest must be able to name every file it may carry',
);
