// The programs of a package: esbuild puts each into one file, from the TypeScript sources, and what
// is loaded at need into files beside it, so that it costs neither time nor memory before.
import { join } from 'node:path';
import { build, type BuildOptions, type OutputFile, type Plugin } from 'esbuild';
import type { PackageKind } from './kinds.js';
import { packagesOf } from './packages-of.js';
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

const COMMON = {
  absWorkingDir: project,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  logLevel: 'error',
} as const satisfies BuildOptions;
const WHOLE = 'firmware-tools/package/entry/whole-installation.ts';
const MODEL_PROCESS = 'agent/inference/model-process/host-child.ts';

/** Modules that the packaged programs never use, by what their importer calls them. */
const LEFT_OUT: readonly RegExp[] = [
  // MQTT over WebSocket, in a browser's mini programs and through SOCKS.
  /[\\/]mqtt[\\/]build[\\/]lib[\\/]connect[\\/](?:ws|ali|wx|socks)\.js$/,
  // Its worker threads; the log is written by the thread that logs.
  /[\\/]thread-stream[\\/]index\.js$/,
];

/** Commander starts no other programs here, and loads what does that all the same. */
const COMMANDER = /[\\/]node_modules[\\/]commander[\\/]/;
const NOTHING = { contents: 'module.exports = {};', loader: 'js' } as const;

const leaveOut: Plugin = {
  name: 'leave-out',
  setup(esbuild) {
    esbuild.onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
      COMMANDER.test(importer) ? { path: 'child_process', namespace: 'nothing' } : null,
    );
    esbuild.onLoad({ filter: /.*/, namespace: 'nothing' }, () => NOTHING);
    for (const filter of LEFT_OUT) esbuild.onLoad({ filter }, () => NOTHING);
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

/** Bundles the program of a package and that of its model processes. */
export async function bundle(kind: PackageKind): Promise<Bundled> {
  const { program, source, hasModelProcess, looksFirst } = kind;
  const { outputFiles, metafile } = await build({
    ...COMMON,
    outdir: join(project, 'bundle'),
    entryPoints: {
      [looksFirst ? `${program}-program` : program]: join(project, source),
      ...(hasModelProcess ? { 'host-child': join(project, MODEL_PROCESS) } : {}),
    },
    write: false,
    metafile: true,
    splitting: true,
    chunkNames: '[name]-[hash]',
    banner: { js: BANNER },
    external: ['onnxruntime-node'],
    plugins: [leaveOut, nativeModule],
  });
  const first = looksFirst ? await firstFile(kind) : [];
  return {
    files: [...first, ...outputFiles].map(({ path, contents }) => ({
      path: path.slice(join(project, 'bundle').length + 1),
      bytes: contents,
    })),
    packages: packagesOf(metafile),
  };
}

/**
 * The file that is started: it loads the program only when the package is whole. It is bundled
 * apart, so that it needs no other file.
 */
async function firstFile({ name, program }: PackageKind): Promise<readonly OutputFile[]> {
  const contents =
    `import { isWhole } from ${JSON.stringify(join(project, WHOLE))};\n` +
    `if (isWhole(new URL('../..', import.meta.url), ${JSON.stringify(name)}))\n` +
    `  await import('./${program}-program.js');\n`;
  const { outputFiles } = await build({
    ...COMMON,
    stdin: { contents, resolveDir: project },
    outfile: join(project, 'bundle', `${program}.js`),
    write: false,
    external: [`./${program}-program.js`],
  });
  return outputFiles;
}
