// Which names the files of one release may have together. Pure. Each file of a release lies in one
// folder on the device, beside the signed manifest; so no file may have the manifest's name, and no
// two may have names that a file system which ignores case would take for one.

/** The signed manifest's name in a bundle and in a device's slot. */
export const ENVELOPE_FILE_NAME = 'release.dsse.json';

/** What is wrong with these names, as the end of "its files ...", or null. */
export function fileNamesProblem(names: readonly string[]): string | null {
  const seen = new Map<string, string>([[ENVELOPE_FILE_NAME, ENVELOPE_FILE_NAME]]);
  for (const name of names) {
    const key = name.toLowerCase();
    const other = seen.get(key);
    if (key === ENVELOPE_FILE_NAME)
      return `include '${name}', the name of the signed manifest: rename the file`;
    if (other === name) return `include '${name}' twice: rename one`;
    if (other !== undefined)
      return `include '${other}' and '${name}', which differ in case only: rename one`;
    seen.set(key, name);
  }
  return null;
}
