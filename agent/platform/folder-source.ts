// A folder (a USB stick, a mounted share) with the layout of the repository's URLs.
import { open as openFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Fault, reason, systemCode } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { faulted, type Body, type Source } from './source.js';

export class FolderSource implements Source {
  readonly name: string;
  readonly #folder: string;

  /** `url`: file:///folder */
  constructor(url: string) {
    this.name = url.replace(/\/+$/, '');
    this.#folder = fileURLToPath(url);
  }

  async open(path: string, offset: number): Promise<Body | null> {
    if (path.split(/[\\/]/).includes('..'))
      throw new Fault('not_found', `${path} leaves the folder`);
    try {
      const file = await openFile(join(this.#folder, path), 'r');
      const stream = file.createReadStream({
        start: offset,
        highWaterMark: limits.fetchChunkBytes,
      });
      return { chunks: faulted(stream, this.name + path), discard: () => stream.destroy() };
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return null;
      throw new Fault('server_unreachable', `${this.name}${path}: ${reason(error)}`, {
        cause: error,
      });
    }
  }
}
