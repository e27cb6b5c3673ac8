// The parts of the documents that are written from the code: the two state tables of
// ARCHITECTURE.md, docs/fault-codes.md and docs/command-line.md. `npm run docs` writes them;
// documents.test.ts fails when they are stale.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { updateTransitions } from '../../agent/update/transitions.js';
import { ROLLOUT } from '../../server/rollout/transitions.js';
import { commandTree } from '../../firmware-tools/cli/main.js';
import { EXIT, EXIT_MEANING } from '../../firmware-tools/cli/output.js';
import { FAULT_CODES } from '../../shared/base/fault-codes.js';

interface Row {
  readonly boot: string;
  readonly on: Readonly<Partial<Record<string, string>>>;
}

const markdownTable = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

/** `refused, spent -> idle; probed -> probed`: events that lead to one state stand together. */
function eventsText(on: Row['on']): string {
  const byTarget = new Map<string, string[]>();
  for (const [event, target] of Object.entries(on))
    if (target !== undefined) byTarget.set(target, [...(byTarget.get(target) ?? []), event]);
  return [...byTarget].map(([target, events]) => `${events.join(', ')} -> ${target}`).join('; ');
}

/** What the head comment of transitions.ts says of each state: what is true, and its work. */
function updateStates(root: string): Map<string, [fact: string, work: string]> {
  const text = readFileSync(join(root, 'agent/update/transitions.ts'), 'utf8');
  const rows = text.matchAll(/^\/\/ {3}([a-z]+) {2,}(\S.*?) {2,}(\S.*)$/gm);
  return new Map([...rows].map(([, state = '', fact = '', work = '']) => [state, [fact, work]]));
}

function updateTable(root: string): string {
  const described = updateStates(root);
  const rows = Object.entries<Row>(updateTransitions).map(([state, { boot, on }]) => {
    const [fact, work] = described.get(state) ?? ['', ''];
    return [state, fact, work, eventsText(on), boot];
  });
  return markdownTable(
    ['state', 'true on disk', 'work', 'event -> next', 'after power loss'],
    rows,
  );
}

function rolloutTable(): string {
  const rows = Object.entries<Row>(ROLLOUT).map(([state, { on }]) => [
    state,
    eventsText(on) || '(ends here)',
  ]);
  return markdownTable(['state', 'event -> next'], rows);
}

function faultCodes(): string {
  const rows = Object.entries(FAULT_CODES).map(([code, entry]) => [
    `\`${code}\``,
    entry.kind,
    String(entry.http),
    entry.meaning,
    entry.todo,
  ]);
  return `# Fault codes

Written by \`npm run docs\` from \`shared/base/fault-codes.ts\`. Every error of the APIs, every
failed outcome and every security event carries one of these codes.

Kinds: \`refused\`: the input is wrong, do not retry. \`flaked\`: a temporary failure, retry within
limits. \`spent\`: the limit of retries is reached, or there is a bug. HTTP is the status of an
answer that carries the code.

${markdownTable(['code', 'kind', 'HTTP', 'meaning', 'what to do'], rows)}
`;
}

/** Every command with its description, and the exit codes. */
async function commandLine(): Promise<string> {
  const codes = (Object.keys(EXIT) as (keyof typeof EXIT)[]).map((name) => [
    String(EXIT[name]),
    EXIT_MEANING[name],
  ]);
  const rows: string[][] = [];
  const walk = (command: Command, path: string): void =>
    command.commands.forEach((inner) => {
      const usage = `${path} ${inner.name()}`;
      const taken = inner.registeredArguments.map((argument) =>
        argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
      );
      const isGroup = inner.commands.length > 0 && !['server'].includes(inner.name());
      if (!isGroup) rows.push([`\`${[usage, ...taken].join(' ')}\``, inner.description()]);
      walk(inner, usage);
    });
  walk(await commandTree(), 'linnet');
  return `# The command line

Written by \`npm run docs\` from the commands. \`linnet COMMAND --help\` shows options and an
example.

## Exit codes

${markdownTable(['code', 'meaning'], codes)}

A refusal, a temporary failure and a limit of retries come from the kind of the fault; see
[fault-codes.md](fault-codes.md). A file that the command line or a specification names and that
cannot be read ends with 2 (\`file_unreadable\`); a mistake in the configuration of an agent or a
server, and a file that it names, with 3 (\`config_invalid\`). \`linnet agent\` and
\`linnet server\` end with 0 after SIGTERM and SIGINT. SIGHUP makes them read their configuration
again: \`log_level\` changes at once, and the log names every other key that changed and takes
effect at the next start.

## Where a command finds its server

Options come first (\`--server\`, \`--token-file\`), then the environment (\`LINNET_SERVER\`,
\`LINNET_TOKEN_FILE\`, \`LINNET_TOKEN\`), then the profile that \`linnet login\` wrote
(\`--profile\` or \`LINNET_PROFILE\` chooses another one). A profile's token goes to its own server
only. It is kept in a file of mode 0600 and not in a keyring, which would need a native library on
each system.

Requests go through the proxy that \`HTTPS_PROXY\`, \`HTTP_PROXY\` or \`ALL_PROXY\` names (either
case, an \`http://\` URL), unless \`NO_PROXY\` lists the host; this machine is always asked
directly. Redirects of the API are refused with their Location: they would get the token.

## Long lists

A list shows at most \`--limit\` rows (1,000 of devices, members, groups and tokens, else 50) and
says on stderr, with \`--json\` too, when there are more: \`--cursor TEXT\` goes on there.
\`--since\` and \`--until\` take a time (\`2026-03-01\`, \`2026-03-01T12:00:00Z\`, UTC without an
offset) or how long ago it was (\`30m\`, \`2h\`, \`3d\`, \`1w\`).

## Start

\`--help\` loads the names and options of commands, and neither schemas nor runtimes. \`linnet
--help\` takes 1.4 times as long as \`node -e 0\`, the help of a command 1.4 to 1.8 times (medians
of 20 runs in turn, of a built tree, other work going on; 2 x AMD EPYC, Node 20.20.2).

## Commands

${markdownTable(['command', 'what it does'], rows)}
`;
}

function replaceBetween(text: string, name: string, content: string): string {
  const [begin, end] = [`<!-- begin generated: ${name} -->`, `<!-- end generated: ${name} -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`ARCHITECTURE.md lacks the marks of ${name}`);
  return `${text.slice(0, from)}${begin}\n\n${content}\n\n${text.slice(to)}`;
}

/** The documents with generated parts as they must be, by path. */
export async function generatedDocuments(root: string): Promise<Map<string, string>> {
  const architecture = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
  return new Map([
    [
      'ARCHITECTURE.md',
      replaceBetween(
        replaceBetween(architecture, 'update machine', updateTable(root)),
        'rollout machine',
        rolloutTable(),
      ),
    ],
    ['docs/fault-codes.md', faultCodes()],
    ['docs/command-line.md', await commandLine()],
  ]);
}
