// Watches the release that serves for as long as it serves, also after its trial: crashes, hangs,
// withheld answers (NaN or infinity), failed requests, memory above its signed contract. Counts
// cover the last conditionWindowMs, in slots, so that an old fault is forgotten in the end. No test
// is made here: a condition is a report, and the server or a person decides. The one exception is
// a crash loop, on which the device goes back to the previous release by itself.
import { counted } from '../../../shared/base/counted.js';
import type { Clock } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import type { Fault } from '../../../shared/base/fault-codes.js';
import type { Condition } from '../../../shared/protocol/telemetry.js';

const MIB = 1024 * 1024;
const SLOTS = 24;

interface Counts {
  crashes: number;
  hangs: number;
  withheld: number;
  served: number;
  failed: number;
  /** Readings of the memory above the contract. */
  memory: number;
}
type Found = Pick<Condition, 'code' | 'count' | 'detail'>;

const none = (): Counts => ({
  crashes: 0,
  hangs: 0,
  withheld: 0,
  served: 0,
  failed: 0,
  memory: 0,
});

export interface ConditionWatchOptions {
  readonly clock: Clock;
  /** Of the signed contract. */
  readonly peakMemoryMiB: number;
  /** Resident bytes of the model process; null while there is none, or where it is not known. */
  readonly residentBytes: () => Promise<number | null>;
}

export class ConditionWatch {
  readonly #options: ConditionWatchOptions;
  readonly #slots = new Map<number, Counts>();
  /** When each condition that stands now was found first (monotonic). */
  readonly #since = new Map<Condition['code'], number>();
  /** The last crashes and hangs (monotonic). */
  #faultsAt: number[] = [];
  #lastFault = '';
  #largestBytes = 0;
  #memoryReadAt = Number.NEGATIVE_INFINITY;

  constructor(options: ConditionWatchOptions) {
    this.#options = options;
  }

  /** The process crashed, hung, or did not start again. */
  countFault({ code, detail }: Fault): void {
    this.#slot()[code === 'host_hung' ? 'hangs' : 'crashes'] += 1;
    this.#faultsAt.push(this.#options.clock.monotonic());
    this.#faultsAt = this.#faultsAt.slice(-limits.crashLoopMaxCount);
    this.#lastFault = detail;
  }

  countServed(): void {
    this.#slot().served += 1;
  }

  /** A request that the release should have answered and did not. */
  countFailed(): void {
    this.#slot().failed += 1;
  }

  /** An answer that was not finite, and was therefore not given. */
  countWithheld(): void {
    this.#slot().withheld += 1;
  }

  /** What stands now. Reads the memory as well, at most once in memoryCheckEveryMs. */
  conditions(): Condition[] {
    void this.#readMemory();
    const { clock } = this.#options;
    const [now, at] = [clock.now(), clock.monotonic()];
    const found = this.#found(this.#sum());
    for (const code of [...this.#since.keys()])
      if (!found.some((condition) => condition.code === code)) this.#since.delete(code);
    return found.map(({ code, count, detail }) => {
      const since = this.#since.get(code) ?? at;
      this.#since.set(code, since);
      return {
        code,
        count,
        since: Math.max(0, Math.floor(now - (at - since))),
        detail: detail.slice(0, limits.detailMaxChars),
      };
    });
  }

  /** Why the release crash-loops; null when it does not. */
  crashLoop(): string | null {
    const [first] = this.#faultsAt;
    if (first === undefined || this.#faultsAt.length < limits.crashLoopMaxCount) return null;
    const elapsedMs = (this.#faultsAt.at(-1) ?? first) - first;
    if (elapsedMs > limits.crashLoopMs) return null;
    const seconds = Math.ceil(elapsedMs / 1000);
    return (
      `its process crashed or hung ${counted(this.#faultsAt.length, 'time')} within ` +
      `${seconds} s; ` +
      `the last time: ${this.#lastFault}`
    );
  }

  #found(sum: Counts): Found[] {
    const { peakMemoryMiB } = this.#options;
    const hours = limits.conditionWindowMs / 3_600_000;
    const asked = sum.served + sum.failed;
    const found: Found[] = [];
    const times = (count: number): string => `${counted(count, 'time')} in the last ${hours} h`;
    if (sum.crashes > 0)
      found.push({
        code: 'crashes',
        count: sum.crashes,
        detail:
          `the model process crashed ${times(sum.crashes)}; ` +
          `the last fault: ${this.#lastFault}`,
      });
    if (sum.hangs > 0)
      found.push({
        code: 'hangs',
        count: sum.hangs,
        detail: `the model process hung and was killed ${times(sum.hangs)}`,
      });
    if (sum.memory > 0)
      found.push({
        code: 'memory',
        count: sum.memory,
        detail:
          `the model process had up to ${Math.ceil(this.#largestBytes / MIB)} MiB, ` +
          `above the ${peakMemoryMiB} MiB of the signed contract`,
      });
    if (sum.withheld > 0)
      found.push({
        code: 'withheld',
        count: sum.withheld,
        detail: `answers with NaN or infinity were withheld ${times(sum.withheld)}`,
      });
    if (
      asked >= limits.conditionRequestsMinCount &&
      sum.failed * 1000 > asked * limits.conditionErrorsMaxPermille
    )
      found.push({
        code: 'errors',
        count: sum.failed,
        detail: `${sum.failed} of ${asked} requests failed in the last ${hours} h`,
      });
    return found;
  }

  async #readMemory(): Promise<void> {
    const { clock, residentBytes, peakMemoryMiB } = this.#options;
    if (clock.monotonic() - this.#memoryReadAt < limits.memoryCheckEveryMs) return;
    this.#memoryReadAt = clock.monotonic();
    const bytes = await residentBytes();
    if (bytes === null || bytes <= peakMemoryMiB * MIB) return;
    this.#largestBytes = Math.max(this.#largestBytes, bytes);
    this.#slot().memory += 1;
  }

  #slot(): Counts {
    const number = this.#slotNumber();
    const counts = this.#slots.get(number) ?? none();
    this.#slots.set(number, counts);
    return counts;
  }

  #slotNumber(): number {
    return Math.floor(this.#options.clock.monotonic() / (limits.conditionWindowMs / SLOTS));
  }

  #sum(): Counts {
    const oldest = this.#slotNumber() - SLOTS;
    const sum = none();
    for (const [number, counts] of [...this.#slots]) {
      if (number <= oldest) this.#slots.delete(number);
      else for (const key of Object.keys(sum) as (keyof Counts)[]) sum[key] += counts[key];
    }
    return sum;
  }
}
