// Completion scripts for bash, zsh and fish, written from the commands themselves. Pure. A script
// holds every name, so that the shell completes without starting Node: commands; after a dash
// options; after an option with few values these; else files.
import type { Command } from 'commander';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

interface Place {
  /** `rollout watch`; empty for `linnet` itself. */
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
  if (shell === 'fish') return fishScript(places);
  return shell === 'bash' ? bashScript(places) : zshScript(places);
}

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
function caseFunctions(places: readonly Place[]): string {
  const cases = (rows: readonly (readonly [string, readonly string[]])[]): string =>
    rows
      .filter(([, names]) => names.length > 0)
      .map(([at, names]) => `    ${quoted(at)}) echo ${quoted(names.join(' '))} ;;`)
      .join('\n');
  const choices = places.flatMap(({ path, options }) =>
    options.map(({ long, choices: some }) => [`${path} ${long}`.trim(), some] as const),
  );
  return `_linnet_known() {
  case "$1" in
    ${places
      .filter(({ path }) => path !== '')
      .map(({ path }) => quoted(path))
      .join('|')}) return 0 ;;
  esac
  return 1
}
_linnet_commands() {
  case "$1" in
${cases(places.map(({ path, commands }) => [path, commands.map(({ name }) => name)]))}
  esac
}
_linnet_options() {
  case "$1" in
${cases(places.map(({ path, options }) => [path, options.map(({ long }) => long)]))}
  esac
}
_linnet_choices() {
  case "$1" in
${cases(choices)}
  esac
}`;
}

const bashScript = (places: readonly Place[]): string => `# bash completion of linnet.
# source <(linnet completion bash)
${caseFunctions(places)}
_linnet() {
  local at='' i names current="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}"
  for ((i = 1; i < COMP_CWORD; i++)); do
    _linnet_known "\${at:+$at }\${COMP_WORDS[i]}" && at="\${at:+$at }\${COMP_WORDS[i]}"
  done
  names=$(_linnet_choices "\${at:+$at }$before")
  if [[ -z $names && $current == -* ]]; then names=$(_linnet_options "$at"); fi
  if [[ -z $names && $current != -* ]]; then names=$(_linnet_commands "$at"); fi
  COMPREPLY=($(compgen -W "$names" -- "$current"))
}
complete -o default -F _linnet linnet
`;

const zshScript = (places: readonly Place[]): string => `#compdef linnet
# zsh completion of linnet. Save it as _linnet in a folder of $fpath, or:
# source <(linnet completion zsh)
${caseFunctions(places)}
_linnet() {
  local at='' i found current="\${words[CURRENT]}" before="\${words[CURRENT-1]}"
  for ((i = 2; i < CURRENT; i++)); do
    _linnet_known "\${at:+$at }\${words[i]}" && at="\${at:+$at }\${words[i]}"
  done
  found=$(_linnet_choices "\${at:+$at }$before")
  if [[ -z $found && $current == -* ]]; then found=$(_linnet_options "$at"); fi
  if [[ -z $found && $current != -* ]]; then found=$(_linnet_commands "$at"); fi
  if [[ -n $found ]]; then compadd -- \${=found}; else _files; fi
}
if [[ \${funcstack[1]} == _linnet ]]; then _linnet "$@"; else compdef _linnet linnet; fi
`;

function fishScript(places: readonly Place[]): string {
  const known = places.filter(({ path }) => path !== '').map(({ path }) => fishQuoted(path));
  const lines = places.flatMap(({ path, commands, options }) => {
    const when = `complete -c linnet -n ${fishQuoted(`__linnet_at ${fishQuoted(path)}`)}`;
    return [
      ...commands.map(({ name, about }) => `${when} -f -a ${name} -d ${fishQuoted(about)}`),
      ...options.map(({ long, about, hasValue, choices }) => {
        const values = choices.length === 0 ? '' : ` -f -a ${fishQuoted(choices.join(' '))}`;
        const value = hasValue ? ` -r${values}` : '';
        return `${when} -l ${long.slice(2)}${value} -d ${fishQuoted(about)}`;
      }),
    ];
  });
  return `# fish completion of linnet.
# linnet completion fish > ~/.config/fish/completions/linnet.fish
function __linnet_at
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
