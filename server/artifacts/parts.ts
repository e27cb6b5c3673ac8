// Cuts an upload into the parts that a remote store takes. Only the part that is being filled is
// held.

export type Part = readonly Uint8Array[];

/** Parts of exactly `partBytes` but for the last: some stores take no others. None of no bytes. */
export async function* inParts(
  stream: AsyncIterable<Uint8Array>,
  partBytes: number,
): AsyncGenerator<Part, void, void> {
  let part: Uint8Array[] = [];
  let room = partBytes;
  for await (const chunk of stream) {
    let rest = chunk;
    while (rest.length > 0) {
      const taken = rest.subarray(0, room);
      part.push(taken);
      room -= taken.length;
      rest = rest.subarray(taken.length);
      if (room > 0) continue;
      yield part;
      part = [];
      room = partBytes;
    }
  }
  if (part.length > 0) yield part;
}
