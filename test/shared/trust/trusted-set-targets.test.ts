// Snapshot and targets of a trusted set: every condition by itself with all others met, from both
// sides where it compares, and what each refusal says.
import { describe, expect, it } from 'vitest';
import {
  needsSnapshot,
  needsTargets,
  requireCurrent,
  snapshotMeta,
  startTrust,
  targetsMeta,
  type TrustedSet,
} from '../../../shared/trust/trusted-set.js';
import { refusalText } from '../../support/refusals.js';
import {
  begun,
  complete,
  ROLES,
  sign,
  snapped,
  stamped,
  targeted,
  type Name,
} from '../../support/trust-steps.js';
import { START_MS } from '../../sim/tuf-repositories.js';

const HOUR_MS = 3600_000;

describe('5.5: the snapshot', () => {
  it('comes_after_a_timestamp', () => {
    const { set } = begun();
    expect(() => snapshotMeta(set)).toThrow('timestamp before snapshot');
  });

  it('is_needed_when_the_timestamp_names_another_one', () => {
    const { repository, set } = complete();
    expect(needsSnapshot({ ...set, snapshot: null })).toBe(true);
    expect(needsSnapshot(set)).toBe(false);
    const { version } = snapshotMeta(set);
    const naming = (meta: ReturnType<typeof snapshotMeta>): TrustedSet => {
      repository.signTimestamp((timestamp) => {
        timestamp.meta['snapshot.json'] = meta;
      });
      return stamped(repository, set);
    };
    expect(needsSnapshot(naming({ version }))).toBe(false);
    expect(needsSnapshot(naming({ version, length: 1 }))).toBe(true);
    expect(needsSnapshot(naming({ version: version + 1 }))).toBe(true);
  });

  it('of_another_version_than_the_timestamp_names_is_refused', () => {
    const { repository, set } = begun();
    repository.signTimestamp((timestamp) => {
      timestamp.meta['snapshot.json'] = { version: 2 };
    });
    expect(refusalText(() => snapped(repository, set))).toBe(
      'metadata_mismatch: snapshot.json is version 1, timestamp.json names 2',
    );
  });

  it('of_another_length_than_the_timestamp_names_is_refused', () => {
    const { repository, set } = begun();
    repository.signTimestamp((timestamp) => {
      timestamp.meta['snapshot.json'] = { version: 1, length: 1 };
    });
    expect(refusalText(() => snapped(repository, set))).toMatch(
      /^metadata_mismatch: snapshot\.json has \d+ bytes; its parent lists 1$/,
    );
  });

  it('own_version_may_not_fall', () => {
    const { repository, set } = begun();
    repository.versions.snapshot = 4;
    repository.signSnapshot();
    repository.signTimestamp();
    const { snapshot } = snapped(repository, set);
    const lost = { ...set, snapshot };
    const of = (version: number): string => {
      repository.versions.snapshot = version - 1;
      repository.signSnapshot();
      repository.signTimestamp();
      return refusalText(() => snapped(repository, lost));
    };
    expect(of(5)).toBe('accepted');
    expect(of(6)).toBe('accepted');
    expect(of(4)).toBe(
      'metadata_rollback: image snapshot.json is version 4; version 5 was trusted before',
    );
  });

  it('listed_versions_may_not_fall_and_no_entry_may_vanish', () => {
    const { repository, set } = begun();
    const listing = (meta: Record<string, { version: number }>): void => {
      sign(repository, 'snapshot', (snapshot) => {
        snapshot['meta'] = meta;
      });
    };
    listing({ 'a.json': { version: 5 }, constructor: { version: 1 } });
    const before = snapped(repository, set);
    const after = (meta: Record<string, { version: number }>): string => {
      listing(meta);
      return refusalText(() => snapped(repository, before));
    };
    const kept = { constructor: { version: 1 } };
    expect(after({ ...kept, 'a.json': { version: 5 } })).toBe('accepted');
    expect(after({ ...kept, 'a.json': { version: 6 }, 'b.json': { version: 1 } })).toBe('accepted');
    expect(after({ ...kept, 'a.json': { version: 4 } })).toBe(
      'metadata_rollback: image a.json (as snapshot.json names it) is version 4; ' +
        'version 5 was trusted before',
    );
    expect(after(kept)).toMatch(/^metadata_rollback: image snapshot \d+ no longer lists a\.json$/);
    expect(after({ 'a.json': { version: 5 } })).toMatch(
      /^metadata_rollback: image snapshot \d+ no longer lists constructor$/,
    );
  });
});

describe('5.6: the targets', () => {
  it('come_after_a_snapshot_that_lists_them', () => {
    const { repository, set } = begun();
    expect(() => targetsMeta(set)).toThrow('snapshot before targets');
    sign(repository, 'snapshot', (snapshot) => {
      snapshot['meta'] = {};
    });
    expect(refusalText(() => targetsMeta(snapped(repository, set)))).toBe(
      'metadata_mismatch: image snapshot 2 does not list targets.json',
    );
  });

  it('are_needed_when_the_snapshot_names_other_ones', () => {
    const { repository, set } = complete();
    expect(needsTargets({ ...set, targets: null })).toBe(true);
    expect(needsTargets(set)).toBe(false);
    const naming = (meta: ReturnType<typeof targetsMeta>): TrustedSet => {
      sign(repository, 'snapshot', (snapshot) => {
        snapshot['meta'] = { 'targets.json': meta };
      });
      return snapped(repository, set);
    };
    expect(needsTargets(naming({ version: 1 }))).toBe(false);
    expect(needsTargets(naming({ version: 1, length: 1 }))).toBe(true);
    expect(needsTargets(naming({ version: 2 }))).toBe(true);
  });

  it('of_another_version_or_length_than_the_snapshot_names_are_refused', () => {
    const { repository, set } = begun();
    const naming = (meta: object): string => {
      sign(repository, 'snapshot', (snapshot) => {
        snapshot['meta'] = { 'targets.json': meta };
      });
      return refusalText(() => targeted(repository, set));
    };
    expect(naming({ version: 1 })).toBe('accepted');
    expect(naming({ version: 2 })).toBe(
      'metadata_mismatch: targets.json is version 1, snapshot.json names 2',
    );
    expect(naming({ version: 1, length: 1 })).toMatch(
      /^metadata_mismatch: targets\.json has \d+ bytes; its parent lists 1$/,
    );
  });

  it('own_version_may_not_fall_also_without_a_snapshot', () => {
    const { repository, set } = begun();
    repository.versions.targets = 4;
    repository.publish();
    const lost = { ...set, targets: targeted(repository, set).targets };
    const of = (version: number): string => {
      repository.versions.targets = version - 1;
      repository.publish();
      return refusalText(() => targeted(repository, lost));
    };
    expect(of(5)).toBe('accepted');
    expect(of(6)).toBe('accepted');
    expect(of(4)).toBe(
      'metadata_rollback: image targets.json is version 4; version 5 was trusted before',
    );
  });

  it('of_a_director_may_not_delegate', () => {
    const delegating = (name: Name): string => {
      const { repository, set } = begun(name);
      sign(repository, 'targets', (targets) => {
        targets['delegations'] = { keys: {}, roles: [] };
      });
      return refusalText(() => targeted(repository, set));
    };
    expect(delegating('director')).toBe('director_delegates: director targets 2 carry delegations');
    expect(delegating('image')).toBe('accepted');
    const { repository, set } = begun('director');
    expect(targeted(repository, set).targets?.signed.version).toBe(1);
  });
});

describe('the targets that may be used', () => {
  it.each(ROLES)('are_none_while_%s_is_missing', (role) => {
    const { set } = complete();
    expect(requireCurrent(set, START_MS)).toBe(set.targets);
    expect(refusalText(() => requireCurrent({ ...set, [role]: null }, START_MS))).toBe(
      "metadata_mismatch: the image repository's metadata is incomplete",
    );
  });

  it.each(['root', ...ROLES] as const)('are_none_once_%s_has_expired', (role) => {
    const { repository } = begun();
    for (const name of ['root', ...ROLES] as const) repository.lifeMs[name] = 2 * HOUR_MS;
    repository.lifeMs[role] = HOUR_MS;
    repository.signRoot();
    repository.publish();
    const set = targeted(repository, startTrust('image', repository.get('2.root.json')));
    const current = (hours: number): string =>
      refusalText(() => requireCurrent(set, START_MS + hours * HOUR_MS));
    expect(current(0.5)).toBe('accepted');
    expect(current(1)).toMatch(new RegExp(`^metadata_expired: image ${role}\\.json version 2 `));
  });
});
