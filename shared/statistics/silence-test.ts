// Does a release silence devices? Devices go silent without any update, so those that took the
// release (touched) are compared with those that did not (control), inside the same site and the
// same slot of time only: exposure and hour of day need no correction, and an outage of a whole
// site says nothing. A slot is as long as the silence deadline. A device is at risk in a slot if it
// was heard in the slot before; it has an event if it was then not heard for the deadline. The
// caller counts, once a slot and never again; an event stays when the device returns.
//
// Given k events among n1 touched and n0 control devices of a site, the number of touched ones
// among them is hypergeometric if the release does nothing. With odds that are theta times higher
// it is Fisher's noncentral hypergeometric; their likelihood ratio has mean 1 under the null, so
// the product over slots and sites, averaged over three values of theta, is an e-process. Sites
// where all devices at risk are on one side are compared as units, which is valid if the sites that
// took the release first were drawn at random.
import assert from 'node:assert/strict';

/** Odds of going silent, touched against control, that the test looks for. */
const THETAS = [2, 5, 20] as const;
/** A value of 20 is reached with chance at most 5 % by a release that silences nobody. */
const HOLD_LOG = Math.log(20);

/** Devices of one side in one slot. */
interface SilenceCounts {
  readonly atRisk: number;
  /** Those of them that went silent. */
  readonly events: number;
}

/** One site in one slot. */
export interface SiteSlot {
  readonly touched: SilenceCounts;
  readonly control: SilenceCounts;
}

/** Plain JSON, to be stored between slots. */
export interface SilenceState {
  /** Log of the product of all factors, for each theta. */
  readonly logProducts: readonly number[];
  readonly slots: number;
  /** Events since the start, in sites where they could be compared. */
  readonly touchedEvents: number;
  readonly controlEvents: number;
}

export interface SilenceReading {
  /** Log of the mean over theta of the products. */
  readonly logE: number;
  /** The release is to be held for a person. */
  readonly hold: boolean;
}

export const emptySilence = (): SilenceState => ({
  logProducts: THETAS.map(() => 0),
  slots: 0,
  touchedEvents: 0,
  controlEvents: 0,
});

/** The state after one more slot. Each slot is added once. */
export function addSlot(state: SilenceState, sites: readonly SiteSlot[]): SilenceState {
  const compared: SiteSlot[] = sites.filter(hasBothSides);
  const units = unitsOf(sites.filter((site) => !hasBothSides(site)));
  const all = hasBothSides(units) ? [...compared, units] : compared;
  return {
    logProducts: THETAS.map((theta, index) =>
      all.reduce((sum, site) => sum + logFactor(site, theta), state.logProducts[index] ?? 0),
    ),
    slots: state.slots + 1,
    touchedEvents: all.reduce((sum, { touched }) => sum + touched.events, state.touchedEvents),
    controlEvents: all.reduce((sum, { control }) => sum + control.events, state.controlEvents),
  };
}

export function silenceReading({ logProducts }: SilenceState): SilenceReading {
  const logE = logSum(logProducts) - Math.log(THETAS.length);
  return { logE, hold: logE >= HOLD_LOG };
}

const hasBothSides = ({ touched, control }: SiteSlot): boolean =>
  touched.atRisk > 0 && control.atRisk > 0;

/** Sites with one side only as one site whose devices are the sites. */
function unitsOf(sites: readonly SiteSlot[]): SiteSlot {
  const count = (sides: readonly SilenceCounts[]): SilenceCounts => {
    const atRisk = sides.filter((side) => side.atRisk > 0);
    return { atRisk: atRisk.length, events: atRisk.filter((side) => side.events > 0).length };
  };
  return {
    touched: count(sites.map((site) => site.touched)),
    control: count(sites.map((site) => site.control)),
  };
}

/** log of theta^a / (sum over x of h(x) theta^x), h hypergeometric. */
function logFactor({ touched, control }: SiteSlot, theta: number): number {
  const [n1, n0, a] = [touched.atRisk, control.atRisk, touched.events];
  assert(a <= n1 && control.events <= n0, 'a device has one event a slot');
  const k = a + control.events;
  const first = Math.max(0, k - n0);
  const last = Math.min(k, n1);
  // log h(x) up to a constant, which is the same in both sums.
  const weights = [0];
  for (let x = first; x < last; x++)
    weights.push(
      (weights[x - first] ?? 0) + Math.log(((n1 - x) * (k - x)) / ((x + 1) * (n0 - k + x + 1))),
    );
  const tilted = weights.map((weight, index) => weight + (first + index) * Math.log(theta));
  return a * Math.log(theta) - (logSum(tilted) - logSum(weights));
}

/** log of the sum of exponentials, without overflow. */
function logSum(logs: readonly number[]): number {
  const top = logs.reduce((most, log) => Math.max(most, log), Number.NEGATIVE_INFINITY);
  return top + Math.log(logs.reduce((sum, log) => sum + Math.exp(log - top), 0));
}
