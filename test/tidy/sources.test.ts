// Rules for the text of the sources that neither compiler nor linter checks: sizes, head comments,
// test names, where limits live, who takes clocks and chance, keys of log lines, fault codes.
// Import rules are in .dependency-cruiser.mjs, words in words.test.ts, copies in copies.test.ts.
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { FAULT_CODES } from '../../shared/base/fault-codes.js';
import {
  documents,
  importsOf,
  lineOf,
  nodesOf,
  productFiles,
  scripts,
  typeScriptFiles,
  type TypeScriptFile,
} from './source-files.js';

const FUNCTION_MAX_LINES = 70;
const FILE_MAX_LINES = 400;
const LINE_MAX_COLUMNS = 100;
const COMPOSITION_ROOT =
  /^(?:agent|server)\/(?:main|run-agent|run-server|backup-main)\.ts$|^firmware-tools\//;

type FunctionNode = ts.FunctionLikeDeclaration;
const isFunction = (node: ts.Node): node is FunctionNode =>
  ts.isFunctionDeclaration(node) ||
  ts.isMethodDeclaration(node) ||
  ts.isConstructorDeclaration(node) ||
  ts.isArrowFunction(node) ||
  ts.isFunctionExpression(node);

/** `it`, `it.each(...)`, `describe.skipIf(...)`: the first name of what is called. */
function calledName(call: ts.CallExpression): string {
  let callee: ts.Expression = call.expression;
  while (ts.isCallExpression(callee) || ts.isPropertyAccessExpression(callee))
    callee = callee.expression;
  return callee.getText();
}

const callsOf = function* (file: TypeScriptFile): Generator<ts.CallExpression> {
  for (const node of nodesOf(file.tree)) if (ts.isCallExpression(node)) yield node;
};

describe('sizes', () => {
  it('no_function_is_longer_than_its_limit', () => {
    const long = typeScriptFiles.flatMap((file) =>
      [...nodesOf(file.tree)]
        .filter(isFunction)
        // The function that a test suite is made of holds tests, not logic.
        .filter(({ parent }) => !(ts.isCallExpression(parent) && calledName(parent) === 'describe'))
        .map((node) => ({
          at: lineOf(file, node),
          lines: file.tree.getLineAndCharacterOfPosition(node.end).line + 2 - lineOf(file, node),
        }))
        .filter(({ lines }) => lines > FUNCTION_MAX_LINES)
        .map(({ at, lines }) => `${file.path}:${at} ${lines} lines`),
    );
    expect(long).toEqual([]);
  });

  it('a_long_file_gives_its_reason_in_its_head_comment', () => {
    const long = typeScriptFiles
      .filter(({ lines }) => lines.length > FILE_MAX_LINES + 1)
      .filter(({ text }) => {
        const head = /^(?:#!.*\n)?((?:\/\/.*\n)+)/.exec(text)?.[1] ?? '';
        return !head.replace(/\n\/\/ /g, ' ').includes('Over 400 lines because ');
      })
      .map(({ path, lines }) => `${path}: ${lines.length} lines`);
    expect(long, 'write "Over 400 lines because ..." into the head comment, or split it').toEqual(
      [],
    );
  });

  it('no_line_is_wider_than_its_limit', () => {
    const wide = [...typeScriptFiles, ...scripts, ...documents].flatMap(({ path, lines }) =>
      lines
        .map((line, at) => ({ line, where: `${path}:${at + 1}` }))
        // Tables, links, regular expressions and names of tests cannot be wrapped.
        .filter(({ line }) => !(path.endsWith('.md') && /^\||\]\(|https?:/.test(line)))
        .filter(({ line }) => !/^ *(?:\/.*\/[a-z]*,$|(?:it|test)(?:\.each.*)?\()/.test(line))
        .filter(({ line }) => line.length > LINE_MAX_COLUMNS)
        .map(({ line, where }) => `${where} has ${line.length} columns`),
    );
    expect(wide).toEqual([]);
  });
});

describe('comments and names', () => {
  it('every_file_opens_with_what_it_promises', () => {
    const bare = typeScriptFiles.filter(({ text }) => !/^(#!.*\n)?\/\/ \S/.test(text));
    expect(bare.map(({ path }) => path)).toEqual([]);
  });

  it('tests_are_named_as_situations_in_snake_case', () => {
    const situation = /^(?:[a-z0-9_]|%[sdij]|\$[\w.]+|\$\{[^}]*\})+$/;
    const wrong = typeScriptFiles
      .filter(({ path }) => path.endsWith('.test.ts'))
      .flatMap((file) =>
        [...callsOf(file)]
          .filter((call) => ['it', 'test'].includes(calledName(call)))
          .map((call) => call.arguments[0])
          .filter(
            (name) =>
              name !== undefined &&
              (ts.isStringLiteralLike(name) || ts.isTemplateExpression(name)) &&
              !situation.test(name.getText().slice(1, -1)),
          )
          .map((name) => `${file.path}:${lineOf(file, name!)} ${name!.getText()}`),
      );
    expect(wrong).toEqual([]);
  });

  it('private_members_are_private_at_run_time_too', () => {
    const wrong = typeScriptFiles.flatMap((file) =>
      [...nodesOf(file.tree)]
        .filter((node) => node.kind === ts.SyntaxKind.PrivateKeyword)
        .filter(({ parent }) => !ts.isConstructorDeclaration(parent))
        .map((node) => `${file.path}:${lineOf(file, node)} ${node.parent.getText().slice(0, 40)}`),
    );
    expect(wrong, 'write #name').toEqual([]);
  });
});

describe('one place for each thing', () => {
  it('limits_live_in_shared_base_limits', () => {
    const limitName =
      /(?:^|_)(?:MAX|MIN|LIMIT)(?:_|$)|_(?:MS|SECONDS|MINUTES|BYTES|KIB|MIB|COUNT|CHARS|ROWS)$/;
    const isNumber = (node: ts.Node | undefined): boolean =>
      node !== undefined &&
      (ts.isNumericLiteral(node) ||
        (ts.isParenthesizedExpression(node) && isNumber(node.expression)) ||
        (ts.isBinaryExpression(node) && (isNumber(node.left) || isNumber(node.right))));
    // A size of a format is a fact, not a limit. Its comment says which format fixes it.
    const isFixed = (file: TypeScriptFile, statement: ts.Node): boolean =>
      (ts.getLeadingCommentRanges(file.text, statement.getFullStart()) ?? []).some(({ pos }) =>
        /^\/\*\* Fixed by \S/.test(file.text.slice(pos)),
      );
    const elsewhere = productFiles
      .filter(({ path }) => !['shared/base/limits.ts', 'shared/base/units.ts'].includes(path))
      .filter(({ path }) => !path.startsWith('firmware-tools/demo/'))
      .flatMap((file) =>
        file.tree.statements
          .filter(ts.isVariableStatement)
          .filter((statement) => !isFixed(file, statement))
          .flatMap(({ declarationList }) => [...declarationList.declarations])
          .filter(
            ({ name, initializer }) => limitName.test(name.getText()) && isNumber(initializer),
          )
          .map((node) => `${file.path}:${lineOf(file, node)} ${node.getText()}`),
      );
    expect(elsewhere).toEqual([]);
  });

  it('clocks_and_chance_are_taken_in_shared_platform_only', () => {
    // The model process times its own runs; the tools and the browser's page have no virtual time.
    const exempt = [
      'shared/platform/',
      'agent/inference/model-process/host-child.ts',
      'firmware-tools/',
      'server/console/',
    ];
    const taken = /^(?:Date\.now|Math\.random|setTimeout|setInterval|performance\.now)$/;
    const wrong = productFiles
      .filter(({ path }) => !exempt.some((start) => path.startsWith(start)))
      .flatMap((file) => [
        ...[...callsOf(file)]
          .filter((call) => taken.test(call.expression.getText()))
          .map((call) => `${file.path}:${lineOf(file, call)} ${call.expression.getText()}`),
        ...[...nodesOf(file.tree)]
          .filter(ts.isNewExpression)
          .filter((made) => made.expression.getText() === 'Date' && made.arguments?.length === 0)
          .map((made) => `${file.path}:${lineOf(file, made)} new Date()`),
      ]);
    expect(wrong).toEqual([]);
  });

  it('the_real_clock_is_imported_by_composition_roots_only', () => {
    const wrong = productFiles
      .filter((file) => importsOf(file).includes('shared/platform/clock.ts'))
      .map(({ path }) => path)
      .filter((path) => !COMPOSITION_ROOT.test(path))
      .filter((path) => !path.startsWith('shared/platform/'));
    expect(wrong).toEqual([]);
  });

  it('native_modules_are_required_in_shared_platform_only', () => {
    const wrong = productFiles
      .filter(({ path }) => !path.startsWith('shared/platform/'))
      .filter(({ text }) => /createRequire\([^)]*\)(?!\.resolve\()/.test(text))
      .map(({ path }) => path);
    expect(wrong).toEqual([]);
  });
});

describe('logs and faults', () => {
  it('errors_are_logged_under_err', () => {
    const levels = new Set(['trace', 'debug', 'info', 'warn', 'error', 'fatal']);
    const wrong = productFiles.flatMap((file) =>
      [...callsOf(file)]
        .filter(
          ({ expression }) =>
            ts.isPropertyAccessExpression(expression) &&
            levels.has(expression.name.text) &&
            /log$/i.test(expression.expression.getText()),
        )
        .map((call) => call.arguments[0])
        .filter((fields) => fields !== undefined && ts.isObjectLiteralExpression(fields))
        .flatMap(({ properties }) => [...properties])
        .filter((property) => ['error', 'why', 'cause'].includes(property.name?.getText() ?? ''))
        .map((property) => `${file.path}:${lineOf(file, property)} ${property.getText()}`),
    );
    expect(wrong, "pino's key for an error is `err`").toEqual([]);
  });

  it('every_fault_code_is_raised_somewhere', () => {
    const text = productFiles
      .filter(({ path }) => path !== 'shared/base/fault-codes.ts')
      .map((file) => file.text)
      .join('\n');
    expect(Object.keys(FAULT_CODES).filter((code) => !text.includes(`'${code}'`))).toEqual([]);
  });
});
