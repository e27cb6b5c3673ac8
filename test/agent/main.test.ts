// The composed agent at its start and at its end: a failed start leaves nothing behind, and a stop
// never waits for the network.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { agentSettings } from '../../agent/config.js';
import type { Agent } from '../../agent/main.js';
import { initRepository } from '../../firmware-tools/release/repository.js';
import { silentLog } from '../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import { childPath } from '../support/inference-releases.js';

/**
 * The composition root reads its version beside dist/, so it is the compiled one that is started.
 */
const { startAgent } = (await import(
  childPath.replace('inference/model-process/host-child.js', 'main.js')
)) as typeof import('../../agent/main.js');

let home: string;
let trust: string;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'linnet-start-'));
  cleanups.push(() => rmSync(home, { recursive: true }));
  ({ trust } = await initRepository({
    out: join(home, 'fleet'),
    passphrase: null,
    clock: realClock,
    random: realRandom,
  }));
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A TCP server that accepts connections and never answers. */
async function mute(onConnection: (socket: Socket) => void = () => {}): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function start(
  serverPort: number,
  apiPort: number,
  dataDir = `${home}/data`,
  root = 'image-root.json',
  child = childPath,
): Promise<Agent> {
  const settings = agentSettings(
    `
    name = "gate-1"
    hardware = "sim"
    components = ["digits"]
    data_dir = "${dataDir}"
    [server]
    url = "http://127.0.0.1:${serverPort}"
    [trust]
    image_root = "${trust}/${root}"
    director_root = "${trust}/director-root.json"
    [api]
    port = ${apiPort}
  `,
    {},
  );
  return startAgent(settings, {
    clock: realClock,
    random: realRandom,
    log: silentLog,
    childPath: child,
  });
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no fault',
    (error: unknown) => (error as { code?: string }).code ?? String(error),
  );

describe('a start', () => {
  it('start_on_a_taken_port_releases_everything_it_holds', async () => {
    const taken = await mute();
    expect(await codeOf(start(1, taken))).toBe('port_in_use');
    // Were the spool still held, this would be `conflict`.
    expect(await codeOf(start(1, taken))).toBe('port_in_use');
    const agent = await start(1, 0);
    await agent.close();
  });
});

describe('a start with a wrong setting', () => {
  const refusal = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'no fault',
      (error: unknown) => (error as Error).message,
    );

  it('installation_without_the_model_process_file_is_refused_and_nothing_is_made', async () => {
    const lost = join(home, 'host-child.js');
    const text = await refusal(start(1, 0, join(home, 'data'), 'image-root.json', lost));
    expect(text).toBe(`installation_incomplete: this installation of the agent lacks ${lost}`);
    expect(existsSync(join(home, 'data'))).toBe(false);
  });

  it('data_dir_that_is_a_file_or_cannot_be_made_is_named', async () => {
    writeFileSync(join(home, 'file'), '');
    for (const path of [join(home, 'file'), join(home, 'file/inner'), '/proc/nope/inner']) {
      const text = await refusal(start(1, 0, path));
      expect(text).toMatch(/^config_invalid: cannot use data_dir/);
      expect(text).toContain(path);
    }
  });

  it('trusted_root_that_is_missing_is_named_and_nothing_is_made', async () => {
    const text = await refusal(start(1, 0, join(home, 'data'), 'nothing.json'));
    expect(text).toMatch(
      /^config_invalid: .*trust\.image_root .*nothing\.json \(there is no such file\)/,
    );
    expect(existsSync(join(home, 'data'))).toBe(false);
  });
});

describe('a start on a damaged data folder', () => {
  const SETUPS: Record<string, (path: string) => void> = {
    folder: (path) => mkdirSync(path),
    fifo: (path) => execFileSync('mkfifo', [path]),
    link_to_nothing: (path) => symlinkSync('nothing', path),
  };
  for (const [kind, make] of Object.entries(SETUPS)) {
    it(`${kind}_in_place_of_any_state_file_neither_stops_nor_hangs_it`, async () => {
      await (await start(1, 0)).close();
      const data = join(home, 'data');
      for (const file of [
        'identity.json',
        'components/digits/record.json',
        'trust/director/root.json',
        'trust/image/root.json',
        'trust/image/targets.json',
      ]) {
        rmSync(join(data, file), { recursive: true, force: true });
        make(join(data, file));
      }
      const agent = await start(1, 0);
      await agent.close();
    });
  }
});

describe('a stop', () => {
  it('stop_while_the_server_answers_nothing_ends_and_asks_nothing_more', async () => {
    let asked = 0;
    const silent = await mute((socket) => socket.once('data', () => (asked += 1)));
    const agent = await start(silent, 0);
    await expect.poll(() => asked, { timeout: 50_000, interval: 10 }).toBe(1);
    await agent.close();
    await agent.running;
    expect(asked).toBe(1);
  });
});
