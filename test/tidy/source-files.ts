// The project's own text, read once for all tidy tests: TypeScript of the rooms and of the tests,
// plain JavaScript, and the documents. Only files that git knows or would add are read.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface SourceFile {
  /** From the root of the project, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
}

export interface TypeScriptFile extends SourceFile {
  readonly tree: ts.SourceFile;
}

function projectFiles(): string[] {
  const run = (command: string, list: readonly string[]): string[] =>
    execFileSync(command, list, { cwd: ROOT, encoding: 'utf8' }).split('\0');
  if (existsSync(join(ROOT, '.git')))
    return run('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z']);
  // A copy without .git, as `npm run test:node24` makes one. It lies in a folder that the checkout
  // around it ignores: git would list nothing.
  const find = ['.', '-type', 'd', '(', '-name', 'node_modules', '-o', '-name', 'dist', '-o'];
  const rest = ['-name', '.linnet', ')', '-prune', '-o', '-type', 'f', '-print0'];
  return run('find', [...find, ...rest]).map((path) => path.replace(/^\.\//, ''));
}

function read(path: string): SourceFile[] {
  try {
    const text = readFileSync(join(ROOT, path), 'utf8');
    return [{ path, text, lines: text.split('\n') }];
  } catch (error) {
    // Removed from the working tree, still in git's index.
    if ((error as { code?: unknown }).code === 'ENOENT') return [];
    throw error;
  }
}

/** Nobody's writing. */
const GENERATED = /_pb\.ts$|^test\/support\/openapi-schema\.ts$/;

const paths = projectFiles().filter((path) => path !== '');
// Without files every tidy test would pass.
assert(paths.length > 100, `${ROOT} has only ${paths.length} files`);

export const typeScriptFiles: readonly TypeScriptFile[] = paths
  .filter((path) => /\.tsx?$/.test(path) && !GENERATED.test(path))
  .flatMap(read)
  .map((file) => ({
    ...file,
    tree: ts.createSourceFile(file.path, file.text, ts.ScriptTarget.ES2023, true),
  }));

/** What is shipped or run by people; the rest of the TypeScript is under test/. */
export const productFiles = typeScriptFiles.filter(({ path }) => !path.startsWith('test/'));

export const scripts: readonly SourceFile[] = paths
  .filter((path) => /\.m?js$/.test(path) || path === '.ci/run')
  .flatMap(read);

export const documents: readonly SourceFile[] = paths
  .filter((path) => path.endsWith('.md'))
  .flatMap(read);

/** Every node of a file, parents first. */
export function* nodesOf(node: ts.Node): Generator<ts.Node> {
  yield node;
  for (const child of node.getChildren()) yield* nodesOf(child);
}

export function lineOf({ tree }: TypeScriptFile, node: ts.Node): number {
  return tree.getLineAndCharacterOfPosition(node.getStart()).line + 1;
}

/** Modules that a file imports: project files as paths from the root, packages by name. */
export function importsOf(file: TypeScriptFile): string[] {
  return ts
    .preProcessFile(file.text, true, true)
    .importedFiles.map(({ fileName }) =>
      fileName.startsWith('.')
        ? posix.normalize(posix.join(posix.dirname(file.path), fileName)).replace(/\.js$/, '.ts')
        : fileName,
    );
}
