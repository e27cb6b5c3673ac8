// A rollout as the `linnet` command shows it: the detail of the API with its first devices.
import { limits } from '../../shared/base/limits.js';
import { MemberPage, RolloutDetail, type Member } from '../../shared/protocol/operator-api.js';
import type { FleetClient } from './fleet-client.js';

export type ShownRollout = RolloutDetail & {
  /** By wave and rank, at most limits.rolloutScreenMembersMaxCount. */
  readonly members: readonly Member[];
};

export const rolloutPath = (id: string): string => `/rollouts/${encodeURIComponent(id)}`;

/** Throws Fault. */
export async function shownRollout(
  client: Pick<FleetClient, 'request'>,
  id: string,
): Promise<ShownRollout> {
  return withMembers(client, await client.request('GET', rolloutPath(id), RolloutDetail));
}

/** Throws Fault. */
export async function withMembers(
  client: Pick<FleetClient, 'request'>,
  view: RolloutDetail,
): Promise<ShownRollout> {
  const limit = String(limits.rolloutScreenMembersMaxCount);
  const path = `${rolloutPath(view.id)}/members?limit=${limit}`;
  const { items } = await client.request('GET', path, MemberPage);
  return { ...view, members: items };
}
