// Times in text, from outside.

/**
 * Milliseconds since the epoch of an ISO 8601 time with its offset; NaN for one that does not
 * exist, such as on 30 February, which Date.parse takes for a day in March.
 */
export function instantOf(text: string): number {
  const day = text.slice(0, 10);
  const dayAt = Date.parse(`${day}T00:00:00Z`);
  const exists = !Number.isNaN(dayAt) && new Date(dayAt).toISOString().startsWith(day);
  return exists ? Date.parse(text) : Number.NaN;
}
