// `linnet standing list`: the table of what devices take that enrol, return or change their group.
import type { Command } from 'commander';
import { StandingReleases } from '../../../shared/protocol/operator-api.js';
import { selectorText } from '../../../shared/protocol/selector-text.js';
import { connect } from '../../fleet/fleet-client.js';
import { refText, timeText } from '../fleet-text.js';
import { listText, type Output } from '../output.js';

function nowText({ alarmed, waitsFor }: StandingReleases['items'][number]): string {
  if (alarmed) return 'taken by nobody: it failed on too many devices';
  return waitsFor === null ? 'taken' : `waits for ${waitsFor}`;
}

export async function list(out: Output, _options: unknown, command: Command): Promise<void> {
  const client = await connect(command);
  const { items } = await client.request('GET', '/standing-releases', StandingReleases);
  out.result(items, () =>
    listText(
      'no standing releases: no rollout is completed',
      ['RELEASE', 'FOR', 'ROLLOUT', 'SINCE', 'NOW'],
      items.map((row) => [
        refText(row.release),
        selectorText(row.selector) ?? 'all devices',
        row.rollout,
        timeText(row.createdAt),
        nowText(row),
      ]),
    ),
  );
}
