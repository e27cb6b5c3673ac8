// What the HTTP routes ask of the rooms behind them; the image repository, the director and the
// conductor fit these shapes, and server/main.ts passes the real ones. Bytes are exact: they are
// what was signed.
import type { Release } from '../../shared/release/manifest.js';
import type {
  RepositoryView,
  RolloutCommand,
  RolloutRequest,
  RolloutView,
} from '../../shared/protocol/operator-api.js';

export interface ImageRepositoryService {
  /** A metadata file by its name (`3.root.json`, `timestamp.json`); null when there is none. */
  metadata(name: string): Promise<Uint8Array | null>;
  /** A release's envelope by its consistent-snapshot file name; null when there is none. */
  targetFile(component: string, version: string, fileName: string): Promise<Uint8Array | null>;
  /** Where a file of a release lies on disk, and its length in bytes; null when it is not there. */
  filePath(sha256: string): Promise<{ path: string; length: number } | null>;
  /** Stores a file if its bytes have this digest. Faults: file_digest, file_length, disk_full. */
  putFile(sha256: string, stream: AsyncIterable<Uint8Array>, maxBytes: number): Promise<unknown>;
  /**
   * Checks and publishes a signed release with the new signed targets. Faults: as server/repository
   * says.
   */
  publish(envelope: Uint8Array, targets: Uint8Array): Promise<Release>;
  view(): Promise<RepositoryView> | RepositoryView;
}

export interface DirectorService {
  metadata(device: { id: string; hardware: string }, name: string): Promise<Uint8Array | null>;
}

export interface RolloutService {
  create(request: RolloutRequest, actor: string): Promise<RolloutView>;
  /** Faults: not_found, conflict. */
  command(
    id: string,
    command: RolloutCommand,
    actor: string,
    reason?: string,
  ): Promise<RolloutView>;
  view(id: string): Promise<RolloutView | null>;
  /** The newest `limit`. */
  list(limit: number): Promise<RolloutView[]>;
}
