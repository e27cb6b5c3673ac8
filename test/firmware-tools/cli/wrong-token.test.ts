// Commands that follow the server, and whose token stops being valid meanwhile: a proxy before a
// real server spoils the token from one request on, and counts.
import { Command } from 'commander';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { registerFleetCommands } from '../../../firmware-tools/cli/commands/fleet.js';
import { makeOutput } from '../../../firmware-tools/cli/output.js';
import { RolloutDetail } from '../../../shared/protocol/operator-api.js';
import { enrolled, publish, startFleet, type TestFleet } from '../../support/fleet-server.js';
import { firstInstall } from '../../support/journey-devices.js';
import { tempFolder } from '../../support/temp-folders.js';

/** Requests that pass before the token is spoilt: more than one turn of each command. */
const GOOD = 4;
let fleet: TestFleet;
let proxy: Server;
let folder: string;
let answers: number[] = [];

beforeAll(async () => {
  fleet = await startFleet();
  await publish(fleet, '1.0.0');
  await enrolled(fleet, 'cam-1', 'fleet');
  folder = tempFolder();
  await writeFile(join(folder, 'token'), `${fleet.adminToken}\n`);
  let requests = 0;
  proxy = createServer((request, response) => {
    if (answers.length === 0) requests = 0;
    requests += 1;
    const good = request.headers.authorization ?? '';
    const authorization = requests <= GOOD ? good : 'Bearer lnt_spoilt';
    void fetch(`${fleet.server.address}${request.url ?? ''}`, { headers: { authorization } }).then(
      async (answer) => {
        answers.push(answer.status);
        response.writeHead(answer.status, { 'content-type': 'application/json' });
        response.end(await answer.text());
      },
    );
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  await new Promise((resolve) => proxy.close(resolve));
  await fleet.close();
});

async function follow(args: string[]): Promise<unknown> {
  answers = [];
  const silent = { out: () => {}, err: () => {} };
  const program = new Command('linnet').exitOverride();
  registerFleetCommands(program, makeOutput(false, silent));
  const server = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const options = ['--server', server, '--token-file', join(folder, 'token')];
  return program
    .parseAsync([...args, ...options], { from: 'user' })
    .catch((error: unknown) => error);
}

/** One turn asks for at most two documents; no second turn follows. */
function expectStopped(ended: unknown): void {
  expect(ended).toMatchObject({ code: 'auth_missing' });
  expect(answers.slice(0, GOOD)).toEqual(Array(GOOD).fill(200));
  expect(answers.slice(GOOD).length).toBeLessThanOrEqual(2);
  expect(new Set(answers.slice(GOOD))).toEqual(new Set([401]));
}

it('security_list_follow_ends_when_its_token_is_refused', async () => {
  expectStopped(await follow(['security', 'list', '--follow']));
});

it('rollout_watch_ends_when_its_token_is_refused', async () => {
  const { id } = await fleet.admin.request('POST', '/rollouts', RolloutDetail, {
    component: 'digits',
    version: '1.0.0',
    policy: firstInstall,
  });
  expectStopped(await follow(['rollout', 'watch', id]));
});
