// What the telemetry tests share: a health record that carries a number, a real aedes broker on a
// port, and a fleet server of the one property that matters here: it stores each (device, batch)
// once, in SQLite, before it acknowledges.
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { Aedes } from 'aedes';
import Database from 'better-sqlite3';
import { connectAsync } from 'mqtt';
import { decodeJson } from '../../shared/base/decode.js';
import {
  deviceOfTopic,
  TelemetryBatch,
  topics,
  type HealthBody,
  type TelemetryAck,
} from '../../shared/protocol/telemetry.js';

export const health = (n: number, padding = 0): HealthBody => ({
  cpuUse: null,
  memoryTotalBytes: 10 ** padding,
  memoryAvailableBytes: 1,
  temperatureC: null,
  diskTotalBytes: null,
  diskFreeBytes: null,
  agentRssBytes: 1,
  uptimeSeconds: n,
  spool: { records: 0, bytes: 0, lost: 0 },
  clockErrorMs: null,
});

export interface Broker {
  readonly port: number;
  stop(): Promise<void>;
}

export async function startBroker(port = 0): Promise<Broker> {
  const aedes = await Aedes.createBroker();
  const server = createServer(aedes.handle as (socket: Socket) => void);
  await new Promise<void>((resolve, reject) =>
    server.once('error', reject).listen(port, '127.0.0.1', resolve),
  );
  let stopped = false;
  return {
    port: (server.address() as AddressInfo).port,
    stop: async () => {
      if (stopped) return;
      stopped = true;
      const closed = new Promise((resolve) => server.close(resolve));
      await new Promise<void>((resolve) => aedes.close(resolve));
      await closed;
    },
  };
}

export class Store {
  readonly #db: Database.Database;
  constructor(file: string) {
    this.#db = new Database(file);
    this.#db
      .exec(`CREATE TABLE IF NOT EXISTS batch (device TEXT, id TEXT, PRIMARY KEY (device, id));
      CREATE TABLE IF NOT EXISTS record
        (device TEXT, seq INTEGER, kind TEXT, body TEXT, PRIMARY KEY (device, seq));`);
  }

  /**
   * False when this batch was stored before. A record that comes in two batches breaks the key, and
   * with it the test.
   */
  insert(device: string, { batch, records }: TelemetryBatch): boolean {
    return this.#db.transaction(() => {
      if (
        this.#db.prepare('INSERT OR IGNORE INTO batch VALUES (?, ?)').run(device, batch).changes ===
        0
      )
        return false;
      const insert = this.#db.prepare('INSERT INTO record VALUES (?, ?, ?, ?)');
      for (const { seq, kind, body } of records)
        insert.run(device, seq, kind, JSON.stringify(body));
      return true;
    })();
  }

  /** The numbers of the health records, in the order of their sequence numbers. */
  numbers(): number[] {
    return this.#db
      .prepare<[], { body: string }>("SELECT body FROM record WHERE kind = 'health' ORDER BY seq")
      .all()
      .map(({ body }) => (JSON.parse(body) as HealthBody).uptimeSeconds);
  }

  close(): void {
    this.#db.close();
  }
}

export type Verdict = TelemetryAck['result'] | 'silent' | 'stored without a word';

export interface Server {
  readonly batches: TelemetryBatch[];
  readonly repeats: () => number;
  say(topic: string, text: string): Promise<void>;
  stop(): Promise<void>;
}

/** `judge` says what happens to the n-th message (from 0); batches that it stores go to `store`. */
export async function startServer(
  port: number,
  store: Store,
  judge: (n: number, batch: TelemetryBatch) => Verdict = () => 'stored',
): Promise<Server> {
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, {
    clientId: 'server',
    reconnectPeriod: 0,
  });
  const batches: TelemetryBatch[] = [];
  let repeats = 0;
  client.on('error', () => {});
  client.on('message', (topic, payload) => {
    const device = deviceOfTopic(topic);
    if (device === null) throw new Error(`unexpected topic ${topic}`);
    const batch = decodeJson(TelemetryBatch, payload, 'batch');
    const verdict = judge(batches.length, batch);
    batches.push(batch);
    if (verdict === 'silent') return;
    if (verdict !== 'refused' && !store.insert(device, batch)) repeats += 1;
    if (verdict === 'stored without a word') return;
    client.publish(
      topics.ack(device),
      JSON.stringify({ batch: batch.batch, result: verdict } satisfies TelemetryAck),
      { qos: 1 },
      () => {},
    );
  });
  await client.subscribeAsync(topics.everyUp, { qos: 1 });
  return {
    batches,
    repeats: () => repeats,
    say: async (topic, text) => {
      await client.publishAsync(topic, text, { qos: 1 });
    },
    stop: () => client.endAsync(true),
  };
}
