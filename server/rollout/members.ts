// A member as it enters a rollout.
import type { MemberRow } from '../interfaces.js';
import type { Place } from './waves.js';

export function waitingMember(
  rollout: string,
  { device, wave, rank }: Place,
  now: number,
): MemberRow {
  return {
    rollout,
    device: device.id,
    name: device.name,
    group: device.group,
    hardware: device.hardware,
    site: device.site,
    wave,
    rank,
    state: 'waiting',
    since: now,
    reasons: '',
    previous: null,
    mayRun: false,
    assignmentId: null,
    assignedAt: null,
    proven: false,
    failed: false,
    silence: null,
  };
}
