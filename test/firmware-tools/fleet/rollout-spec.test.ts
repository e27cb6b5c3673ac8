// A rollout as one file: what it may leave out, and every way in which it can be wrong.
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { requestOfSpec } from '../../../firmware-tools/fleet/rollout-spec.js';
import { complaints } from '../../../shared/base/decode.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { RolloutRequest } from '../../../shared/protocol/operator-api.js';

const SHORT = 'release = "digits@1.1.0"\n[[waves]]\npercent = 100\n';

function mistakeIn(text: string, file = 'rollout.toml', named?: string): string {
  try {
    requestOfSpec(text, file, named);
  } catch (error) {
    if (isFault(error, 'usage')) return error.detail;
    throw error;
  }
  return 'none';
}

describe('a specification', () => {
  it('short_one_takes_the_defaults', () => {
    const request = requestOfSpec(SHORT, 'rollout.toml');
    expect(complaints(RolloutRequest, request)).toEqual([]);
    expect(request).toMatchObject({
      component: 'digits',
      version: '1.1.0',
      policy: {
        waves: [{ name: '100%', percent: 100, soakSeconds: 60, approval: false }],
        autoRevert: true,
        trial: { minPairs: 100 },
      },
    });
    expect(request.selector).toBeUndefined();
  });

  it('whole_one_says_who_when_how_fast_and_what_on_failure', () => {
    const text = `
release = "digits@1.1.0"
startWindow = 2
kindWindow = 1
takesPerHour = 100
deadline = 2027-01-31T18:00:00+01:00
autoRevert = false

[selector]
groups = ["shops"]
hardware = ["pi4"]
labels = { region = "north" }

[hours]
windows = ["22:00-05:00"]
zone = "Europe/Berlin"

[[waves]]
group = "canary"
soakSeconds = 3600
minProven = 2
approval = true

[[waves]]
count = 50

[trial]
minPairs = 7
`;
    const request = requestOfSpec(text, 'rollout.toml');
    expect(complaints(RolloutRequest, request)).toEqual([]);
    expect(request).toMatchObject({
      selector: { groups: ['shops'], hardware: ['pi4'], labels: { region: 'north' } },
      policy: {
        startWindow: 2,
        takesPerHour: 100,
        hours: { windows: ['22:00-05:00'], zone: 'Europe/Berlin' },
        autoRevert: false,
        waves: [
          { name: 'canary', group: 'canary', soakSeconds: 3600, minProven: 2, approval: true },
          { name: '50 devices', count: 50, soakSeconds: 60, approval: false },
        ],
        trial: { minPairs: 7 },
      },
    });
    expect(Date.parse(request.policy.deadline ?? '')).toBe(Date.UTC(2027, 0, 31, 17));
  });

  it('example_in_the_documents_is_one', async () => {
    const page = await readFile(new URL('../../../docs/rollouts.md', import.meta.url), 'utf8');
    const [, text = ''] = /```toml\n(release[^`]*)```/.exec(page) ?? [];
    const request = requestOfSpec(text, 'rollout.toml');
    expect(complaints(RolloutRequest, request)).toEqual([]);
    expect(request.policy).toMatchObject({ takesPerHour: 200, waves: [{ minProven: 8 }, {}] });
  });

  it('strategy_ab_names_its_arms_and_what_they_are_compared_on', () => {
    const text =
      `strategy = "ab"\n${SHORT}[ab]\nsharePercent = 20\nobserveSeconds = 3600\n` +
      'metrics = ["failed", "security"]\n';
    expect(requestOfSpec(text, 'rollout.toml').policy).toMatchObject({
      strategy: 'ab',
      ab: { sharePercent: 20, winner: 'ask', falseWinnerPermille: 50 },
    });
    expect(mistakeIn(text.replace('"security"', '"speed"'))).toMatch(/metrics\/1: must be one of/);
    expect(mistakeIn(text.replace('"security"', '"failed"'))).toMatch(/metrics/);
    expect(mistakeIn(text.replace('= 20', '= 91'))).toMatch(/sharePercent/);
    expect(mistakeIn(text.replace('observeSeconds = 3600', ''))).toMatch(/missing observeSeconds/);
    expect(mistakeIn(`${text}winner = "b"`)).toMatch(/winner/);
    expect(mistakeIn(text.replace('strategy = "ab"', ''))).toMatch(/need each other/);
    expect(mistakeIn(`strategy = "ab"\n${SHORT}`)).toMatch(/need each other/);
  });

  it('strategy_blue_green_asks_for_the_go_unless_it_says_otherwise', () => {
    const text = `strategy = "blue-green"\n${SHORT}`;
    expect(requestOfSpec(text, 'rollout.toml').policy.blueGreen).toEqual({ go: 'ask' });
    const auto = requestOfSpec(`${text}[blueGreen]\ngo = "auto"\n`, 'rollout.toml');
    expect(auto.policy.blueGreen).toEqual({ go: 'auto' });
    expect(mistakeIn(`${text}[blueGreen]\ngo = "now"\n`)).toMatch(/blueGreen\/go/);
    expect(mistakeIn(`${SHORT}[blueGreen]\ngo = "ask"\n`)).toMatch(/need each other/);
  });

  it('strategy_shadow_needs_something_to_compare', () => {
    const text = `strategy = "shadow"\n${SHORT}`;
    expect(requestOfSpec(text, 'rollout.toml').policy.strategy).toBe('shadow');
    expect(mistakeIn(`${text}[trial]\nminPairs = 0\n`)).toMatch(/minPairs must be above 0/);
  });

  it('same_as_json', () => {
    const json = '{"release": "digits@1.1.0", "waves": [{"percent": 100}]}';
    expect(requestOfSpec(json, 'rollout.json')).toEqual(requestOfSpec(SHORT, 'rollout.toml'));
  });

  it('release_may_come_from_the_command_and_must_not_differ', () => {
    const without = SHORT.replace(/^release.*\n/, '');
    expect(requestOfSpec(without, 'r.toml', 'digits@2.0.0')).toMatchObject({ version: '2.0.0' });
    expect(requestOfSpec(SHORT, 'r.toml', 'digits@1.1.0')).toMatchObject({ version: '1.1.0' });
    expect(mistakeIn(SHORT, 'r.toml', 'digits@2.0.0')).toBe(
      'r.toml: release is digits@1.1.0, the command names digits@2.0.0',
    );
    expect(mistakeIn(without)).toMatch(/release is missing/);
  });
});

describe('a mistake', () => {
  it('of_syntax_names_its_line', () => {
    expect(mistakeIn(`${SHORT}[trial\n`)).toMatch(/^rollout\.toml, line 4 is not TOML/);
    expect(mistakeIn('{"release": "a@1.0.0",\n "waves": [}', 'r.json')).toMatch(
      /^r\.json(, line 2)? is not JSON/,
    );
    expect(mistakeIn('[]', 'r.json')).toBe('r.json is not a JSON object');
  });

  it.each([
    ['unknown_key', 'colour = 1', /unknown key colour/],
    ['strategy_that_does_not_exist', 'strategy = "big-bang"', /strategy/],
    ['selector_key', 'selector = { sites = ["a"] }', /selector: unknown key sites/],
    ['empty_groups', 'selector = { groups = [] }', /selector\/groups/],
    ['label_key', 'selector = { labels = { "A B" = "x" } }', /selector\/labels/],
    ['rate_of_zero', 'takesPerHour = 0', /takesPerHour/],
    ['hours_without_zone', 'hours = { windows = ["22:00-05:00"] }', /hours: missing zone/],
    ['hours_text', 'hours = { windows = ["10pm"], zone = "UTC" }', /hours\/windows\/0/],
    ['hours_empty', 'hours = { windows = ["05:00-05:00"], zone = "UTC" }', /begins when it ends/],
    ['zone', 'hours = { windows = ["22:00-05:00"], zone = "Berlin" }', /hours\.zone Berlin/],
    ['deadline_without_zone', 'deadline = 2027-01-31T18:00:00', /deadline .* with its zone/],
    ['deadline_text', 'deadline = "soon"', /deadline soon/],
    ['window_of_zero', 'startWindow = 0', /startWindow/],
    ['trial_that_is_no_table', 'trial = 3', /trial/],
    ['trial_times', 'trial = { minSeconds = 9, maxSeconds = 8 }', /trial\.maxSeconds/],
    ['alarming_below_acceptable', 'alarmingFailurePermille = 2', /alarmingFailurePermille/],
  ])('of_%s_is_refused', (_name, line, complaint) => {
    expect(mistakeIn(`${line}\n${SHORT}`)).toMatch(complaint);
  });

  it.each([
    ['no_waves', 'release = "digits@1.0.0"', /waves/],
    ['waves_that_are_no_list', 'release = "digits@1.0.0"\nwaves = 3', /waves/],
    ['wave_that_is_no_table', 'release = "digits@1.0.0"\nwaves = [3]', /waves\/0/],
    ['wave_of_nobody', '[[waves]]\nname = "a"', /must have one of group, percent and count/],
    ['wave_of_two', '[[waves]]\ngroup = "a"\ncount = 3', /must have one of group/],
    ['falling_percents', '[[waves]]\npercent = 9\n[[waves]]\npercent = 8', /cannot be below 9/],
    ['release_text', 'release = "digits"\n[[waves]]\npercent = 100', /component@version/],
  ])('of_%s_is_refused', (_name, text, complaint) => {
    const named = text.startsWith('release') ? undefined : 'digits@1.0.0';
    expect(mistakeIn(text, 'rollout.toml', named)).toMatch(complaint);
  });

  it('all_are_told_at_once', () => {
    const found = mistakeIn('colour = 1\ntakesPerHour = -1\n[[waves]]\nname = 3\n');
    expect(found).toMatch(/colour/);
    expect(found).toMatch(/takesPerHour/);
    expect(found).toMatch(/name/);
  });
});
