// Syslog as a target: one datagram an event over UDP (RFC 5426), or one connection a page over TCP
// or TLS, with octet counting (RFC 5425, RFC 6587). TLS verifies the collector's certificate. Over
// UDP nobody learns of a loss; over TCP a page counts as delivered when it was written and the
// connection was closed in order.
import { createSocket } from 'node:dgram';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Fault, reason } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import type { EventFormat } from './event-formats.js';
import type { ExportTarget } from './exporter.js';

export interface SyslogOptions {
  readonly host: string;
  readonly port: number;
  readonly transport: 'udp' | 'tcp' | 'tls';
  /** Of the collector's certificate; null: the system's. */
  readonly ca: Buffer | null;
  readonly format: EventFormat;
}

export function syslogTarget(options: SyslogOptions): ExportTarget {
  const { format, transport } = options;
  return {
    name: 'syslog',
    send: (events) => {
      const lines = events.map((event) => Buffer.from(format(event), 'utf8'));
      return transport === 'udp' ? sendDatagrams(options, lines) : sendStream(options, lines);
    },
  };
}

async function sendDatagrams(
  { host, port }: SyslogOptions,
  lines: readonly Buffer[],
): Promise<void> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  const broken = new Promise<never>((_resolve, reject) => socket.once('error', reject));
  broken.catch(() => {});
  try {
    for (const line of lines) {
      const sent = new Promise<void>((resolve, reject) =>
        socket.send(line, port, host, (error) => (error === null ? resolve() : reject(error))),
      );
      await Promise.race([sent, broken]);
    }
  } catch (error) {
    throw unreachable({ host, port }, error);
  } finally {
    socket.close();
  }
}

async function sendStream(options: SyslogOptions, lines: readonly Buffer[]): Promise<void> {
  const framed = lines.flatMap((line) => [Buffer.from(`${line.length} `), line]);
  const socket = open(options);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.setTimeout(limits.exportSendMs, () => reject(new Error('timed out')));
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('the connection was closed')));
      socket.once('finish', resolve);
      socket.once(options.transport === 'tls' ? 'secureConnect' : 'connect', () =>
        socket.end(Buffer.concat(framed)),
      );
    });
  } catch (error) {
    socket.destroy();
    throw unreachable(options, error);
  }
  // Until the collector closes too; what it says is not read.
  socket.on('error', () => {}).resume();
  socket.setTimeout(limits.exportSendMs, () => socket.destroy());
}

function open({ host, port, transport, ca }: SyslogOptions): Socket {
  return transport === 'tls'
    ? connectTls({ host, port, ...(ca === null ? {} : { ca }) })
    : connectTcp({ host, port });
}

const unreachable = ({ host, port }: { host: string; port: number }, error: unknown): Fault =>
  new Fault('server_unreachable', `syslog ${host}:${port}: ${reason(error)}`, { cause: error });
