// `npm run bench:stall`: how long the event loop of a real server process stands still under each
// attack, what an honest client at another address waits for /healthz meanwhile, and the memory
// that stays. The aims are strict and nothing fails: a loaded machine misses them.
import { setTimeout as pause } from 'node:timers/promises';
import { limits } from '../../shared/base/limits.js';
import { Device, TokenPage } from '../../shared/protocol/operator-api.js';
import { enrolled, newDevice } from '../support/fleet-server.js';
import {
  attack,
  badEnrolment,
  closed,
  connectPacket,
  deviceRequest,
  hold,
  many,
  mqttLogin,
  ownDown,
  portOf,
  subscribeToMany,
  watchHealth,
  wrongOperator,
} from '../support/stall-attacks.js';
import { startStallServer, type StallServer } from '../support/stall-server.js';

const STALL_AIM_MS = 250;
const HEALTH_AIM_MS = 50;
const SECOND_MS = 1000;

interface Attack {
  readonly what: string;
  readonly run: (fleet: StallServer) => Promise<unknown>;
}

const ATTACKS: readonly Attack[] = [
  { what: 'nothing (5 s)', run: () => pause(5 * SECOND_MS) },
  {
    what: '23 bad enrolments a second over 10 connections (20 s)',
    run: async (fleet) => {
      const enrol = await badEnrolment(fleet);
      for (let n = 0; n < 20 * 23; n++) {
        void enrol();
        await pause(SECOND_MS / 23);
      }
    },
  },
  {
    what: '5,100 wrong bearer tokens',
    run: (fleet) => many(5100, (n) => wrongOperator(fleet, n)),
  },
  {
    what: '1,000 refused MQTT logins',
    run: async (fleet) => {
      const stranger = newDevice('stranger');
      for (let n = 0; n < 1000; n++) await mqttLogin(fleet, stranger);
    },
  },
  {
    what: 'a revoked device that comes back 1,000 times',
    run: async (fleet) => {
      const device = await enrolled(fleet, 'revoked');
      await fleet.admin.request('POST', '/devices/revoked/revoke', Device);
      await many(1000, () => deviceRequest(fleet, device));
    },
  },
  ...[1, 250, 20_000, 260_000].map((count) => ({
    what: `one SUBSCRIBE with ${count.toLocaleString('en')} foreign filters`,
    run: async (fleet: StallServer) => {
      const device = await enrolled(fleet, `foreign-${count}`);
      await subscribeToMany(fleet, device, count, (n) => `x/${n}`);
    },
  })),
  {
    what: 'one SUBSCRIBE with 15,000 own filters',
    run: async (fleet) => {
      const device = await enrolled(fleet, 'own');
      await subscribeToMany(fleet, device, 15_000, (n) => `${ownDown(device).slice(0, -1)}${n}`);
    },
  },
  {
    what: '600 half CONNECTs of 1 MiB',
    run: async (fleet) => {
      const sockets = await hold(fleet.server.mqttPort, 600);
      const part = Buffer.concat([Buffer.from([0x10, 0x80, 0x80, 0x40]), Buffer.alloc(64 * 1024)]);
      for (const socket of sockets) socket.write(part);
      await Promise.all(sockets.map(closed));
    },
  },
  {
    what: '600 CONNECTs without their end',
    run: async (fleet) => {
      const sockets = await hold(fleet.server.mqttPort, 600);
      const part = (await connectPacket(fleet, newDevice('half'))).subarray(0, -10);
      for (const socket of sockets) socket.write(part);
      await Promise.all(sockets.map(closed));
    },
  },
  {
    what: '1,500 held HTTP connections',
    run: async (fleet) => {
      const sockets = await hold(portOf(fleet), 1500);
      await Promise.all(sockets.map(closed));
    },
  },
  {
    what: '200 bodies that trickle',
    run: async (fleet) => {
      const sockets = await hold(portOf(fleet), 200);
      const head = 'POST /device/v1/enrol HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n';
      for (const socket of sockets) socket.write(`${head}content-type: application/json\r\n\r\n`);
      const until = performance.now() + limits.httpBodyMs + 5 * SECOND_MS;
      while (performance.now() < until && sockets.some((socket) => !socket.closed)) {
        for (const socket of sockets) if (!socket.closed) socket.write(' ');
        await pause(SECOND_MS);
      }
      const left = sockets.filter((socket) => !socket.closed).length;
      if (left > 0) console.log(`${left} of them are still open`);
      for (const socket of sockets) socket.destroy();
    },
  },
];

async function main(): Promise<void> {
  const fleet = await startStallServer();
  await fleet.admin.list('/tokens', TokenPage);
  console.log(
    `aims: no stall above ${STALL_AIM_MS} ms, p99 of /healthz <= ${HEALTH_AIM_MS} ms\n\n` +
      'longest stall | /healthz p99 | failed | memory after | checks | statements | attack',
  );
  for (const { what, run } of ATTACKS) {
    await fleet.measure();
    const health = watchHealth(fleet);
    await run(fleet);
    const { p99Ms, failed } = await health.end();
    const { stallMs, memoryMib, signatureChecks, statements } = await fleet.report();
    const columns = [
      `${stallMs.toFixed(0)} ms${stallMs > STALL_AIM_MS ? ' !' : ''}`.padStart(13),
      `${p99Ms.toFixed(0)} ms${p99Ms > HEALTH_AIM_MS ? ' !' : ''}`.padStart(12),
      String(failed).padStart(6),
      `${memoryMib.toFixed(0)} MiB`.padStart(12),
      String(signatureChecks).padStart(6),
      String(statements).padStart(10),
      what,
    ];
    console.log(columns.join(' | '));
    // Failed logins are given back, so that the next attack starts like the first.
    await pause(5 * SECOND_MS);
  }
  const last = await attack(fleet, '/healthz');
  console.log(`\n/healthz afterwards: ${last.status}`);
  await fleet.close();
  process.exit(0);
}

await main();
