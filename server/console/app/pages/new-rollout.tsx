// A new rollout from a form. A dry run shows which devices it would reach, wave by wave, and what
// it promises, before anything exists; creating makes a draft, which a person starts.
import type {
  RolloutDetail,
  RolloutPolicy,
  RolloutPreview,
  RolloutRequest,
  Wave,
} from '../../../../shared/protocol/operator-api.js';
import { useState } from 'preact/hooks';
import { send } from '../api.js';
import { givenIn, useAction, type Given } from '../parts/action.js';
import { announce } from '../parts/announcer.js';
import { Heading, Loading, Section, Table, Trouble } from '../parts/basics.js';
import { limits } from '../limits.js';
import { lists, reads } from '../reads.js';
import { topics, useResource, useRows } from '../resource.js';
import { navigate } from '../router.js';
import { counted, releaseText, share } from '../text.js';

/** `release` of the query is chosen in the form. */
export function NewRolloutPage({ query }: { query: URLSearchParams }) {
  const { data, failure } = useResource(reads.defaultPolicy(), () => false);
  return (
    <>
      <Heading title="New rollout" />
      <Trouble failure={failure} />
      {data === undefined ? (
        failure === null && <Loading />
      ) : (
        <Form policy={data} release={query.get('release') ?? ''} />
      )}
    </>
  );
}

function Form({ policy, release }: { policy: RolloutPolicy; release: string }) {
  const [preview, setPreview] = useState<RolloutPreview | null>(null);
  const { busy, failure, run } = useAction();
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const request = requestOf(givenIn(event), policy);
    const isDry = (event.submitter as HTMLButtonElement | null)?.value === 'preview';
    void run(async () => {
      if (isDry) {
        setPreview(await send<RolloutPreview>('POST', '/rollouts/preview', request));
        announce('Dry run: done');
        return;
      }
      const { id } = await send<RolloutDetail>('POST', '/rollouts', request);
      navigate(`rollouts/${encodeURIComponent(id)}`);
    });
  };
  return (
    <>
      <form class="card" onSubmit={submit}>
        <What chosen={release} />
        <Waves />
        <Strictness policy={policy} />
        <Trouble failure={failure} />
        <div class="buttons">
          <button type="submit" name="action" value="preview" disabled={busy}>
            Dry run
          </button>
          <button type="submit" name="action" value="create" class="primary" disabled={busy}>
            Create draft
          </button>
        </div>
      </form>
      {preview !== null && <Preview preview={preview} />}
    </>
  );
}

const useGroups = () =>
  useRows('all groups', lists.groups(limits.optionsMaxCount), topics('devices'));

function What({ chosen }: { chosen: string }) {
  const wanted = lists.releases(limits.optionsMaxCount);
  const releases = useRows('all releases', wanted, topics('releases'));
  const groups = useGroups();
  const hardware = useResource(reads.fleet(), topics('devices')).data?.hardware ?? [];
  return (
    <fieldset>
      <legend>What and to which devices</legend>
      <label class="field">
        Release
        <select name="release" required>
          {releases.items.map(({ component, version }) => (
            <option
              key={`${component}@${version}`}
              value={`${component}@${version}`}
              selected={`${component}@${version}` === chosen}
            >
              {component} {version}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        Only devices of the group
        <select name="group">
          <option value="">all groups</option>
          {groups.items.map(({ name }) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        Only devices of the hardware
        <select name="hardware">
          <option value="">all hardware</option>
          {hardware.map((row) => (
            <option key={row.hardware} value={row.hardware}>
              {row.hardware}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        Only devices with labels (key=value, separated by commas)
        <input name="labels" maxLength={500} />
      </label>
      <label class="field">
        Strategy
        <select name="strategy">
          <option value="canary">canary: each device that takes it serves it</option>
          <option value="blue-green">blue-green: all prepare it, one go lets them swap</option>
          <option value="ab">A/B: a share of the devices serves it and is compared</option>
          <option value="shadow">shadow: no device serves it; answers are compared</option>
        </select>
      </label>
    </fieldset>
  );
}

function Waves() {
  const groups = useGroups();
  return (
    <fieldset>
      <legend>Waves</legend>
      <label class="field">
        First to the group
        <select name="canary">
          <option value="">no first group</option>
          {groups.items.map(({ name }) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        Then to shares of all devices, in percent
        <input name="shares" defaultValue="50, 100" required pattern="[0-9, ]+" />
      </label>
      <label class="field">
        Soak: seconds a device must stay healthy before it counts
        <input type="number" name="soak" min={0} defaultValue="60" required />
      </label>
      <label class="field">
        <input type="checkbox" name="approval" value="yes" />
        Each step beyond a wave needs an approval
      </label>
    </fieldset>
  );
}

function Strictness({ policy }: { policy: RolloutPolicy }) {
  const number = (
    name: string,
    text: string,
    value: number,
    range: { min: number; max?: number; step?: number },
  ) => (
    <label class="field">
      {text}
      <input type="number" name={name} defaultValue={String(value)} required {...range} />
    </label>
  );
  return (
    <fieldset>
      <legend>When it stops</legend>
      {number(
        'acceptable',
        'Acceptable: percent of devices that fail',
        policy.acceptableFailurePermille / 10,
        { min: 0.1, max: 50, step: 0.1 },
      )}
      {number(
        'alarming',
        'Alarming: percent of devices that fail',
        policy.alarmingFailurePermille / 10,
        { min: 0.2, max: 100, step: 0.1 },
      )}
      {number('minPairs', 'Comparisons that a trial needs', policy.trial.minPairs, { min: 0 })}
      {number('trialMin', 'Trial: seconds at least', policy.trial.minSeconds, { min: 0 })}
      {number('trialMax', 'Trial: seconds at most', policy.trial.maxSeconds, { min: 1 })}
      {number('deadline', 'Deadline of a device, seconds', policy.deviceDeadlineSeconds, {
        min: 1,
      })}
      <label class="field">
        <input type="checkbox" name="autoRevert" value="yes" defaultChecked={policy.autoRevert} />
        On a halt, roll every touched device back at once
      </label>
    </fieldset>
  );
}

function requestOf(given: Given, policy: RolloutPolicy): RolloutRequest {
  const [component = '', version = ''] = given('release').split('@');
  const labels = given('labels')
    .split(',')
    .filter((text) => text.trim() !== '')
    .map((text) => {
      const [key = '', ...value] = text.split('=');
      return [key.trim(), value.join('=').trim()] as const;
    });
  const group = given('group');
  const hardware = given('hardware');
  return {
    component,
    version,
    policy: {
      ...policy,
      ...strategyOf(given('strategy')),
      waves: wavesOf(given),
      trial: {
        ...policy.trial,
        minPairs: Number(given('minPairs')),
        minSeconds: Number(given('trialMin')),
        maxSeconds: Number(given('trialMax')),
      },
      acceptableFailurePermille: Math.round(Number(given('acceptable')) * 10),
      alarmingFailurePermille: Math.round(Number(given('alarming')) * 10),
      deviceDeadlineSeconds: Number(given('deadline')),
      autoRevert: given('autoRevert') === 'yes',
    },
    selector: {
      ...(group === '' ? {} : { groups: [group] }),
      ...(hardware === '' ? {} : { hardware: [hardware] }),
      ...(labels.length === 0 ? {} : { labels: Object.fromEntries(labels) }),
    },
  };
}

function strategyOf(strategy: string): Partial<RolloutPolicy> {
  switch (strategy) {
    case 'blue-green':
      return { strategy, blueGreen: { go: 'ask' } };
    case 'ab':
      return {
        strategy,
        ab: {
          sharePercent: 50,
          observeSeconds: 3600,
          metrics: ['failed', 'p99'],
          falseWinnerPermille: 50,
          winner: 'ask',
        },
      };
    case 'shadow':
      return { strategy };
    default:
      return {};
  }
}

function wavesOf(given: Given): Wave[] {
  const soakSeconds = Number(given('soak'));
  const approval = given('approval') === 'yes';
  const canary = given('canary');
  const shares = given('shares')
    .split(/[ ,]+/)
    .filter((text) => text !== '')
    .map(Number);
  return [
    ...(canary === '' ? [] : [{ name: 'canary', group: canary, soakSeconds, approval }]),
    ...shares.map((percent, index) => {
      const isLast = index === shares.length - 1;
      return {
        name: `${percent}%`,
        percent,
        soakSeconds: isLast ? 0 : soakSeconds,
        approval: approval && !isLast,
      };
    }),
  ];
}

function Preview({ preview }: { preview: RolloutPreview }) {
  const reached = counted(preview.devices, 'device');
  return (
    <Section title="Dry run" id="preview">
      <p>
        {releaseText(preview.release)} would reach {reached}; at most {preview.startWindow} have it
        undecided at the beginning. Nothing was changed.
      </p>
      {preview.warnings.length > 0 && (
        <ul class="notice busy">
          {preview.warnings.map((warning) => (
            <li key={warning}>{warning}</li>
          ))}
        </ul>
      )}
      <Table
        caption="Waves of the dry run"
        rows={preview.waves}
        rowKey={({ name }) => name}
        columns={[
          { title: 'Wave', cell: ({ name }) => name },
          { title: 'Devices', cell: ({ devices }) => devices },
          { title: 'Sites', cell: ({ sites }) => sites, wide: true },
          {
            title: 'Hardware',
            wide: true,
            cell: ({ hardware }) =>
              Object.entries(hardware)
                .map(([name, count]) => `${name}: ${count}`)
                .join(', '),
          },
          { title: 'The first ones', cell: ({ names }) => names.join(', ') },
        ]}
      />
      <h3>What it promises</h3>
      <Table
        caption="Promises of the dry run"
        rows={preview.promises}
        rowKey={({ failureRate }) => failureRate}
        columns={[
          { title: 'When so many devices fail', cell: ({ failureRate }) => share(failureRate) },
          { title: 'It is halted', cell: ({ halt }) => share(halt) },
          { title: 'A person is asked', cell: ({ hold }) => share(hold) },
          { title: 'Devices that take it', cell: ({ expectedTakes }) => expectedTakes.toFixed(1) },
        ]}
      />
    </Section>
  );
}
