// The files of a package: a tree as it lies on the machine that it is installed on, and from it a
// .tar.xz and a .deb. The same files and time give the same bytes.
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isInstalled, run } from './tools.js';

/** What the .deb has beside the tree. */
export interface DebianParts {
  /** The control file, of the size that the files take installed. */
  readonly control: (kib: number) => string;
  /** Folder of those of postinst, prerm and postrm that the package has. */
  readonly scripts: string;
}

export interface ArchiveOptions {
  /** Time of all files, in seconds since 1970. */
  readonly epochSeconds: number;
  /** Of xz, 1 to 9; 0: a .deb without compression and no .tar.xz, which tests have no time for. */
  readonly compression: number;
}

/** A template of a package with its @NAMES@ filled in. */
export function filled(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/@([A-Z_]+)@/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`a template names @${name}@, which has no value`);
    return value;
  });
}

export function write(path: string, content: string | Uint8Array, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  chmodSync(path, mode);
}

export function copy(from: string, to: string, mode = 0o644): void {
  write(to, readFileSync(from), mode);
}

/** Makes the archives beside the tree. Their paths; the .deb, if dpkg-deb is there, is the last. */
export function makeArchives(
  tree: string,
  { control, scripts }: DebianParts,
  { epochSeconds, compression }: ArchiveOptions,
): string[] {
  setTimes(tree, epochSeconds);
  const [out, name] = [dirname(tree), basename(tree)];
  const env = { XZ_OPT: `-${compression}`, SOURCE_DATE_EPOCH: String(epochSeconds) };
  const made: string[] = [];
  if (compression > 0) {
    const archive = `${tree}.tar.xz`;
    const sorted = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--format=gnu'];
    run('tar', ['-C', out, ...sorted, '-cJf', archive, name], { env });
    made.push(archive);
  }
  if (!isInstalled('dpkg-deb')) return made;
  const debian = `${tree}.debian`;
  rmSync(debian, { recursive: true, force: true });
  cpSync(tree, debian, { recursive: true, preserveTimestamps: true });
  const paths = everyPath(debian);
  const kib = Math.ceil(paths.reduce((sum, path) => sum + statSync(path).size, 0) / 1024);
  write(join(debian, 'DEBIAN', 'control'), control(kib));
  const names = paths
    .filter((path) => path.startsWith(join(debian, 'etc/')) && statSync(path).isFile())
    .map((path) => path.slice(debian.length))
    .sort();
  if (names.length > 0)
    write(join(debian, 'DEBIAN', 'conffiles'), names.map((path) => `${path}\n`).join(''));
  for (const script of ['postinst', 'prerm', 'postrm'])
    if (existsSync(join(scripts, script)))
      copy(join(scripts, script), join(debian, 'DEBIAN', script), 0o755);
  setTimes(debian, epochSeconds);
  const packing = compression > 0 ? ['-Zxz', `-z${compression}`] : ['-Znone'];
  run('dpkg-deb', ['--root-owner-group', ...packing, '--build', debian, `${tree}.deb`], { env });
  rmSync(debian, { recursive: true });
  return [...made, `${tree}.deb`];
}

const everyPath = (tree: string): string[] =>
  readdirSync(tree, { recursive: true, withFileTypes: true }).map(({ parentPath, name }) =>
    join(parentPath, name),
  );

/** Times and modes that do not depend on when, and under which umask, the tree was made. */
function setTimes(tree: string, seconds: number): void {
  for (const path of [tree, ...everyPath(tree)].reverse()) {
    const stat = statSync(path);
    chmodSync(path, stat.isDirectory() || (stat.mode & 0o100) !== 0 ? 0o755 : 0o644);
    utimesSync(path, seconds, seconds);
  }
}
