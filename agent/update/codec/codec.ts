// How the bytes of a file arrive. A file entry of the manifest may name encodings: other files,
// smaller to transfer, from which the file itself is made. An encoded file is fetched, resumed and
// verified like any other (its SHA-256 and length are signed); only then is it decoded, and the
// result is verified by the file's own SHA-256. An entry without a known encoding is fetched as it
// is (identity).
import type { FileEncoding, FileEntry } from '../../../shared/release/manifest-head.js';

export interface FileCodec {
  /** The name that manifests use. */
  readonly name: string;
  /**
   * The file's bytes from its encoded bytes, streaming. The caller limits the length. Fault
   * file_digest when they do not decode.
   */
  decode(encoded: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>;
}

export interface ChosenEncoding {
  readonly codec: FileCodec;
  readonly encoding: FileEncoding;
}

/** The shortest encoding of `file` that this device can decode; null: the file itself. */
export function chooseEncoding(
  file: FileEntry,
  codecs: readonly FileCodec[],
): ChosenEncoding | null {
  let chosen: ChosenEncoding | null = null;
  for (const encoding of file.encodings ?? []) {
    const codec = codecs.find(({ name }) => name === encoding.codec);
    if (codec === undefined || encoding.length >= (chosen?.encoding.length ?? file.length))
      continue;
    chosen = { codec, encoding };
  }
  return chosen;
}
