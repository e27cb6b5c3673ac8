// Which devices a rollout is for: those that match everything that its selector names. Pure; the
// store asks it for devices that come late, and the service for rollouts that share devices.
import type { Selector } from '../../shared/protocol/operator-api.js';

export interface Selectable {
  readonly group: string;
  readonly hardware: string;
  readonly labels: Readonly<Record<string, string>>;
}

export function matches({ groups, hardware, labels }: Selector, device: Selectable): boolean {
  return (
    (groups?.includes(device.group) ?? true) &&
    (hardware?.includes(device.hardware) ?? true) &&
    Object.entries(labels ?? {}).every(([key, value]) => device.labels[key] === value)
  );
}

/** Whether one device can match both: nothing that both name excludes it. */
export function canShare(a: Selector, b: Selector): boolean {
  const common = (one?: readonly string[], other?: readonly string[]): boolean =>
    one === undefined || other === undefined || one.some((item) => other.includes(item));
  const isSameLabel = ([key, value]: [string, string]): boolean =>
    (b.labels?.[key] ?? value) === value;
  return (
    common(a.groups, b.groups) &&
    common(a.hardware, b.hardware) &&
    Object.entries(a.labels ?? {}).every(isSameLabel)
  );
}
