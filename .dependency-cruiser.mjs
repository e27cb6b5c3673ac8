// Which module may import which (ARCHITECTURE.md, "Layers"). `npm run lint` fails on any import
// that these rules forbid; the comment of a rule is printed with the violation and gives its
// reason.

/** A rule: modules under `from` must not import modules under `to`. */
const forbid = (name, comment, from, to) => ({
  name,
  comment,
  severity: 'error',
  from,
  to,
});

/** A rule: only the files under `importers` (a pattern) may import the npm package `name`. */
const singleImporter = (name, importers, reason) =>
  forbid(
    `only-one-importer-of-${name.replace('/', '-')}`,
    reason,
    { pathNot: `^(?:${importers})|^test/` },
    { path: `node_modules/${name}(?:/|$)`, dependencyTypesNot: ['type-only'] },
  );

/** The `linnet` command, and the programs of the packages. */
const DISPATCHERS = '^firmware-tools/cli/(?:main|agent-program|server-program)\\.ts$';

const AGENT_PARTS = '(update|inference|telemetry|platform|identity)';
const SERVER_TRANSPORTS = '^server/(?:http|mqtt|console)/';
const SERVER_SERVICES =
  '^server/(?:ingest|rollout|tuf|artifacts|access|security-events|certificates|backup|store)/';

export default {
  forbidden: [
    forbid(
      'no-circles',
      'Modules that import each other cannot be read, tested or replaced one at a time.',
      {},
      { circular: true },
    ),

    forbid(
      'every-import-resolves',
      'A rule cannot judge an import whose target was not found.',
      {},
      { couldNotResolve: true },
    ),

    // Layers: shared <- agent | server | firmware-tools <- test.
    forbid(
      'shared-imports-no-room',
      'shared is the bottom layer. The agent, the server and the tools are built on it.',
      { path: '^shared/' },
      { path: '^(?:agent|server|firmware-tools|test)/' },
    ),
    forbid(
      'siblings-never-import-each-other',
      'A device is packaged without the server, and a server without the device. What both need' +
        ' belongs to shared.',
      { path: '^(agent|server|firmware-tools)/', pathNot: DISPATCHERS },
      { path: '^(?:agent|server|firmware-tools)/', pathNot: '^$1/' },
    ),
    forbid(
      'the-dispatcher-loads-siblings-on-demand',
      'cli/main.ts starts any of the siblings, but loads only the one that the command needs: it' +
        ' may import agent/commands and server/commands dynamically and nothing else of them.',
      { path: DISPATCHERS },
      { path: '^(?:agent|server)/', pathNot: '^(?:agent|server)/commands\\.ts$' },
    ),
    forbid(
      'the-dispatcher-imports-siblings-dynamically',
      'A static import would load the agent and the server for every `linnet` command.',
      { path: DISPATCHERS },
      { path: '^(?:agent|server)/', dependencyTypesNot: ['dynamic-import'] },
    ),
    forbid(
      'no-product-code-imports-tests',
      'Test code is not part of the package.',
      { pathNot: '^test/' },
      { path: '^test/' },
    ),
    forbid(
      'nothing-imports-the-demo',
      'The demo is not packaged; the product must work without it.',
      { pathNot: '^(?:firmware-tools/demo|test)/' },
      { path: '^firmware-tools/demo/' },
    ),

    // Purity.
    forbid(
      'shared-is-pure',
      'Only shared/platform may touch files, sockets, processes and timers: the rest of shared is' +
        ' tested without any of them, and behaves the same on a device and on the server.',
      { path: '^shared/', pathNot: '^shared/platform/' },
      {
        path:
          '^(?:node:)?(?:fs|os|net|tls|dns|http|http2|https|dgram|child_process|worker_threads' +
          '|timers|process|stream|module)(?:/|$)',
      },
    ),
    forbid(
      'pure-shared-does-not-import-platform',
      'A pure module that imports shared/platform is not pure.',
      { path: '^shared/', pathNot: '^shared/platform/' },
      { path: '^shared/platform/' },
    ),

    // Inside the agent.
    forbid(
      'agent-parts-meet-only-in-main',
      'The parts of the agent know each other through agent/interfaces only; agent/main connects' +
        ' them. So each is tested, and replaced, alone.',
      { path: `^agent/${AGENT_PARTS}/` },
      { path: `^agent/${AGENT_PARTS}/`, pathNot: '^agent/$1/' },
    ),
    forbid(
      'agent-parts-do-not-import-main',
      'main builds the parts; a part that imports main, commands or config turns that around.' +
        ' The type of the settings is no such import.',
      { path: `^agent/(?:${AGENT_PARTS}/|interfaces\\.ts)` },
      {
        path: '^agent/(?:main|commands|run-agent|config)\\.ts$',
        dependencyTypesNot: ['type-only'],
      },
    ),

    // Inside the server.
    forbid(
      'server-services-do-not-call-transports',
      'HTTP and MQTT call services. A service that called back could not be used by another' +
        ' transport.',
      { path: `${SERVER_SERVICES}|^server/interfaces\\.ts$` },
      { path: SERVER_TRANSPORTS },
    ),
    forbid(
      'server-parts-do-not-import-main',
      'main builds the parts; a part that imports main, commands or config turns that around.',
      { path: '^server/(?:[^/]+/|interfaces\\.ts)' },
      { path: '^server/(?:main|backup-main|commands|run-server|run-backup|config)\\.ts$' },
    ),
    forbid(
      'transports-do-not-import-each-other',
      'HTTP and MQTT are two ways to the same services; neither depends on the other.',
      { path: '^server/(http|mqtt)/' },
      { path: '^server/(?:http|mqtt)/', pathNot: '^server/$1/' },
    ),
    forbid(
      'store-is-imported-by-main-only',
      'Everything else knows the store through server/interfaces, so that another database can' +
        ' stand behind it.',
      { path: '^server/', pathNot: '^server/(?:store/|(?:main|backup-main|run-server)\\.ts$)' },
      { path: '^server/store/' },
    ),

    // The console in the browser.
    forbid(
      'console-app-imports-no-server',
      'The application runs in a browser: of the other rooms it may know types only, and of' +
        ' shared/base the pure helpers. What it shows comes from the operator API.',
      { path: '^server/console/app/' },
      {
        path: '^(?:agent|server|firmware-tools|shared)/',
        pathNot: '^(?:server/console/app|shared/base)/',
        dependencyTypesNot: ['type-only'],
      },
    ),
    forbid(
      'nothing-imports-the-console-app',
      'It is bundled for the browser; the server serves its files and knows nothing of its code.',
      { pathNot: '^(?:server/console/app|test)/' },
      { path: '^server/console/app/' },
    ),

    // One importer for each native or network package.
    singleImporter(
      'onnxruntime-node',
      'shared/platform/',
      'The loader in shared/platform switches the vendor telemetry off before the library loads.',
    ),
    singleImporter(
      'better-sqlite3',
      'agent/telemetry/spool(?:-file)?\\.ts|server/store/database\\.ts',
      'Each database has one owner, which sets its durability.',
    ),
    singleImporter(
      'pg',
      'server/store/postgres\\.ts',
      'There is one pool of connections, with its limits and its reading of numbers.',
    ),
    singleImporter(
      'mqtt',
      'agent/platform/mqtt-link\\.ts|server/mqtt/',
      'The agent and the server have one MQTT client each.',
    ),
    singleImporter('aedes', 'server/mqtt/', 'The embedded broker is a detail of one transport.'),
    singleImporter(
      'aws4',
      'server/artifacts/s3-client\\.ts',
      'It reads credentials of the environment by itself where it is given none.',
    ),
    singleImporter(
      'tweetnacl',
      'shared/trust/(?:keyfile|signer)\\.ts',
      'tweetnacl seals key files and signs from a seed; node:crypto, which is faster, verifies.',
    ),
    singleImporter(
      'pino',
      'shared/platform/logger\\.ts',
      'The log of every daemon has one format, and removes credentials.',
    ),
    singleImporter(
      'systeminformation',
      'agent/telemetry/',
      'It starts processes on some systems; only the sensor reader may do that.',
    ),
    singleImporter(
      'jstat',
      'shared/statistics/distributions\\.ts',
      'Its functions have neither types nor range checks; their one user has tests for both.',
    ),
    singleImporter(
      'commander',
      'firmware-tools/cli/|(?:agent|server)/commands\\.ts|' +
        'firmware-tools/(?:demo/demo|package/main)\\.ts',
      'The command line is parsed in one place of each program.',
    ),
    singleImporter(
      'preact',
      'server/console/app/',
      'It is in the bundle of the console, and not installed with the package.',
    ),
    singleImporter(
      'fastify',
      'server/',
      'The device API of the agent is node:http (DECISIONS.md).',
    ),
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    detectProcessBuiltinModuleCalls: true,
    exoticRequireStrings: ['require', 'createRequire(import.meta.url)'],
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'types', 'default'],
    },
    doNotFollow: { path: 'node_modules' },
    cache: { folder: 'node_modules/.cache/dependency-cruiser', strategy: 'content' },
  },
};
