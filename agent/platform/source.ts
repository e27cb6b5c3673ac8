// A place that files come from: the fleet server, an HTTP mirror, or a folder.
import { Fault, isFault, reason } from '../../shared/base/fault-codes.js';

export interface Body {
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Ends the transfer early. */
  discard(): void;
}

export interface Source {
  readonly name: string;
  /**
   * The body from `offset` on; null when there is no such document. Only a file, which a digest
   * verifies, may come by a redirect. Faults: those of Fetcher.
   */
  open(path: string, offset: number, what: What): Promise<Body | null>;
}

export type What = 'document' | 'file';

/** The same chunks; an error while they come is a Fault `fetch_interrupted`. */
export async function* faulted(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    throw isFault(error)
      ? error
      : new Fault('fetch_interrupted', `${name}: ${reason(error)}`, { cause: error });
  }
}
