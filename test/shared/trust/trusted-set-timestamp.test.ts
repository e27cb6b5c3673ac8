// What every step of a trusted set checks, and the timestamp: every condition by itself with all
// others met, from both sides where it compares, and what each refusal says.
import { describe, expect, it } from 'vitest';
import type { Root } from '../../../shared/trust/documents.js';
import {
  knownTimeMs,
  snapshotMeta,
  startTrust,
  withRoot,
  withStored,
  withTimestamp,
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
} from '../../support/trust-steps.js';
import { newKey, START_MS } from '../../sim/tuf-repositories.js';

const HOUR_MS = 3600_000;
const at = (hours: number): string =>
  `${new Date(START_MS + hours * HOUR_MS).toISOString().slice(0, 19)}Z`;

const STEPS = { timestamp: stamped, snapshot: snapped, targets: targeted };

describe.each(ROLES)('every step: %s', (role) => {
  it('is_signed_by_the_keys_of_its_role', () => {
    const { repository, set } = begun();
    sign(repository, role, () => {}, [newKey()]);
    const { [role]: version } = repository.versions;
    expect(refusalText(() => STEPS[role](repository, set))).toBe(
      `metadata_signature: ${role}.json version ${version} has 0 valid signatures; ` +
        'image root 1 requires 1',
    );
  });

  it('expires_at_its_time_and_not_before', () => {
    const { repository, set } = begun();
    const expiring = (expires: string): string => {
      sign(repository, role, (signed) => {
        signed['expires'] = expires;
        if (signed['x-linnet-time'] !== undefined) signed['x-linnet-time'] = at(-1);
      });
      return refusalText(() => STEPS[role](repository, set));
    };
    expect(expiring('2026-11-23T00:00:01Z')).toBe('accepted');
    const version = repository.versions[role] + 1;
    expect(expiring('2026-11-23T00:00:00Z')).toBe(
      `metadata_expired: image ${role}.json version ${version} expired at ` +
        '2026-11-23T00:00:00Z; it is 2026-11-23T00:00:00.000Z',
    );
  });

  it('of_a_director_names_its_device', () => {
    const { repository, set } = begun('director');
    expect(STEPS[role](repository, set)[role]?.signed['x-linnet-device']).toBe('dev-1');
    const ofDevice = (device: string | undefined): string => {
      sign(repository, role, (signed) => {
        delete signed['x-linnet-device'];
        if (device !== undefined) signed['x-linnet-device'] = device;
      });
      return refusalText(() => STEPS[role](repository, set));
    };
    const refused = `director_other_device: director ${role}.json is for`;
    expect(ofDevice('dev-2')).toBe(`${refused} dev-2; this device is dev-1`);
    expect(ofDevice(undefined)).toBe(`${refused} no device; this device is dev-1`);
  });

  it('comes_back_from_the_disk_when_it_is_still_signed', () => {
    const { repository, set } = complete();
    const bytes = set[role]?.bytes ?? new Uint8Array();
    const fresh = startTrust('image', repository.get('1.root.json'));
    expect(withStored(fresh, role, bytes)).toEqual({ ...fresh, [role]: set[role] });
    expect(withStored(fresh, role, bytes.subarray(1))).toBe(fresh);
    repository.rotate(role);
    const rotated = startTrust('image', repository.get('2.root.json'));
    expect(withStored(rotated, role, bytes)).toBe(rotated);
  });
});

describe('5.4: the timestamp', () => {
  it('version_may_not_fall_and_at_the_same_one_the_trusted_document_stays', () => {
    const { repository, set } = complete();
    repository.signTimestamp();
    const newer = stamped(repository, set);
    expect(newer.timestamp?.signed.version).toBe(2);
    repository.versions.timestamp = 1;
    repository.signTimestamp((timestamp) => {
      timestamp.expires = at(48);
    });
    expect(stamped(repository, newer).timestamp).toBe(newer.timestamp);
    repository.versions.timestamp = 0;
    repository.signTimestamp();
    expect(refusalText(() => stamped(repository, newer))).toBe(
      'metadata_rollback: image timestamp.json is version 1; version 2 was trusted before',
    );
  });

  it('named_snapshot_may_not_fall', () => {
    const { repository, set } = begun();
    const naming = (version: number): void =>
      repository.signTimestamp((timestamp) => {
        timestamp.meta['snapshot.json'] = { version };
      });
    naming(5);
    const before = stamped(repository, set);
    naming(5);
    expect(snapshotMeta(stamped(repository, before))).toEqual({ version: 5 });
    naming(6);
    expect(snapshotMeta(stamped(repository, before))).toEqual({ version: 6 });
    naming(4);
    expect(refusalText(() => stamped(repository, before))).toBe(
      'metadata_rollback: image snapshot.json (as timestamp.json names it) is version 4; ' +
        'version 5 was trusted before',
    );
  });

  const ENDED = 'it or its root has expired by then';
  it.each<[string, { time: number; expires?: number; root?: number; latest?: number }, string]>([
    ['before_every_expiry', { time: 2, expires: 3, root: 3 }, 'accepted'],
    ['at_its_own_expiry', { time: 2, expires: 2, root: 9 }, ENDED],
    ['after_its_own_expiry', { time: 3, expires: 2, root: 9 }, ENDED],
    ['at_the_expiry_of_the_root', { time: 2, expires: 9, root: 2 }, ENDED],
    ['at_the_latest_present', { time: 2, latest: 2 }, 'accepted'],
    ['before_the_latest_present', { time: 1, latest: 2 }, 'accepted'],
    [
      'after_the_latest_present',
      { time: 2, latest: 1 },
      'the present is not after 2026-11-23T01:00:00.000Z',
    ],
    ['after_both', { time: 3, expires: 2, latest: 1 }, ENDED],
  ])('time_of_signing_%s', (_name, { time, expires = 9, root = 9, latest }, why) => {
    const { repository, set } = begun();
    const next = withRoot(
      set,
      repository.signRoot({
        change: (signed: Root) => {
          signed.expires = at(root);
        },
      }),
    );
    repository.signTimestamp((timestamp) => {
      timestamp['x-linnet-time'] = at(time);
      timestamp.expires = at(expires);
    });
    const bytes = repository.get('timestamp.json');
    const latestMs = latest === undefined ? undefined : START_MS + latest * HOUR_MS;
    const text = refusalText(() => withTimestamp(next, bytes, START_MS, latestMs));
    expect(text).toBe(
      why === 'accepted'
        ? why
        : `metadata_time: image timestamp.json version 2 names the time ${at(time)}; ${why}`,
    );
  });

  it('time_of_signing_of_the_trusted_one_is_not_checked_again', () => {
    const { repository, set } = begun();
    const trusted = stamped(repository, set);
    const bytes = repository.get('timestamp.json');
    expect(withTimestamp(trusted, bytes, START_MS, 0)).toEqual(trusted);
    expect(refusalText(() => withTimestamp(set, bytes, START_MS, 0))).toContain('metadata_time');
  });

  it('time_of_signing_may_be_absent', () => {
    const { repository, set } = begun();
    repository.signTimestamp((timestamp) => {
      delete timestamp['x-linnet-time'];
    });
    const bytes = repository.get('timestamp.json');
    const trusted = withTimestamp(set, bytes, START_MS, 0);
    expect(knownTimeMs(trusted)).toBe(0);
    expect(knownTimeMs(set)).toBe(0);
    expect(knownTimeMs(complete().set)).toBe(START_MS);
  });
});
