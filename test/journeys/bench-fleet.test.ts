// `npm run bench:fleet` with a small fleet: every device is served, and nothing that the server
// acknowledged is lost or stored twice, also when it is killed meanwhile. Times are not looked at.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import type { Figure, Run } from '../bench/fleet/figures.js';
import { isWhole } from '../support/whole.js';

const FLEET = 'dist/test/bench/fleet.js';
const run = promisify(execFile);

it.skipIf(!isWhole)(
  'a_small_fleet_is_served_and_loses_nothing_when_its_server_is_killed',
  async () => {
    const options = ['--devices', '100', '--seconds', '1', '--backend', 'sqlite', '--json'];
    const only = ['--only', 'poll,telemetry,killed,hint,pages'];
    // It fails by itself when the database does not hold exactly what was acknowledged.
    const { stdout } = await run(process.execPath, [FLEET, ...options, ...only]);
    const { runs } = JSON.parse(stdout) as { runs: Run[] };
    const figures = runs.flatMap((one): readonly Figure[] => one.figures);
    const valueOf = (what: string): (number | undefined)[] =>
      figures.filter((figure) => figure.what === what).map(({ value }) => value);
    expect(valueOf('devices not served')).toEqual([0]);
    expect(valueOf('rows lost or doubled')).toEqual([0]);
    expect(valueOf('devices without their metadata')).toEqual([0]);
    expect(valueOf('rows acknowledged')[0]).toBeGreaterThan(0);
  },
);
