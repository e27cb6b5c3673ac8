// A second payload kind for tests: one plain file that a command checks, in a real child process.
// Its lines say what the command is to find: `probe=ok` before the swap, `trial=ok` after it.
import type { ColdStart, Standing } from '../../agent/interfaces.js';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Type } from 'typebox';
import type {
  AnyInstalled,
  Observation,
  PayloadHandler,
  Rehearsal,
} from '../../agent/update/payload/handler.js';
import { sha256, utf8 } from '../../shared/base/bytes.js';
import { Fault } from '../../shared/base/fault-codes.js';
import {
  manifestHead,
  type ManifestHead,
  type ManifestKind,
} from '../../shared/release/manifest-head.js';
import type { SimDisk } from './disk.js';
import { simEnvelope, type SimRelease } from './release.js';

const FILE_KIND: ManifestKind = {
  kind: 'file',
  schema: Type.Object(manifestHead, { additionalProperties: false }),
  check: () => {},
};

/** A release of one file; `fails` names the check that the command will refuse. */
export function fileRelease(
  version: string,
  fails: 'probe' | 'trial' | null = null,
): SimRelease<ManifestHead> {
  const line = (check: string): string => `${check}=${fails === check ? 'bad' : 'ok'}\n`;
  const bytes = utf8(`version=${version}\n${line('probe')}${line('trial')}`);
  const digest = sha256(bytes);
  const manifest: ManifestHead = {
    format: 'linnet.release/1',
    kind: 'file',
    component: 'digits',
    version,
    description: 'a plain file for tests',
    hardware: ['sim'],
    files: [{ name: 'settings.txt', role: 'settings', sha256: digest, length: bytes.length }],
  };
  return { manifest, ...simEnvelope(manifest), files: new Map([[digest, bytes]]) };
}

export class FileHandler implements PayloadHandler {
  readonly manifestKind = FILE_KIND;
  readonly shadow = null;
  serving: string | null = null;
  readonly history: (string | null)[] = [];
  readonly #disk: SimDisk;
  #active: AnyInstalled | null = null;

  constructor(disk: SimDisk) {
    this.#disk = disk;
  }

  admit(): Promise<void> {
    return Promise.resolve();
  }

  install(): Promise<void> {
    return Promise.resolve();
  }

  async probe(candidate: AnyInstalled): Promise<string> {
    if (!(await this.#accepts(candidate, 'probe')))
      throw new Fault('probe_differs', 'the command refuses the file');
    return 'the command accepts the file';
  }

  async rehearse(candidate: AnyInstalled, current: AnyInstalled | null): Promise<Rehearsal> {
    await this.#bytes(candidate);
    if (current !== null) await this.#bytes(current);
    return { differs: null, detail: 'no rehearsal: a file answers nothing' };
  }

  async activate(current: AnyInstalled): Promise<void> {
    await this.#bytes(current);
    this.#active = current;
    if (this.serving !== current.release.version) this.history.push(current.release.version);
    this.serving = current.release.version;
  }

  async observe(): Promise<Observation> {
    if (this.#active === null) throw new Error('observed without being active');
    const accepted = await this.#accepts(this.#active, 'trial');
    const reasons = [`the command ${accepted ? 'accepts' : 'refuses'} the file in use`];
    return accepted
      ? { verdict: 'pass', code: null, reasons, evidence: null }
      : { verdict: 'fail', code: 'trial_errors', reasons, evidence: null };
  }

  coldStart(): Promise<ColdStart> {
    return Promise.resolve({ none: 'a file has no process' });
  }

  standing(): Standing {
    return { conditions: [], crashLoop: null };
  }

  deactivate(): Promise<void> {
    this.#active = null;
    this.serving = null;
    this.history.push(null);
    return Promise.resolve();
  }

  async #accepts(installed: AnyInstalled, check: 'probe' | 'trial'): Promise<boolean> {
    const command = spawn('grep', ['-qx', `${check}=ok`], { stdio: ['pipe', 'ignore', 'ignore'] });
    const ended = once(command, 'close') as Promise<[number | null]>;
    command.stdin.on('error', () => {}); // grep -q may end before it has read everything.
    command.stdin.end(await this.#bytes(installed));
    const [code] = await ended;
    return code === 0;
  }

  /** The file's bytes; a bug when they are not those of the manifest. */
  async #bytes({ release, folder }: AnyInstalled): Promise<Uint8Array> {
    const [file] = release.manifest.files;
    const bytes = file && (await this.#disk.read(`${folder}/${file.name}`, 10_000));
    if (!bytes || sha256(bytes) !== file.sha256)
      throw new Error(`UNVERIFIED BYTES reached the handler: ${release.version}`);
    return bytes;
  }
}
