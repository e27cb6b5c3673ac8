// Bundles the operator console, server/console/app, into dist/server/console/site: one script, one
// style sheet and one icon whose names carry a hash of their content, index.html, and each file
// compressed by gzip beside it. Skipped when neither a source nor an installed package has changed
// since the last run. Plain JavaScript, because `npm start` and `npm test` run it on a fresh clone.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const app = join(root, 'server', 'console', 'app');
const site = join(root, 'dist', 'server', 'console', 'site');
const stamp = join(site, '.sources-sha256');

/** What the page calls each file. */
const PARTS = { '.js': 'script', '.css': 'style', '.svg': 'icon' };

/** Of what the bundle is made of: the application, what it may import of shared, and this file. */
function sourcesHash() {
  const hash = createHash('sha256');
  const folders = [app, join(root, 'shared', 'protocol'), join(root, 'shared', 'base')];
  const files = folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name)),
  );
  files.push(join(root, 'package-lock.json'), fileURLToPath(import.meta.url));
  for (const file of files.sort()) hash.update(`${file}\0`).update(readFileSync(file)).update('\0');
  return hash.digest('hex');
}

const page = ({ script, style, icon }) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Linnet</title>
<link rel="icon" type="image/svg+xml" href="/console/assets/${icon}">
<link rel="stylesheet" href="/console/assets/${style}">
<script type="module" src="/console/assets/${script}"></script>
</head>
<body>
<div id="app"></div>
<noscript>The console needs JavaScript. The command line can do the same: linnet --help</noscript>
</body>
</html>
`;

async function bundle() {
  // Loaded only when there is something to do.
  const { build } = await import('esbuild');
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: { console: join(app, 'main.tsx'), icon: join(app, 'icon.svg') },
    loader: { '.svg': 'copy' },
    bundle: true,
    minify: true,
    format: 'esm',
    target: ['es2022'],
    tsconfig: join(app, 'tsconfig.json'),
    entryNames: '[name]-[hash]',
    outdir: join(site, 'assets'),
    write: false,
    metafile: true,
    legalComments: 'none',
    logLevel: 'warning',
  });
  rmSync(site, { recursive: true, force: true });
  mkdirSync(join(site, 'assets'), { recursive: true });
  const names = {};
  for (const { path, contents } of outputFiles) {
    writeFileSync(path, contents);
    writeFileSync(`${path}.gz`, gzipSync(contents, { level: 9 }));
    names[PARTS[extname(path)]] = basename(path);
  }
  // For the licences of a package (firmware-tools/package).
  writeFileSync(join(site, '.made-of.json'), JSON.stringify({ outputs: metafile.outputs }));
  writeFileSync(join(site, 'index.html'), page(names));
}

const wanted = sourcesHash();
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== wanted) {
  await bundle();
  // Written last: a bundle that was cut short is made again.
  writeFileSync(stamp, wanted);
}
