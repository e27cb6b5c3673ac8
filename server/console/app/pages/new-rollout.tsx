// A new rollout from a form. A dry run shows which devices it would reach, wave by wave, and what
// it promises, before anything exists; creating makes a draft, which a person starts.
import type { RolloutDetail, RolloutPreview } from '../../../../shared/protocol/operator-api.js';
import { useState } from 'preact/hooks';
import { send, type Failure } from '../api.js';
import { useAction } from '../parts/action.js';
import { announce } from '../parts/announcer.js';
import { Heading, Loading, Section, Table, Trouble } from '../parts/basics.js';
import { reads } from '../reads.js';
import { useResource } from '../resource.js';
import { navigate } from '../router.js';
import { counted, releaseText, share } from '../text.js';
import { RolloutFields, type Start } from './rollout-form.js';
import { requestOf } from './rollout-request.js';

/**
 * Of the query: `from`, a rollout whose devices and policy the form begins with; `release`, which
 * it begins with instead of that rollout's or the newest one.
 */
export function NewRolloutPage({ query }: { query: URLSearchParams }) {
  const from = query.get('from') ?? '';
  const release = query.get('release') ?? '';
  return (
    <>
      <Heading title="New rollout" />
      {from === '' ? (
        <FromDefaults release={release} />
      ) : (
        <FromRollout id={from} release={release} />
      )}
    </>
  );
}

function FromDefaults({ release }: { release: string }) {
  const { data, failure } = useResource(reads.defaultPolicy(), () => false);
  const start = data === undefined ? undefined : { release, policy: data, selector: {} };
  return <FormOf start={start} failure={failure} />;
}

function FromRollout({ id, release }: { id: string; release: string }) {
  const { data, failure } = useResource(reads.rollout(id), () => false);
  const start = data === undefined ? undefined : startOf(data, release);
  return <FormOf start={start} failure={failure} />;
}

/**
 * Without what was of that rollout alone: a difference that a person accepted, a deadline that has
 * passed, and the wave of arm A, which the server adds.
 */
function startOf({ policy: given, selector, release }: RolloutDetail, wanted: string): Start {
  const trial = { ...given.trial };
  delete trial.acceptedDifferencePermille;
  const waves = given.strategy === 'ab' ? given.waves.slice(0, -1) : given.waves;
  const policy = { ...given, trial, waves };
  if (isPast(policy.deadline)) delete policy.deadline;
  return {
    release: wanted === '' ? `${release.component}@${release.version}` : wanted,
    policy,
    selector,
  };
}

const isPast = (deadline: string | undefined): boolean =>
  deadline !== undefined && Date.parse(deadline) <= Date.now();

function FormOf({ start, failure }: { start: Start | undefined; failure: Failure | null }) {
  return (
    <>
      <Trouble failure={failure} />
      {start === undefined ? failure === null && <Loading /> : <Form start={start} />}
    </>
  );
}

function Form({ start }: { start: Start }) {
  const [preview, setPreview] = useState<RolloutPreview | null>(null);
  const { busy, failure, run } = useAction();
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const request = requestOf(form, start.policy);
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
        <RolloutFields start={start} />
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
          { title: 'Sites', cell: ({ sites }) => sites },
          {
            title: 'Hardware',

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
