// Limits of the console in the browser. They are the console's own: shared/base/limits.ts asserts
// its relations with node:assert and is not bundled.

export const limits = {
  /** Answers that are kept with their entity tag, to be asked for again without a body. */
  keptAnswersMaxCount: 300,
  /** A list asks for so many rows at once. */
  pageRowsCount: 100,
  /** The list of devices, which draws only the rows in view. */
  devicePageRowsCount: 500,
  /** Releases and groups that a form offers, the newest and the first ones. */
  optionsMaxCount: 1000,
  /** Devices of a rollout, as the API takes them. */
  rolloutDevicesMaxCount: 100_000,
  /** Devices of one wave that are drawn as dots. */
  dotsMaxCount: 500,
  /** Wait before the first attempt to connect again, and the longest one. */
  reconnectFirstMs: 500,
  reconnectMaxMs: 10_000,
  /** The server sends a beat every 10 s: without any for so long the connection is lost. */
  streamSilentMs: 30_000,
  /** One event of the stream; a longer one is an error. */
  eventMaxChars: 100_000,
  /** Rows that are drawn above and below those in view. */
  overscanRowsCount: 10,
  /** A detail of so many characters may have been cut (limits.summaryDetailMaxChars). */
  cutDetailChars: 200,
  /** Length of the time that a count of the history of the fleet stands for. */
  historyRowMs: 3_600_000,
  /** An export of the audit log reads so many rows at once, and so often. */
  exportPageRowsCount: 1000,
  exportPagesMaxCount: 200,
} as const;
