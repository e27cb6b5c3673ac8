// What the answers of an S3 store hold: the text of elements without children, in their order. The
// answers that Linnet reads (errors, pages of a list, the id of an upload) are flat and have no
// attributes in such elements, so a general reader of XML is not needed.

const ENTITIES: Readonly<Record<string, string>> = {
  ...{ amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" },
};

/** The texts of all elements of this name that hold text only. */
export function leaves(xml: string, name: string): string[] {
  return Array.from(xml.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, 'g')), ([, text = '']) =>
    text.replace(/&(#x?)?(\w+);/g, (whole: string, numeric: string | undefined, value: string) =>
      numeric === undefined
        ? (ENTITIES[value] ?? whole)
        : String.fromCodePoint(Number.parseInt(value, numeric === '#x' ? 16 : 10)),
    ),
  );
}
