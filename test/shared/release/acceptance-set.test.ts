// Acceptance sets: who may sign one, what is refused before it is parsed, and how answers score.
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../../shared/base/bytes.js';
import { limits } from '../../../shared/base/limits.js';
import {
  ACCEPTANCE_PAYLOAD_TYPE,
  acceptanceVerdict,
  openAcceptanceSet,
  sampleScore,
  type AcceptanceSet,
} from '../../../shared/release/acceptance-set.js';
import type { Answer } from '../../../shared/release/answer-differences.js';
import { RELEASE_PAYLOAD_TYPE } from '../../../shared/release/manifest.js';
import { acceptanceRing, acceptanceKey, releaseKey } from '../../sim/release.js';
import { envelopeBytesNow } from '../../sim/sync-signer.js';
import { accuracySet, floats, signedSet } from '../../support/acceptance-sets.js';
import { refused } from '../../support/metadata-device.js';

const set = accuracySet([
  [0, 1, 'yes'],
  [1, 0, 'no'],
]);
const opening = (bytes: Uint8Array) =>
  Promise.resolve().then(() => openAcceptanceSet(bytes, acceptanceRing));

describe('opening', () => {
  it('a_set_that_an_acceptance_key_signed_is_opened', async () => {
    expect(await opening(signedSet(set))).toEqual(set);
  });

  it('a_set_that_the_release_key_signed_is_refused', async () => {
    await refused(opening(signedSet(set, releaseKey)), 'signature_invalid');
  });

  it('another_document_of_the_acceptance_key_is_no_set', async () => {
    const bytes = envelopeBytesNow(RELEASE_PAYLOAD_TYPE, utf8('{}'), [acceptanceKey]);
    await refused(opening(bytes), 'signature_invalid');
  });

  it('an_unverified_payload_never_reaches_the_parser', async () => {
    const nonsense = (key: typeof releaseKey) =>
      envelopeBytesNow(ACCEPTANCE_PAYLOAD_TYPE, utf8('{ no JSON'), [key]);
    await refused(opening(nonsense(releaseKey)), 'signature_invalid');
    await refused(opening(nonsense(acceptanceKey)), 'manifest_undecodable');
  });

  it.each<[string, object]>([
    ['without_samples', { samples: [] }],
    ['that_asks_for_nothing', { least: 0 }],
    ['with_an_unknown_field', { colour: 1 }],
    [
      'whose_bytes_do_not_fill_the_shape',
      { samples: [{ inputs: [floats('x', [1, 3], 1, 2)], label: 'no' }] },
    ],
  ])('a_set_%s_is_refused', async (_, change) => {
    await refused(opening(signedSet({ ...set, ...change })), 'manifest_undecodable');
  });

  it('a_set_beyond_its_size_is_refused_unread', async () => {
    const bytes = new Uint8Array(limits.acceptanceSetMaxBytes + 1);
    expect((await refused(opening(bytes), 'manifest_undecodable')).detail).toContain(
      'the limit is',
    );
  });
});

describe('scores', () => {
  const classifier = { output: 'y', scale: 'logits' as const, labels: ['no', 'yes'] };
  const y = (shape: number[], ...elements: number[]): Answer => ({
    datatype: 'FP32',
    shape,
    elements,
  });
  const scoreOf = (of: AcceptanceSet, answer: Answer | null, manifest = { classifier }) =>
    sampleScore(of, of.samples[0]!, manifest, answer === null ? null : () => answer);

  it.each<[string, Answer | null, number]>([
    ['the_right_label', y([1, 2], 0, 1), 1],
    ['another_label', y([1, 2], 1, 0), 0],
    ['no_number', y([1, 2], Number.NaN, 1), 0],
    ['two_rows', y([2, 2], 0, 1, 0, 1), 0],
    ['a_class_without_a_label', y([1, 3], 0, 0, 1), 0],
    ['no_answer', null, 0],
  ])('accuracy_of_%s', (_, answer, score) => {
    expect(scoreOf(set, answer)).toBe(score);
  });

  it('labels_are_compared_by_name', () => {
    const turned = { classifier: { ...classifier, labels: ['yes', 'no'] } };
    expect(scoreOf(set, y([1, 2], 1, 0), turned)).toBe(1);
  });

  it('agreement_is_one_less_the_difference_from_the_right_outputs', () => {
    const agreement = {
      ...set,
      metric: 'agreement',
      comparisons: [{ output: 'y', kind: 'value', scale: 10 }],
      samples: [{ inputs: [floats('x', [1, 2], 0, 1)], outputs: [floats('y', [1, 1], 100)] }],
    } as AcceptanceSet;
    expect(openAcceptanceSet(signedSet(agreement), acceptanceRing)).toEqual(agreement);
    expect(scoreOf(agreement, y([1, 1], 102))).toBeCloseTo(0.8, 9);
    expect(scoreOf(agreement, y([1, 1], 200))).toBe(0);
    expect(scoreOf(agreement, null)).toBe(0);
  });

  it('the_verdict_says_the_numbers', () => {
    expect(acceptanceVerdict(set, [1, 0])).toEqual({
      passed: false,
      text: 'accuracy on the acceptance set is 50 % (2 inputs; at least 90 %)',
    });
    expect(acceptanceVerdict(set, [1, 1]).passed).toBe(true);
  });
});
