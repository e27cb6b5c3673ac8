// All members of a rollout while the conductor decides on them together: put in page by page, and
// replaced as they change, so that a step does not read them all again. Of what devices reported it
// keeps only what such a decision reads, because 100,000 reports are large.
import type { DeviceFacts, MemberKey, MemberRow, RolloutRow, Take } from '../interfaces.js';
import { isPooled, isTroubled } from './quiet.js';
import type { Situation } from './situation.js';
import { isShadow } from './strategies.js';

export class WholeSituation {
  readonly #members: MemberRow[] = [];
  readonly #indexOf = new Map<string, number>();
  readonly #facts = new Map<string, DeviceFacts>();
  /** The takes, and the revision of the rollout at which they were read. */
  takes: { readonly revision: number; readonly all: readonly Take[] } | null = null;
  /** What quiet.ts must know of some member; true also when it was so only before a change. */
  readonly signs = { isPooled: false, isTroubled: false };

  constructor(
    /** As it was when the first member was read. */
    readonly rollout: RolloutRow,
  ) {}

  put({ rollout, members, facts }: Pick<Situation, 'rollout' | 'members' | 'facts'>): void {
    for (const member of members) {
      const report = facts.get(member.device);
      if (report !== undefined) {
        const isOf = {
          pooled: isPooled(member, report, rollout),
          troubled: isTroubled(member, report),
        };
        this.signs.isPooled ||= isOf.pooled;
        this.signs.isTroubled ||= isOf.troubled;
        this.#facts.set(member.device, {
          ...report,
          instance: null,
          standing: null,
          update: isOf.troubled ? report.update : null,
          trial: isShadow(rollout) || isOf.pooled ? report.trial : null,
        });
      }
      const index = this.#indexOf.get(member.device);
      if (index !== undefined) this.#members[index] = member;
      else this.#add(member);
    }
  }

  /** Members and facts, of a situation of this rollout. */
  get all(): Pick<Situation, 'members' | 'facts'> {
    return { members: this.#members, facts: this.#facts };
  }

  #add(member: MemberRow): void {
    const last = this.#members.at(-1);
    this.#members.push(member);
    if (last === undefined || isBefore(last, member)) {
      this.#indexOf.set(member.device, this.#members.length - 1);
      return;
    }
    // One that came after the rollout was made, and after its page was read.
    this.#members.sort((one, other) => (isBefore(one, other) ? -1 : 1));
    this.#members.forEach(({ device }, index) => this.#indexOf.set(device, index));
  }
}

const keyOf = ({ wave, rank, device }: MemberRow): MemberKey => [wave, rank, device];

function isBefore(one: MemberRow, other: MemberRow): boolean {
  const [waveA, rankA, deviceA] = keyOf(one);
  const [waveB, rankB, deviceB] = keyOf(other);
  if (waveA !== waveB) return waveA < waveB;
  return rankA !== rankB ? rankA < rankB : deviceA < deviceB;
}
