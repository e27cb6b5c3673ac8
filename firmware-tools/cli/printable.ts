// The one place where text of devices, servers and files becomes text for a terminal. Everything
// that a command prints goes through it: output.ts for lines and tables, terminal.ts for what is
// drawn in place. Its promise: such text cannot move the cursor, clear the screen, set the
// clipboard (OSC 52), reorder characters or begin a line of its own.

/** C0 and C1 controls but the line break, and what changes the direction or order of text. */
const UNPRINTABLE =
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Control characters as `\u{1b}`. Line breaks stay: they are the command's own. */
export const printable = (text: string): string =>
  text.replace(UNPRINTABLE, (character) => `\\u{${character.charCodeAt(0).toString(16)}}`);

/** For a cell of a table or a part of a line: line breaks are shown as `\n`, too. */
export const printableInLine = (text: string): string => printable(text.replaceAll('\n', '\\n'));

/** JSON whose text cannot act on a terminal either: such characters are escaped, as `\u009b`. */
export const jsonText = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(
    UNPRINTABLE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
