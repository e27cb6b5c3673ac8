// The watch of a whole fleet over its standing releases: once a slot it counts, for each release
// that devices run, how many newly report each condition, and alarms when that is more than
// acceptable (shared/statistics/condition-detector.ts). An alarm is a security event; it rolls
// nothing back, because that is for a person to decide: `linnet rollout undo`.
import { counted } from '../../shared/base/counted.js';
import { limits } from '../../shared/base/limits.js';
import type { Clock, Log } from '../../shared/base/interfaces.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import { DAY_MS } from '../../shared/base/units.js';
import { CONDITIONS } from '../../shared/protocol/telemetry.js';
import {
  alarmThreshold,
  detectorValue,
  emptyDetector,
  observeStep,
} from '../../shared/statistics/condition-detector.js';
import type {
  ConditionSlot,
  ConditionStore,
  ConditionStream,
  SecurityEventSink,
} from '../interfaces.js';

export interface FleetConditionWatchOptions {
  readonly store: ConditionStore;
  readonly security: Pick<SecurityEventSink, 'report'>;
  readonly clock: Clock;
  readonly log: Log;
}

const SLOTS_PER_DAY = DAY_MS / limits.conditionSlotMs;
/** Share of devices that may newly report one condition within a day. */
const ACCEPTABLE_PER_DAY = 0.001;
const THRESHOLD = alarmThreshold({
  streams: CONDITIONS.length,
  daysBetweenAlarms: limits.conditionAlarmDays,
  stepsPerDay: SLOTS_PER_DAY,
});

export class FleetConditionWatch {
  readonly #options: FleetConditionWatchOptions;

  constructor(options: FleetConditionWatchOptions) {
    this.#options = options;
  }

  /** Counts the slot that has ended, if one has. A server that was off counts one slot for it. */
  async pass(): Promise<void> {
    const { store, security, clock, log } = this.#options;
    const now = clock.now();
    const last = await store.lastSlot();
    if (last !== null && now < last + limits.conditionSlotMs) return;
    const slots = await store.slot(last ?? now - limits.conditionSlotMs, now);
    const before = await store.streams();
    const streams: ConditionStream[] = [];
    for (const slot of slots) {
      // A slot in which nobody was heard says nothing: what was gathered waits for the next one.
      if (slot.devices === 0) {
        streams.push(...before.filter((stream) => isOf(stream, slot.release)));
        continue;
      }
      for (const code of CONDITIONS) {
        const { stream, alarm } = next(slot, code, before);
        streams.push(stream);
        if (alarm === null) continue;
        log.warn({ release: slot.release, condition: code }, alarm);
        security.report({ source: { kind: 'server' }, code: 'release_unhealthy', detail: alarm });
      }
    }
    await store.commitSlot(now, streams);
  }
}

const isOf = (stream: ConditionStream, { component, digest }: ReleaseRef): boolean =>
  stream.component === component && stream.digest === digest;

/** After an alarm a detector begins again. */
function next(
  { release, devices, events }: ConditionSlot,
  code: string,
  before: readonly ConditionStream[],
): { stream: ConditionStream; alarm: string | null } {
  const { component, version, digest } = release;
  const known = before.find((one) => isOf(one, release) && one.code === code);
  const count = events[code] ?? 0;
  const detector = observeStep(
    known?.detector ?? emptyDetector(),
    count / Math.max(1, devices),
    ACCEPTABLE_PER_DAY / SLOTS_PER_DAY,
  );
  const stream = { component, digest, code, detector };
  const value = detectorValue(detector);
  if (value < THRESHOLD) return { stream, alarm: null };
  return {
    stream: { ...stream, detector: emptyDetector() },
    alarm:
      `${component} ${version} (${digest}): ${count} of ${counted(devices, 'device')} ` +
      'newly report ' +
      `${code}; more than one in 1,000 a day is not acceptable (detector ` +
      `${value.toPrecision(3)} >= ${THRESHOLD}: a false alarm of this ` +
      `component comes once in ${limits.conditionAlarmDays} days at most, on average)`,
  };
}
