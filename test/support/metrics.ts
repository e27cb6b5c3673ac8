// Reads a server's /metrics as an operator's scraper does.
import type { TestFleet } from './fleet-server.js';

/** Value by series, as it is written: `name{label="value"}`. */
export async function scrape(fleet: TestFleet): Promise<Map<string, number>> {
  const response = await fetch(`${fleet.server.address}/metrics`, {
    headers: { authorization: `Bearer ${fleet.adminToken}` },
  });
  if (response.status !== 200) throw new Error(`/metrics: ${response.status}`);
  const lines = (await response.text()).split('\n').filter((line) => /^[a-z]/.test(line));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}
