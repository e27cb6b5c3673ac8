// Units of bytes and of time, for limits and for arithmetic with clocks.
export const KIB = 1024;
export const MIB = 1024 * KIB;

export const SECOND_MS = 1_000;
export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;
