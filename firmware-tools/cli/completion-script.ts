// Completion scripts for bash, zsh and fish, written from the commands of a program themselves.
// Pure. A script holds every name, so that the shell completes without starting Node: commands;
// after a dash options; after an option with few values these; else files.
import type { Command } from 'commander';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

interface Place {
  /** `rollout watch`; empty for the program itself. */
  readonly path: string;
  readonly commands: readonly { readonly name: string; readonly about: string }[];
  readonly options: readonly OptionWord[];
}
interface OptionWord {
  readonly long: string;
  readonly about: string;
  readonly hasValue: boolean;
  readonly choices: readonly string[];
}

export function completionScript(shell: Shell, root: Command): string {
  const places = placesOf(root, '');
  const name = root.name();
  if (shell === 'fish') return fishScript(name, places);
  return shell === 'bash' ? bashScript(name, places) : zshScript(name, places);
}

/** Prefix of a program's functions: one shell may have the scripts of several programs. */
const prefixOf = (name: string): string => `_${name.replaceAll('-', '_')}`;

function placesOf(command: Command, path: string): Place[] {
  const { commands, options } = command;
  const place: Place = {
    path,
    commands: commands.map((inner) => ({ name: inner.name(), about: inner.description() })),
    options: [...options.flatMap(wordOf), { ...PLAIN, long: '--help', about: 'how it is used' }],
  };
  return [place, ...commands.flatMap((inner) => placesOf(inner, `${path} ${inner.name()}`.trim()))];
}

const PLAIN = { hasValue: false, choices: [] } as const;

const wordOf = (option: Command['options'][number]): OptionWord[] =>
  typeof option.long !== 'string'
    ? []
    : [
        {
          long: option.long,
          about: option.description,
          hasValue: option.required || option.optional,
          choices: option.argChoices ?? [],
        },
      ];

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** Functions that bash and zsh both read: which paths there are, and what may follow each. */
function caseFunctions(prefix: string, places: readonly Place[]): string {
  const cases = (rows: readonly (readonly [string, readonly string[]])[]): string =>
    rows
      .filter(([, names]) => names.length > 0)
      .map(([at, names]) => `    ${quoted(at)}) echo ${quoted(names.join(' '))} ;;`)
      .join('\n');
  const choices = places.flatMap(({ path, options }) =>
    options.map(({ long, choices: some }) => [`${path} ${long}`.trim(), some] as const),
  );
  return `${prefix}_known() {
  case "$1" in
    ${places
      .filter(({ path }) => path !== '')
      .map(({ path }) => quoted(path))
      .join('|')}) return 0 ;;
  esac
  return 1
}
${prefix}_commands() {
  case "$1" in
${cases(places.map(({ path, commands }) => [path, commands.map(({ name }) => name)]))}
  esac
}
${prefix}_options() {
  case "$1" in
${cases(places.map(({ path, options }) => [path, options.map(({ long }) => long)]))}
  esac
}
${prefix}_choices() {
  case "$1" in
${cases(choices)}
  esac
}`;
}

function bashScript(name: string, places: readonly Place[]): string {
  const prefix = prefixOf(name);
  return `# bash completion of ${name}; to be sourced.
${caseFunctions(prefix, places)}
${prefix}() {
  local at='' i names current="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}"
  for ((i = 1; i < COMP_CWORD; i++)); do
    ${prefix}_known "\${at:+$at }\${COMP_WORDS[i]}" && at="\${at:+$at }\${COMP_WORDS[i]}"
  done
  names=$(${prefix}_choices "\${at:+$at }$before")
  if [[ -z $names && $current == -* ]]; then names=$(${prefix}_options "$at"); fi
  if [[ -z $names && $current != -* ]]; then names=$(${prefix}_commands "$at"); fi
  COMPREPLY=($(compgen -W "$names" -- "$current"))
}
complete -o default -F ${prefix} ${name}
`;
}

function zshScript(name: string, places: readonly Place[]): string {
  const prefix = prefixOf(name);
  return `#compdef ${name}
# zsh completion of ${name}; to be sourced, or to be saved as _${name} in a folder of $fpath.
${caseFunctions(prefix, places)}
${prefix}() {
  local at='' i found current="\${words[CURRENT]}" before="\${words[CURRENT-1]}"
  for ((i = 2; i < CURRENT; i++)); do
    ${prefix}_known "\${at:+$at }\${words[i]}" && at="\${at:+$at }\${words[i]}"
  done
  found=$(${prefix}_choices "\${at:+$at }$before")
  if [[ -z $found && $current == -* ]]; then found=$(${prefix}_options "$at"); fi
  if [[ -z $found && $current != -* ]]; then found=$(${prefix}_commands "$at"); fi
  if [[ -n $found ]]; then compadd -- \${=found}; else _files; fi
}
if [[ \${funcstack[1]} == _${name} ]]; then ${prefix} "$@"; else compdef ${prefix} ${name}; fi
`;
}

function fishScript(name: string, places: readonly Place[]): string {
  const at = `_${prefixOf(name)}_at`;
  const known = places.filter(({ path }) => path !== '').map(({ path }) => fishQuoted(path));
  const lines = places.flatMap(({ path, commands, options }) => {
    const when = `complete -c ${name} -n ${fishQuoted(`${at} ${fishQuoted(path)}`)}`;
    return [
      ...commands.map((inner) => `${when} -f -a ${inner.name} -d ${fishQuoted(inner.about)}`),
      ...options.map(({ long, about, hasValue, choices }) => {
        const values = choices.length === 0 ? '' : ` -f -a ${fishQuoted(choices.join(' '))}`;
        const value = hasValue ? ` -r${values}` : '';
        return `${when} -l ${long.slice(2)}${value} -d ${fishQuoted(about)}`;
      }),
    ];
  });
  return `# fish completion of ${name}; to be saved in a folder of $fish_complete_path.
function ${at}
  set -l at ''
  for word in (commandline -opc)[2..-1]
    set -l next (string trim "$at $word")
    contains -- $next ${known.join(' ')}; and set at $next
  end
  test "$at" = "$argv[1]"
end
${lines.join('\n')}
`;
}

const fishQuoted = (text: string): string =>
  `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
