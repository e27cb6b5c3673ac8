// Keeps the number of series of a metric small, whatever devices and operators name their groups
// and releases: of each label only the values with the largest counts keep their name, everything
// else is added up under `other`.
export interface Sample<L extends string> {
  readonly labels: Readonly<Record<L, string>>;
  readonly count: number;
}

export const OTHER = 'other';

/** `maxValues` of a label: how many values keep their name. At most `maxCount` + 1 samples. */
export function boundedSeries<L extends string>(
  samples: readonly Sample<L>[],
  maxValues: Readonly<Partial<Record<L, number>>>,
  maxCount: number,
): Sample<L>[] {
  let found = [...samples];
  for (const [label, max] of Object.entries(maxValues) as [L, number][])
    found = withFewValues(found, label, max);
  found.sort((a, b) => b.count - a.count);
  const rest = found.slice(maxCount);
  if (rest.length === 0) return found;
  const labels = Object.fromEntries(
    Object.keys((rest[0] as Sample<L>).labels).map((label) => [label, OTHER]),
  ) as Record<L, string>;
  return added([...found.slice(0, maxCount), ...rest.map(({ count }) => ({ labels, count }))]);
}

function withFewValues<L extends string>(
  samples: readonly Sample<L>[],
  label: L,
  max: number,
): Sample<L>[] {
  const totals = new Map<string, number>();
  for (const { labels, count } of samples)
    totals.set(labels[label], (totals.get(labels[label]) ?? 0) + count);
  const largest = [...totals].sort(([, a], [, b]) => b - a).slice(0, max);
  const kept = new Set(largest.map(([value]) => value));
  return added(
    samples.map(({ labels, count }) => ({
      labels: kept.has(labels[label]) ? labels : { ...labels, [label]: OTHER },
      count,
    })),
  );
}

/** Samples with the same labels as one. */
function added<L extends string>(samples: readonly Sample<L>[]): Sample<L>[] {
  const sums = new Map<string, Sample<L>>();
  for (const { labels, count } of samples) {
    const key = JSON.stringify(Object.values(labels));
    sums.set(key, { labels, count: (sums.get(key)?.count ?? 0) + count });
  }
  return [...sums.values()];
}
