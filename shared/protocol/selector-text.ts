// A selector of a rollout as a sentence, for messages and tables.
import type { Selector } from './operator-api.js';

/** `groups north, south; label tier=gold`; null when it selects every device. */
export function selectorText({ groups, hardware, labels }: Selector): string | null {
  const parts = [
    ...(groups === undefined ? [] : [`groups ${groups.join(', ')}`]),
    ...(hardware === undefined ? [] : [`hardware ${hardware.join(', ')}`]),
    ...Object.entries(labels ?? {}).map(([key, value]) => `label ${key}=${value}`),
  ];
  return parts.length === 0 ? null : parts.join('; ');
}
