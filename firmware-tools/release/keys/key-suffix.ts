// Every file with a signing key is named so; apart from the rest, because --help shows it.
export const KEY_SUFFIX = '.key.json';
