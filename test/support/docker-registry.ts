// Debian's real registry (package docker-registry) with a folder of its own.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const hasDockerRegistry = ((): boolean => {
  try {
    execFileSync('docker-registry', ['--version'], { stdio: 'ignore' });
    return true;
  } catch (error) {
    return (error as { code?: string }).code !== 'ENOENT';
  }
})();

export class DockerRegistry {
  readonly folder = mkdtempSync(join(tmpdir(), 'linnet-registry-'));
  host = '';
  #process: ChildProcess | null = null;

  /** `more` are lines of its section `http` and others after it. */
  async start(more = ''): Promise<this> {
    const config = join(this.folder, 'config.yml');
    writeFileSync(
      config,
      'version: 0.1\n' +
        `storage: {filesystem: {rootdirectory: "${this.folder}/data"}, delete: {enabled: true}}\n` +
        `http:\n  addr: 127.0.0.1:${this.host.split(':')[1] ?? '0'}\n${more}`,
    );
    this.#process = spawn('docker-registry', ['serve', config], { stdio: 'pipe' });
    const { stderr } = this.#process;
    let output = '';
    this.host = await new Promise<string>((resolve, reject) => {
      stderr?.on('data', (chunk: Buffer) => {
        output = (output + chunk.toString()).slice(-100_000);
        const [, host] = /listening on ([^\s",]+)/.exec(output) ?? [];
        if (host !== undefined) resolve(host);
      });
      this.#process?.once('exit', () => reject(new Error(`docker-registry ended: ${output}`)));
    });
    return this;
  }

  /** Removes what no manifest names, and manifests that no tag names. */
  collectGarbage(): void {
    const config = join(this.folder, 'config.yml');
    execFileSync('docker-registry', ['garbage-collect', '-m', config], { stdio: 'ignore' });
  }

  holds(digest: string): boolean {
    const blobs = join(this.folder, 'data/docker/registry/v2/blobs/sha256');
    return existsSync(join(blobs, digest.slice(0, 2), digest));
  }

  async stop(): Promise<void> {
    if (this.#process === null || this.#process.exitCode !== null) return;
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await ended;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
