// The slots of the silence test: once in each silence deadline, which devices of the rollout went
// silent, touched ones and untouched ones, for each site. Pure. The test itself is in
// shared/statistics/silence-test.ts, and what follows from it in halt.ts.
import { limits } from '../../shared/base/limits.js';
import { addSlot, emptySilence, type SiteSlot } from '../../shared/statistics/silence-test.js';
import type { MemberRow } from '../interfaces.js';
import { only, type Plan, type Situation } from './situation.js';
import { isRevoked } from './verdict.js';

/** Adds the slot that has ended, if one has. */
export function endSlot(situation: Situation): Plan | null {
  const { rollout, now, receptionSince } = situation;
  const slotMs = rollout.policy.silentAfterSeconds * 1000;
  if (rollout.silence === null) {
    if (situation.takes.length === 0) return null;
    return only({ ...rollout, silence: { state: emptySilence(), slotAt: now, eventAt: null } });
  }
  const { state, slotAt, eventAt } = rollout.silence;
  if (now - slotAt < slotMs) return null;
  // A slot in which the server itself could not hear says nothing of any device.
  const isDeaf = receptionSince > now - 2 * slotMs;
  const after = isDeaf ? state : addSlot(state, sitesOf(situation, slotMs));
  const isNews = after.touchedEvents > state.touchedEvents;
  return only({
    ...rollout,
    silence: { state: after, slotAt: now, eventAt: isNews ? now : eventAt },
  });
}

function sitesOf({ members, facts, now }: Situation, slotMs: number): SiteSlot[] {
  const sites = new Map<string, { touched: number[]; control: number[] }>();
  for (const member of members) {
    const report = facts.get(member.device);
    const seenAt = report?.lastSeenAt ?? null;
    // At risk: heard in the slot before this one.
    if (seenAt === null || seenAt <= now - 2 * slotMs || isRevoked(report)) continue;
    const site = sites.get(member.site) ?? { touched: [], control: [] };
    sites.set(member.site, site);
    const side = sideOf(member, now);
    if (side !== null) site[side].push(seenAt <= now - slotMs ? 1 : 0);
  }
  const count = (events: readonly number[]) => ({
    atRisk: events.length,
    events: events.reduce((sum, event) => sum + event, 0),
  });
  return [...sites.values()].map(({ touched, control }) => ({
    touched: count(touched),
    control: count(control),
  }));
}

function sideOf({ state, assignedAt }: MemberRow, now: number): 'touched' | 'control' | null {
  if (state === 'waiting') return 'control';
  return assignedAt !== null && now - assignedAt < limits.silenceTouchedMs ? 'touched' : null;
}
