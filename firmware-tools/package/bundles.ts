// The programs of a package: esbuild puts each into one file, from the TypeScript sources, and what
// is loaded at need into files beside it, so that it costs neither time nor memory before.
import { join } from 'node:path';
import { build, type Metafile, type Plugin } from 'esbuild';
import { project } from './tools.js';

interface Bundle {
  readonly path: string;
  readonly bytes: Uint8Array;
}

export interface Bundled {
  readonly files: readonly Bundle[];
  /** Folders (`node_modules/NAME`) of the npm packages whose code is in the bundles. */
  readonly packages: readonly string[];
}

/**
 * CommonJS packages inside an ES module ask for `require`; of those here mqtt and pino do so for
 * modules of Node.js.
 */
const BANNER =
  "import { createRequire as linnetRequire } from 'node:module';\n" +
  'const require = linnetRequire(import.meta.url);';

/** Modules that the packaged programs never use, by what their importer calls them. */
const LEFT_OUT: readonly RegExp[] = [
  // MQTT over WebSocket, in a browser's mini programs and through SOCKS.
  /[\\/]mqtt[\\/]build[\\/]lib[\\/]connect[\\/](?:ws|ali|wx|socks)\.js$/,
  // Its worker threads; the log is written by the thread that logs.
  /[\\/]thread-stream[\\/]index\.js$/,
];

const leaveOut: Plugin = {
  name: 'leave-out',
  setup(esbuild) {
    for (const filter of LEFT_OUT)
      esbuild.onLoad({ filter }, () => ({ contents: 'module.exports = {};', loader: 'js' }));
  },
};

/** better-sqlite3 finds its module through `bindings`; in a package it lies at a fixed place. */
const nativeModule: Plugin = {
  name: 'native-module',
  setup(esbuild) {
    esbuild.onResolve({ filter: /^bindings$/ }, () => ({ path: 'bindings', namespace: 'native' }));
    esbuild.onLoad({ filter: /.*/, namespace: 'native' }, () => ({
      contents:
        'module.exports = (name) => {\n' +
        '  const path = "../../native/abi" + process.versions.modules + "/" + name;\n' +
        '  return require(path);\n' +
        '};',
      loader: 'js',
    }));
  },
};

/** Bundles the entries (sources by file name in the package); both keep their names in stacks. */
export async function bundle(entries: Readonly<Record<string, string>>): Promise<Bundled> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: project,
    entryPoints: Object.fromEntries(
      Object.entries(entries).map(([name, source]) => [name, join(project, source)]),
    ),
    outdir: join(project, 'bundle'),
    write: false,
    metafile: true,
    bundle: true,
    splitting: true,
    chunkNames: '[name]-[hash]',
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    banner: { js: BANNER },
    external: ['onnxruntime-node'],
    plugins: [leaveOut, nativeModule],
    logLevel: 'error',
  });
  return {
    files: outputFiles.map(({ path, contents }) => ({
      path: path.slice(join(project, 'bundle').length + 1),
      bytes: contents,
    })),
    packages: packagesOf(metafile),
  };
}

/** Folders of the npm packages of which something is in the output. */
export function packagesOf({ outputs }: Pick<Metafile, 'outputs'>): string[] {
  const folders = new Set<string>();
  for (const { inputs } of Object.values(outputs))
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      const folder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0];
      if (folder !== undefined && bytesInOutput > 0) folders.add(folder);
    }
  return [...folders].sort();
}
