// With several servers on one database: looks for what the other ones changed, while a stream is
// open here. A look reads a few marks, so its cost does not grow with the fleet: the newest
// rollouts with their revisions, the latest security event and audit entry. What devices sent to
// another server has no mark; it is told as `any` at each look.
import { limits } from '../../shared/base/limits.js';
import type { AuditStore, RolloutStore, SecurityEventStore } from '../interfaces.js';
import type { ChangeFeed } from './change-feed.js';

export interface ChangeMarksOptions {
  readonly feed: Pick<ChangeFeed, 'changed' | 'size'>;
  readonly rollouts: Pick<RolloutStore, 'page'>;
  readonly security: Pick<SecurityEventStore, 'head'>;
  readonly audit: Pick<AuditStore, 'newest'>;
}

export class ChangeMarks {
  readonly #options: ChangeMarksOptions;
  #revisions: ReadonlyMap<string, number> | null = null;
  #security = 0;
  #audit = 0;

  constructor(options: ChangeMarksOptions) {
    this.#options = options;
  }

  async look(): Promise<void> {
    const { feed, rollouts, security, audit } = this.#options;
    if (feed.size === 0) {
      this.#revisions = null;
      return;
    }
    const rows = await rollouts.page({ limit: limits.changeMarksRolloutsMaxCount, after: null });
    const head = await security.head();
    const seq = await audit.newest();
    const before = this.#revisions;
    this.#revisions = new Map(rows.map(({ id, revision }) => [id, revision]));
    if (before !== null) {
      const changed = rows.filter(({ id, revision }) => before.get(id) !== revision);
      if (changed.length > 0)
        feed.changed(
          'rollouts',
          changed.map(({ id }) => id),
        );
      if (head !== this.#security) feed.changed('security');
      if (seq !== this.#audit)
        for (const topic of ['audit', 'releases', 'tokens'] as const) feed.changed(topic);
      feed.changed('devices');
    }
    this.#security = head;
    this.#audit = seq;
  }
}
