// The artifact store: files by the SHA-256 of their bytes. server/interfaces.ts exports it with all
// other interfaces. Types only.
import type { Readable } from 'node:stream';

export interface ArtifactRef {
  readonly digest: string;
  readonly lengthBytes: number;
}

/** First and last byte, both included, as in an HTTP range. */
export interface ByteRange {
  readonly start: number;
  /** Null: to the end. */
  readonly end: number | null;
}

/** What an upload must match. */
export interface ArtifactLimits {
  readonly maxBytes: number;
  /** The exact length, when it was announced. */
  readonly lengthBytes?: number;
}

/** Files by the SHA-256 of their bytes. An artifact never changes; it is whole or absent. */
export interface ArtifactStore {
  /**
   * Stores the bytes of `stream` while it verifies their length and digest; durable on return.
   * An artifact that is present is kept and the stream is not read. When it refuses or fails,
   * nothing is left behind. Faults: message_undecodable (not a digest), file_length, file_digest,
   * disk_full, disk_failed, artifact_store_unreachable, artifact_store_refused; errors of the
   * stream pass unchanged. The last two may come of every other method, too.
   */
  put(
    digest: string,
    stream: AsyncIterable<Uint8Array>,
    limits: ArtifactLimits,
  ): Promise<{ stored: boolean }>;
  /**
   * The bytes of an artifact, or of a range of it that lies inside the artifact; null when it is
   * absent. `lengthBytes` is the whole artifact's. The caller reads or destroys the stream.
   */
  get(digest: string, range?: ByteRange): Promise<Artifact | null>;
  stat(digest: string): Promise<ArtifactRef | null>;
  /** False when there was none. */
  delete(digest: string): Promise<boolean>;
  /** In no particular order. */
  list(): AsyncIterable<ArtifactRef>;
  /**
   * A URL that reads the artifact for a short time, with ranges, for anyone who has it. Null, or no
   * such method: its bytes come from `get` only.
   */
  link?(digest: string): string | null;
  /** Ends its connections. */
  close?(): void;
}

export interface Artifact extends ArtifactRef {
  readonly stream: Readable;
}
