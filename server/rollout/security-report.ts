// Which steps of a rollout are security events: a release that the halt test stopped, whether its
// devices are rolled back at once or a person is asked, and one that fails after its rollout was
// completed. A SIEM then sees a bad release without reading rollouts. Pure.
import type { FaultCode } from '../../shared/base/fault-codes.js';
import type { RolloutRow, SecurityReport } from '../interfaces.js';
import { haltReport } from './halt.js';
import type { Plan, Situation } from './situation.js';

/** The event of a step that is committed; null where it is none. */
export function securityReportOf(situation: Situation, { rollout }: Plan): SecurityReport | null {
  const code = codeOf(situation, rollout);
  if (code === null) return null;
  const { component, version, digest } = rollout.release;
  const release = `${component} ${version} (${digest})`;
  const detail = `rollout ${rollout.id} of ${release}: ${haltReport(situation).reasons}`;
  return { source: { kind: 'server' }, code, detail };
}

function codeOf(situation: Situation, after: RolloutRow): FaultCode | null {
  const { rollout: before } = situation;
  if (before.state === 'completed')
    return after.state === 'completed' && after.asked && !before.asked ? 'release_alarm' : null;
  const isStop = after.state === 'reverting' || after.state === 'held';
  return before.state !== after.state && isStop && haltReport(situation).halt
    ? 'release_halted'
    : null;
}
