// A disk that loses power. It keeps what a real one would: `replace` is whole or not at all,
// appended bytes and links are only safe after their fsync, and at a cut each unsafe change
// survives or not by the seed's coin (appends may be torn). `cutAt` counts operations; the
// operation with that number does not return: PowerCut is thrown and the disk freezes.
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Disk } from '../../agent/interfaces.js';

export class PowerCut extends Error {
  override readonly name = 'PowerCut';
}

interface Entry {
  data: Buffer;
  safe: boolean;
  before: Buffer | null;
}

export class SimDisk implements Disk {
  readonly files = new Map<string, Entry>();
  readonly folders = new Set<string>();
  operations = 0;
  cutAt = Number.POSITIVE_INFINITY;
  freeBytesLeft = 1e12;
  /** Paths whose sectors no longer read (EIO). */
  readonly unreadable = new Set<string>();
  #frozen = false;
  readonly log: string[] = [];

  readonly #coin: () => number;

  constructor(coin: () => number) {
    this.#coin = coin;
  }

  /** Power comes back: unsafe changes have survived or not, and operations count from zero. */
  restart(): void {
    for (const [path, entry] of [...this.files]) {
      if (entry.safe) continue;
      if (this.#coin() < 0.5) entry.safe = true;
      else if (entry.before !== null && this.#coin() < 0.5)
        this.files.set(path, { data: entry.before, safe: true, before: null });
      else if (entry.data.length > 0 && this.#coin() < 0.5)
        this.files.set(path, {
          data: entry.data.subarray(0, Math.floor(this.#coin() * entry.data.length)),
          safe: true,
          before: null,
        });
      else this.files.delete(path);
    }
    this.#frozen = false;
    this.operations = 0;
    this.cutAt = Number.POSITIVE_INFINITY;
  }

  async read(path: string, maxBytes: number): Promise<Uint8Array | null> {
    this.#alive();
    this.#readable(path);
    const entry = this.files.get(path);
    if (entry !== undefined && entry.data.length > maxBytes)
      throw new Fault('disk_failed', `${path} is too long`);
    return entry === undefined ? null : new Uint8Array(entry.data);
  }

  async replace(path: string, bytes: Uint8Array): Promise<void> {
    const cut = this.#step(`replace ${path}`);
    this.#within(path);
    if (cut && this.#coin() < 0.5) throw this.#freeze();
    this.files.set(path, { data: Buffer.from(bytes), safe: true, before: null });
    if (cut) throw this.#freeze();
  }

  async makeFolder(path: string): Promise<void> {
    if (this.#step(`makeFolder ${path}`)) throw this.#freeze();
    for (let folder = path; folder !== '/'; folder = dirname(folder)) this.folders.add(folder);
  }

  async list(folder: string): Promise<string[]> {
    this.#alive();
    const names = [...this.files.keys()]
      .filter((path) => path.startsWith(`${folder}/`))
      .map((path) => path.slice(folder.length + 1).split('/')[0] ?? '');
    return [...new Set(names)];
  }

  async remove(path: string): Promise<void> {
    const cut = this.#step(`remove ${path}`);
    for (const folder of [...this.folders])
      if (folder === path || folder.startsWith(`${path}/`)) this.folders.delete(folder);
    for (const name of [...this.files.keys()]) {
      if (name !== path && !name.startsWith(`${path}/`)) continue;
      if (cut && this.#coin() < 0.5) continue;
      this.files.delete(name);
    }
    if (cut) throw this.#freeze();
  }

  async setAside(path: string): Promise<void> {
    const cut = this.#step(`setAside ${path}`);
    const entry = this.files.get(path);
    if (entry !== undefined && !(cut && this.#coin() < 0.5)) {
      this.files.delete(path);
      this.files.set(`${path}.damaged`, entry);
    }
    if (cut) throw this.#freeze();
  }

  async link(from: string, to: string): Promise<void> {
    const cut = this.#step(`link ${to}`);
    this.#within(to);
    const entry = this.files.get(from);
    if (entry === undefined) throw new Fault('disk_failed', `${from} is missing`);
    this.files.set(to, { data: entry.data, safe: false, before: null });
    if (cut) throw this.#freeze();
  }

  async syncFolder(path: string): Promise<void> {
    if (this.#step(`syncFolder ${path}`)) throw this.#freeze();
    for (const [name, entry] of this.files) if (name.startsWith(`${path}/`)) entry.safe = true;
  }

  async size(path: string): Promise<number | null> {
    this.#alive();
    return this.files.get(path)?.data.length ?? null;
  }

  async freeBytes(): Promise<number> {
    this.#alive();
    return this.freeBytesLeft;
  }

  async append(path: string, offset: number, chunks: AsyncIterable<Uint8Array>): Promise<number> {
    const cut = this.#step(`append ${path}`);
    this.#within(path);
    const before = this.files.get(path)?.data ?? Buffer.alloc(0);
    if (before.length < offset) throw new Fault('disk_failed', `${path} is shorter than ${offset}`);
    let data = before.subarray(0, offset);
    for await (const chunk of chunks) {
      if (data.length + chunk.length > this.freeBytesLeft)
        throw new Fault('disk_full', 'no space left');
      data = Buffer.concat([data, chunk]);
      this.files.set(path, { data, safe: false, before: before.length > 0 ? before : null });
      if (cut && this.#coin() < 0.5) throw this.#freeze();
    }
    if (cut) throw this.#freeze();
    this.files.set(path, { data, safe: true, before: null });
    return data.length - offset;
  }

  async *stream(path: string): AsyncIterable<Uint8Array> {
    const whole = await this.read(path, Number.POSITIVE_INFINITY);
    if (whole === null) throw new Fault('disk_failed', `${path} is missing`);
    for (let at = 0; at < whole.length; at += 50) yield whole.subarray(at, at + 50);
  }

  async sha256(path: string): Promise<{ sha256: string; length: number } | null> {
    this.#alive();
    this.#readable(path);
    const data = this.files.get(path)?.data;
    return data === undefined
      ? null
      : { sha256: createHash('sha256').update(data).digest('hex'), length: data.length };
  }

  #readable(path: string): void {
    if (this.unreadable.has(path)) throw new Fault('disk_failed', `cannot read ${path}: EIO`);
  }

  /** Flips one byte, as bad flash or a thief would. */
  damage(path: string, at = 0): void {
    const entry = this.files.get(path);
    if (entry === undefined) throw new Error(`nothing at ${path}`);
    const data = Buffer.from(entry.data);
    data[at] = (data[at] ?? 0) ^ 0xff;
    this.files.set(path, { ...entry, data });
  }

  #alive(): void {
    if (this.#frozen) throw new PowerCut('the power is off');
  }

  #within(path: string): void {
    if (!this.folders.has(dirname(path)))
      throw new Fault('disk_failed', `no such folder: ${dirname(path)}`);
  }

  #step(what: string): boolean {
    this.#alive();
    this.operations += 1;
    this.log.push(what);
    return this.operations === this.cutAt;
  }

  #freeze(): PowerCut {
    this.#frozen = true;
    return new PowerCut(`power cut at operation ${this.operations}`);
  }
}
