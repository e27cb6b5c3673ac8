// The house rules that a compiler does not see: which room may import which, who alone imports a
// native or network package, where clocks and timers may be taken, how long a function may be, and
// that every fault code is really used.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { FAULT_CODES } from '../shared/base/fault-codes.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const ROOMS = ['shared', 'agent', 'server', 'firmware-tools'] as const;
const FUNCTION_MAX_LINES = 100;
const FILE_MAX_LINES = 600;
const LINE_MAX_COLUMNS = 180;

function filesBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder)).flatMap((name) => {
    const path = posix.join(folder, name);
    return statSync(join(ROOT, path)).isDirectory()
      ? filesBelow(path)
      : // Generated code (*_pb.ts) is not written by anybody.
        /(?<!_pb)\.ts$/.test(name)
        ? [path]
        : [];
  });
}

const sources = ROOMS.flatMap((room) => filesBelow(room)).map((path) => {
  const text = readFileSync(join(ROOT, path), 'utf8');
  return { path, text, tree: ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true) };
});

/**
 * Every module a file imports, statically or not: project files as paths from the root, packages by
 * name.
 */
function importsOf({ path, tree }: (typeof sources)[number]): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const named =
      ts.isImportDeclaration(node) || ts.isExportDeclaration(node)
        ? node.moduleSpecifier
        : ts.isCallExpression(node) &&
            (node.expression.kind === ts.SyntaxKind.ImportKeyword ||
              node.expression.getText().endsWith('require'))
          ? node.arguments[0]
          : undefined;
    if (named !== undefined && ts.isStringLiteral(named)) found.push(named.text);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found.map((name) =>
    name.startsWith('.')
      ? posix.normalize(posix.join(posix.dirname(path), name)).replace(/\.js$/, '.ts')
      : name,
  );
}

const room = (path: string): string => path.split('/')[0] ?? '';
const innerRoom = (path: string): string => path.split('/').slice(0, 2).join('/');
const DISPATCHER = 'firmware-tools/cli/main.ts';

describe('doors', () => {
  it('siblings_never_import_each_other_and_shared_imports_no_room', () => {
    const wrong = sources
      .filter(({ path }) => path !== DISPATCHER)
      .flatMap((source) =>
        importsOf(source)
          .filter(
            (to) =>
              (ROOMS as readonly string[]).includes(room(to)) &&
              room(to) !== 'shared' &&
              room(to) !== room(source.path),
          )
          .map((to) => `${source.path} -> ${to}`),
      );
    expect(wrong).toEqual([]);
  });

  it('rooms_of_the_agent_do_not_import_each_other', () => {
    const inner = [
      'agent/update',
      'agent/inference',
      'agent/telemetry',
      'agent/platform',
      'agent/identity',
    ];
    const wrong = sources
      .filter(({ path }) => inner.includes(innerRoom(path)))
      .flatMap((source) =>
        importsOf(source)
          .filter((to) => inner.includes(innerRoom(to)) && innerRoom(to) !== innerRoom(source.path))
          .map((to) => `${source.path} -> ${to}`),
      );
    expect(wrong).toEqual([]);
  });

  it('each_native_or_network_package_has_its_one_importer', () => {
    const allowed: Record<string, string[]> = {
      'onnxruntime-node': [
        'agent/inference/model-process/host-child.ts',
        'firmware-tools/model/session.ts',
      ],
      'better-sqlite3': ['agent/telemetry/spool.ts', 'server/store/database.ts'],
      mqtt: ['agent/platform/mqtt-link.ts', 'server/mqtt/client.ts'],
      aedes: ['server/mqtt/broker.ts'],
    };
    const wrong = sources.flatMap((source) =>
      importsOf(source)
        .filter((to) => allowed[to] !== undefined && !allowed[to].includes(source.path))
        .map((to) => `${source.path} -> ${to}`),
    );
    expect(wrong).toEqual([]);
  });

  it('shared_is_pure', () => {
    const impure = /^(node:)?(fs|net|http|https|child_process|worker_threads|os|timers)(\/|$)/;
    const wrong = sources
      .filter(({ path }) => room(path) === 'shared' && innerRoom(path) !== 'shared/platform')
      .flatMap((source) =>
        importsOf(source)
          .filter((to) => impure.test(to))
          .map((to) => `${source.path} -> ${to}`),
      );
    expect(wrong).toEqual([]);
  });
});

describe('time and chance', () => {
  it('are_taken_only_at_composition_roots', () => {
    // server/console holds a script that runs in a browser.
    const roots = [
      'shared/platform/',
      'agent/inference/model-process/host-child.ts',
      'firmware-tools/',
      'server/console/',
    ];
    const taken =
      /\b(Date\.now|new Date\(\)|Math\.random|setTimeout|setInterval|performance\.now)\b/;
    const wrong = sources
      .filter(({ path }) => !roots.some((start) => path.startsWith(start)))
      .flatMap(({ path, text }) =>
        text
          .split('\n')
          .map((line, at) => ({ line, at }))
          .filter(({ line }) => taken.test(line.replace(/\/\/.*|\/?\*.*/, '')))
          .map(({ line, at }) => `${path}:${at + 1} ${line.trim()}`),
      );
    expect(wrong).toEqual([]);
  });

  it('the_real_clock_is_imported_by_composition_roots_only', () => {
    const wrong = sources
      .filter((source) => importsOf(source).includes('shared/platform/clock.ts'))
      .map(({ path }) => path)
      .filter(
        (path) =>
          !/^(agent|server)\/(main|commands)\.ts$/.test(path) && room(path) !== 'firmware-tools',
      );
    expect(wrong).toEqual([]);
  });
});

describe('size and words', () => {
  it('no_function_is_longer_than_its_bound', () => {
    const long: string[] = [];
    for (const { path, tree } of sources) {
      const visit = (node: ts.Node): void => {
        if (
          ts.isFunctionDeclaration(node) ||
          ts.isMethodDeclaration(node) ||
          ts.isArrowFunction(node) ||
          ts.isFunctionExpression(node)
        ) {
          const lines =
            tree.getLineAndCharacterOfPosition(node.end).line -
            tree.getLineAndCharacterOfPosition(node.getStart()).line +
            1;
          if (lines > FUNCTION_MAX_LINES)
            long.push(
              `${path}:${tree.getLineAndCharacterOfPosition(node.getStart()).line + 1} ${lines} lines`,
            );
        }
        ts.forEachChild(node, visit);
      };
      visit(tree);
    }
    expect(long).toEqual([]);
  });

  it('files_and_lines_stay_readable', () => {
    const wrong = sources.flatMap(({ path, text }) => {
      const lines = text.split('\n');
      return [
        ...(lines.length > FILE_MAX_LINES ? [`${path}: ${lines.length} lines`] : []),
        ...lines
          .map((line, at) => ({ line, at }))
          .filter(({ line }) => line.length > LINE_MAX_COLUMNS)
          .map(({ line, at }) => `${path}:${at + 1} has ${line.length} columns`),
      ];
    });
    expect(wrong).toEqual([]);
  });

  it('every_file_opens_with_what_it_promises', () => {
    expect(
      sources.filter(({ text }) => !/^(#!.*\n)?\/\/ \S/.test(text)).map(({ path }) => path),
    ).toEqual([]);
  });

  it('every_fault_code_is_raised_somewhere', () => {
    const all = sources
      .filter(({ path }) => path !== 'shared/base/fault-codes.ts')
      .map(({ text }) => text)
      .join('\n');
    expect(Object.keys(FAULT_CODES).filter((code) => !all.includes(`'${code}'`))).toEqual([]);
  });
});
