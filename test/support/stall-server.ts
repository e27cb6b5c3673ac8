// A real fleet server in a process of its own, which counts what it does and how long its event
// loop stands still. The process that started it sends `measure` and `report`; it ends with its
// parent.
import { statementRuns } from './sqlite-statements.js';
import { execFileSync, fork } from 'node:child_process';
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { FleetClient } from '../../firmware-tools/fleet/fleet-client.js';
import { startFleet, type FleetAccess } from './fleet-server.js';

/** This file runs from the sources (vitest) and from dist/ (bench). */
const HERE = fileURLToPath(new URL('../../', import.meta.url));
const DIST = HERE.endsWith('/dist/') ? HERE : join(HERE, 'dist');

const RESOLUTION_MS = 5;
const MIB = 1024 * 1024;

/** Since `measure`. */
export interface StallReport {
  readonly stallMs: number;
  readonly signatureChecks: number;
  readonly statements: number;
  readonly writes: number;
  /** After a garbage collection. */
  readonly memoryMib: number;
}

export interface StallServer extends FleetAccess {
  readonly adminToken: string;
  /** Without the child's own exit code this is the proof that it lives. */
  isAlive(): boolean;
  measure(): Promise<void>;
  report(): Promise<StallReport>;
  close(): Promise<void>;
}

interface Ready {
  readonly address: string;
  readonly mqttPort: number;
  readonly adminToken: string;
  readonly audience: string;
}

/** `openFiles`: the descriptors that it may have, as `ulimit -n` says. It runs from dist/. */
export async function startStallServer(openFiles?: number): Promise<StallServer> {
  const path = join(DIST, 'test/support/stall-server.js');
  const child = fork(path, ['serve', String(openFiles ?? 0)], {
    execArgv: ['--expose-gc'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  let isAlive = true;
  const ended = new Promise<void>((resolve) =>
    child.once('exit', () => {
      isAlive = false;
      resolve();
    }),
  );
  const next = <T>(): Promise<T> =>
    new Promise((resolve, reject) => {
      child.once('message', (message) => resolve(message as T));
      void ended.then(() => reject(new Error('the server process ended')));
    });
  const ask = <T>(command: string): Promise<T> => {
    const answer = next<T>();
    child.send(command);
    return answer;
  };
  const { address, mqttPort, adminToken, audience } = await next<Ready>();
  const close = async (): Promise<void> => {
    if (isAlive) child.send('close');
    await ended;
  };
  return {
    server: { address, mqttPort, close },
    admin: new FleetClient({ server: address, token: adminToken }),
    adminToken,
    audience,
    isAlive: () => isAlive,
    measure: async () => {
      await ask<null>('measure');
    },
    report: () => ask('report'),
    close,
  };
}

async function serve(openFiles: number): Promise<void> {
  // Here, because loading the modules one by one needs more of them than serving does.
  if (openFiles > 0)
    execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${openFiles}:${openFiles}`]);
  const counts = { signatureChecks: 0, statements: 0, writes: 0 };
  const { verify } = crypto;
  crypto.verify = ((...args: unknown[]): unknown => {
    counts.signatureChecks += 1;
    return Reflect.apply(verify, crypto, args);
  }) as typeof verify;
  syncBuiltinESMExports();
  for (const name of ['all', 'run'] as const) {
    const original = statementRuns[name];
    statementRuns[name] = function counting(...parameters) {
      counts.statements += 1;
      if (/^\s*(?:insert|update|delete)/i.test(this.source)) counts.writes += 1;
      return original.apply(this, parameters);
    };
  }
  const fleet = await startFleet();
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  process.on('message', (command) => {
    if (command === 'measure') {
      Object.assign(counts, { signatureChecks: 0, statements: 0, writes: 0 });
      delay.enable();
      delay.reset();
      process.send?.(null);
    } else if (command === 'report') {
      const stallMs = delay.max / 1e6 - RESOLUTION_MS;
      (globalThis as { gc?: () => void }).gc?.();
      process.send?.({ ...counts, stallMs, memoryMib: process.memoryUsage().rss / MIB });
    } else {
      void fleet.close().then(() => process.exit(0));
    }
  });
  process.on('disconnect', () => void fleet.close().then(() => process.exit(0)));
  const { address, mqttPort } = fleet.server;
  process.send?.({
    address,
    mqttPort,
    adminToken: fleet.adminToken,
    audience: fleet.audience,
  } satisfies Ready);
}

if (process.argv[2] === 'serve' && process.argv[1] === fileURLToPath(import.meta.url))
  await serve(Number(process.argv[3]));
