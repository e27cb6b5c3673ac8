// Which steps of a rollout are security events: a release that the halt test stopped, whether its
// devices are rolled back at once or a person is asked, and one that fails after its rollout was
// completed. A SIEM then sees a bad release without reading rollouts. Pure.
import type { FaultCode } from '../../shared/base/fault-codes.js';
import type { SecurityEventSink } from '../interfaces.js';
import { haltReport } from './halt.js';
import type { Plan, Situation } from './situation.js';

/** Reports a step that was committed, where it is such an event. */
export function reportStep(
  security: Pick<SecurityEventSink, 'report'>,
  situation: Situation,
  { rollout: after }: Plan,
): void {
  const { rollout: before } = situation;
  const isCompleted = before.state === 'completed';
  const isAlarm = isCompleted && after.state === 'completed' && after.asked && !before.asked;
  const isStop = after.state === 'reverting' || after.state === 'held';
  const mayBeHalt = !isCompleted && isStop && after.state !== before.state;
  if (!isAlarm && !mayBeHalt) return;
  const { halt, reasons } = haltReport(situation);
  if (!isAlarm && !halt) return;
  const { component, version, digest } = after.release;
  const code: FaultCode = isAlarm ? 'release_alarm' : 'release_halted';
  const detail = `rollout ${after.id} of ${component} ${version} (${digest}): ${reasons}`;
  security.report({ source: { kind: 'server' }, code, detail });
}
