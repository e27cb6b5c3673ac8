// What the verdict on a trial says to an operator.
import { describe, expect, it } from 'vitest';
import {
  defaultTrialPolicy,
  judgeTrial,
  type TrialPolicy,
} from '../../../shared/statistics/trial-verdict.js';
import { joinedDocument } from '../../support/documents.js';
import { trialEvidence, type EvidenceOptions } from '../../support/trial-evidence.js';

const policy: TrialPolicy = defaultTrialPolicy;
const judge = (options: EvidenceOptions, change: Partial<TrialPolicy> = {}) =>
  judgeTrial(trialEvidence(options), { ...policy, ...change });
const alone: EvidenceOptions = { comparable: false, replaces: false, comparisons: [] };

describe('what a verdict says', () => {
  it('a_pass_has_no_code_and_no_difference_and_ends_with_accepted', () => {
    const verdict = judge({ pairs: 100 });
    expect(verdict).toMatchObject({ verdict: 'pass', code: null, difference: null });
    expect(verdict.reasons[0]).toMatch(/^served 100 live requests, failed 0 \(limit /);
    expect(verdict.reasons.at(-1)).toBe('accepted');
  });

  it('missing_seconds_are_whole_and_those_that_are_left', () => {
    const { verdict, reasons } = judge({ pairs: 400, seconds: 3.9 }, { minSeconds: 10 });
    expect(verdict).toBe('measuring');
    expect(reasons.at(-1)).toBe('still missing: 7 of 10 s');
    const end = judge({ pairs: 5, seconds: policy.maxSeconds + 0.7 });
    expect(end.reasons.at(-1)).toContain(`after ${policy.maxSeconds} s of at most`);
  });

  it('a_sentence_on_answers_that_differ_is_the_example_of_the_document', () => {
    const { verdict, reasons } = judge({ pairs: 60, differing: 24 });
    expect(verdict).toBe('fail');
    expect(joinedDocument('docs/statistics.md')).toContain(reasons[0]);
  });

  it('missing_things_are_listed_one_by_one', () => {
    const { reasons } = judge({ pairs: 5, seconds: 3 }, { minSeconds: 10 });
    expect(reasons.at(-1)).toMatch(/^still missing: 7 of 10 s; 95 of 100 live inputs answered/);
    // Live blocks of time are asked for after a rehearsal only.
    expect(reasons.at(-1)).not.toContain('blocks of time');
  });

  it('too_many_failed_requests_are_named_with_their_limit', () => {
    const look = { served: 97, failed: 3 };
    const { verdict, reasons } = judge({ pairs: 400, ...look, look });
    expect(verdict).toBe('measuring');
    expect(reasons.at(-1)).toBe('still missing: a share of failed requests that is not above 1 %');
  });

  it('odds_stand_only_where_it_is_certain', () => {
    expect(judge({ pairs: 100, differing: 4 }).reasons[1]).toMatch(/; the limit is 10 %$/);
  });

  it('why_nothing_is_compared', () => {
    const replaced = judge({ ...alone, replaces: true, served: 500 });
    expect(replaced.reasons[1]).toMatch(/^the release it replaces cannot be compared with it: /);
    expect(judge({ ...alone, served: 500 }).reasons[1]).toMatch(
      /^there is no release to compare with: /,
    );
  });
});
