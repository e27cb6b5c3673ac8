// Looks at this machine and at a server, for the `doctor` commands: what they find is a value, and
// only a bug is thrown.
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, resolve } from 'node:path';
import { reason, systemCode } from '../base/fault-codes.js';
import { limits } from '../base/limits.js';
import { HttpConnector } from './http-connector.js';
import type { Proxies } from './proxies.js';
import type { FolderState, NodeVersions } from '../base/machine-findings.js';

export const nodeVersions: NodeVersions = {
  version: process.versions.node,
  modules: process.versions.modules,
  system: `${process.platform} ${process.arch}`,
};

/** Version of the C library; null where it is another one than glibc (musl). */
export function glibcVersion(): string | null {
  const { header } = process.report.getReport() as {
    header: { glibcVersionRuntime?: string };
  };
  return header.glibcVersionRuntime ?? null;
}

export function folderState(path: string): FolderState {
  const nearest = nearestExisting(path);
  const exists = nearest === resolve(path);
  const { uid, mode } = exists ? statSync(nearest) : { uid: 0, mode: 0 };
  const state = { exists, owner: uid, mode: mode & 0o777 };
  try {
    if (!statSync(nearest).isDirectory())
      return { ...state, isOther: true, problem: `${nearest} is not a folder` };
    accessSync(nearest, constants.R_OK | constants.W_OK | constants.X_OK);
    return { ...state, problem: null };
  } catch (error) {
    return { ...state, problem: `${nearest}: ${systemCode(error) ?? reason(error)}` };
  }
}

/** Of the disk that has the folder, or would have it. */
export function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(nearestExisting(path));
  return bavail * bsize;
}

/** The path itself, or the nearest one above it that exists. */
function nearestExisting(path: string): string {
  let nearest = resolve(path);
  while (!existsSync(nearest)) nearest = dirname(nearest);
  return nearest;
}

/** Why a program of this Node.js fails; null when it ends by exit code 0. */
export async function programFailure(args: readonly string[]): Promise<string | null> {
  const child = spawn(process.execPath, args, {
    // Node.js reads the package.json of the folder that it starts in; this user may not, in the
    // home folder of another one.
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: limits.doctorLoadWaitMs,
  });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(0, limits.programErrorMaxChars);
  });
  return new Promise((done) => {
    child.on('error', (error) => done(reason(error)));
    child.on('close', (code, signal) => {
      const late = child.killed ? `not done after ${limits.doctorLoadWaitMs / 1000} s:` : '';
      const end = signal === null ? `exit code ${code}` : `${late} signal ${signal}`.trim();
      // Node.js shows the line of the program before the error, and the stack after it.
      const line = /^\w*Error: .*$/m.exec(text)?.[0] ?? text.trim();
      done(code === 0 ? null : `${end} ${line.slice(0, limits.quotedMaxChars)}`.trim());
    });
  });
}

export interface ServerLook {
  /** Code of the system or of TLS; null when the server answered. */
  readonly failure: string | null;
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** One request without a body; the answer's body is not read. */
export function lookAtServer(
  url: string,
  { ca, proxies }: { readonly ca?: Uint8Array | undefined; readonly proxies: Proxies },
): Promise<ServerLook> {
  const failed = (failure: string): ServerLook => ({ failure, status: 0, headers: {} });
  const connector = new HttpConnector({
    proxies,
    keepAlive: false,
    ca: ca === undefined ? undefined : Buffer.from(ca),
  });
  return new Promise((done) => {
    const request = connector.request(url, { method: 'GET', headers: {} });
    request.setTimeout(limits.doctorServerWaitMs);
    request.on('response', (response) => {
      response.destroy();
      done({ failure: null, status: response.statusCode ?? 0, headers: response.headers });
    });
    request.on('timeout', () => {
      done(failed('ETIMEDOUT'));
      request.destroy();
    });
    request.on('error', (error) => done(failed(systemCode(error) ?? reason(error))));
    request.end();
  });
}

/** Why nothing can listen there; null when something can. */
export function listenFailure(host: string, port: number): Promise<string | null> {
  const server = createServer();
  return new Promise((done) => {
    server.on('error', (error) => done(systemCode(error) ?? reason(error)));
    server.listen(port, host, () => server.close(() => done(null)));
  });
}
