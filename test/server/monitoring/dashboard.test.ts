// The dashboard and the alert rules name only metrics that a real server has. Where Prometheus is
// installed, it scrapes and queries the server, and promtool checks the rules.
import { execFile, spawnSync, type ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startFleet, type TestFleet } from '../../support/fleet-server.js';
import { tempFolder } from '../../support/temp-folders.js';

const FOLDER = fileURLToPath(new URL('../../../docs/monitoring/', import.meta.url));
const RULES = join(FOLDER, 'alert-rules.yml');

let fleet: TestFleet;
let known: Set<string>;
beforeAll(async () => {
  fleet = await startFleet();
  const response = await fetch(`${fleet.server.address}/metrics`, {
    headers: { authorization: `Bearer ${fleet.adminToken}` },
  });
  known = new Set();
  for (const [, name, type] of (await response.text()).matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    if (name === undefined) continue;
    if (type === 'histogram')
      for (const end of ['bucket', 'sum', 'count']) known.add(`${name}_${end}`);
    else known.add(name);
  }
});
afterAll(async () => {
  await fleet.close();
});

const metricsIn = (text: string): string[] => text.match(/\b(?:linnet|process)_[a-z_]+\b/g) ?? [];

function dashboardExpressions(): string[] {
  const text = readFileSync(join(FOLDER, 'grafana-dashboard.json'), 'utf8');
  const { panels } = JSON.parse(text) as { panels: { targets: { expr: string }[] }[] };
  return panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
}

it('the_dashboard_names_only_metrics_that_exist_and_each_panel_names_one', () => {
  for (const expression of dashboardExpressions()) {
    const names = metricsIn(expression);
    expect([expression, names.length > 0]).toEqual([expression, true]);
    expect(names.filter((name) => !known.has(name))).toEqual([]);
  }
});

it('the_alert_rules_name_only_metrics_that_exist', () => {
  const names = metricsIn(readFileSync(RULES, 'utf8'));
  expect(names.length).toBeGreaterThan(10);
  expect(names.filter((name) => !known.has(name))).toEqual([]);
});

const isInstalled = (program: string): boolean =>
  spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;

it('promtool_accepts_the_rules', (context) => {
  if (!isInstalled('promtool')) context.skip('promtool is not installed (Debian: prometheus)');
  const { status, stderr, stdout } = spawnSync('promtool', ['check', 'rules', RULES]);
  expect([status, `${stderr.toString()}${stdout.toString()}`]).toEqual([0, expect.any(String)]);
});

it('a_real_prometheus_scrapes_the_server_and_evaluates_every_expression', async (context) => {
  if (!isInstalled('prometheus')) context.skip('prometheus is not installed (Debian: prometheus)');
  const folder = tempFolder();
  writeFileSync(join(folder, 'token'), fleet.adminToken);
  const target = new URL(fleet.server.address).host;
  writeFileSync(
    join(folder, 'prometheus.yml'),
    `global: { scrape_interval: 1s }
scrape_configs:
  - job_name: linnet
    authorization: { credentials_file: ${join(folder, 'token')} }
    static_configs: [{ targets: ['${target}'] }]
rule_files: ['${RULES}']
`,
  );
  const port = await freePort();
  const prometheus: ChildProcess = execFile('prometheus', [
    `--config.file=${join(folder, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ]);
  const ended = new Promise((resolve) => prometheus.once('exit', resolve));
  const query = async (expression: string): Promise<{ status: string; found: number }> => {
    const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(expression)}`;
    const answer = await fetch(url).catch(() => null);
    if (answer === null) return { status: 'unreachable', found: 0 };
    const body = (await answer.json()) as { status: string; data?: { result: unknown[] } };
    return { status: body.status, found: body.data?.result.length ?? 0 };
  };
  try {
    while ((await query('up{job="linnet"} == 1')).found === 0)
      await new Promise((resolve) => setTimeout(resolve, 500));
    for (const expression of dashboardExpressions())
      expect([expression, (await query(expression)).status]).toEqual([expression, 'success']);
    expect((await query('linnet_ready == 1')).found).toBe(4);
  } finally {
    prometheus.kill();
    await ended;
  }
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
