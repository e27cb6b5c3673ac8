// One rollout while it runs: its state and why, what it waits for, the commands that it takes now,
// the evidence against its boundary, the waves as they fill, and what happened.
import type {
  CommandRequest,
  RolloutCommand,
  RolloutDetail,
} from '../../../../shared/protocol/operator-api.js';
import { send } from '../api.js';
import { Ago, Facts, Heading, Loading, Section, State, Table, Trouble } from '../parts/basics.js';
import { EvidenceChart } from '../parts/charts.js';
import { QuestionButtons, type Question } from '../parts/dialog.js';
import { Field } from '../parts/fields.js';
import { reads } from '../reads.js';
import { beats, either, oneOf, useResource } from '../resource.js';
import { Link } from '../router.js';
import { useMay } from '../self.js';
import { atTime, counted, duration, permille, releaseText, selectorText } from '../text.js';
import { Waves } from './rollout-waves.js';
import { StrategyFacts } from './rollout-strategy.js';

export function RolloutPage({ id, query }: { id: string; query: URLSearchParams }) {
  const resource = useResource(reads.rollout(id), either(oneOf('rollouts', id), beats));
  const { data, failure } = resource;
  const may = useMay();
  return (
    <>
      <Heading title={data === undefined ? 'Rollout' : `Rollout of ${releaseText(data.release)}`}>
        {data !== undefined && <State text={data.state} />}
        {data !== undefined && may('operator') && (
          <Link to={`new-rollout?from=${encodeURIComponent(id)}`} class="button">
            Draft one like it
          </Link>
        )}
      </Heading>
      <Trouble failure={failure} />
      {data === undefined ? (
        failure === null && <Loading />
      ) : (
        <Detail rollout={data} query={query} reload={resource.reload} />
      )}
    </>
  );
}

interface DetailProps {
  readonly rollout: RolloutDetail;
  readonly query: URLSearchParams;
  readonly reload: () => void;
}

function Detail({ rollout, query, reload }: DetailProps) {
  return (
    <>
      <Commands rollout={rollout} reload={reload} />
      <div class="grid">
        <Section title="Why it is in this state" id="why">
          <ul class="reasons">
            {rollout.reasons.map((reason) => (
              <li key={reason}>{reason}</li>
            ))}
          </ul>
        </Section>
        <Section title="Evidence" id="evidence">
          <EvidenceChart evidence={rollout.evidence} />
          <p class="quiet">
            Acceptable: {permille(rollout.policy.acceptableFailurePermille)} of the devices fail.
            Alarming: {permille(rollout.policy.alarmingFailurePermille)}. A release within the
            acceptable rate is halted with a chance of at most{' '}
            {permille(rollout.policy.falseAlarmPermille)}.
          </p>
        </Section>
      </div>
      <Waves rollout={rollout} state={query.get('state') ?? ''} />
      <StrategyFacts rollout={rollout} />
      <Section title="What it does" id="policy">
        <Policy rollout={rollout} />
      </Section>
      <Section title="History" id="history">
        <Table
          caption="History"
          rows={[...rollout.history].reverse()}
          rowKey={({ at, state, reasons }) => `${at} ${state} ${reasons.join()}`}
          columns={[
            { title: 'When', cell: ({ at }) => <Ago at={at} /> },
            { title: 'State', cell: ({ state }) => <State text={state} /> },
            { title: 'Wave', cell: ({ wave }) => wave + 1 },
            { title: 'Why', cell: ({ reasons }) => reasons.join('; ') },
          ]}
        />
      </Section>
    </>
  );
}

const DANGEROUS: readonly RolloutCommand[] = ['abort', 'undo', 'drop'];
const title = (command: RolloutCommand): string =>
  `${command.slice(0, 1).toUpperCase()}${command.slice(1)}`;

function Commands({ rollout, reload }: { rollout: RolloutDetail; reload: () => void }) {
  const may = useMay();
  if (!may('operator')) return null;
  const questions = rollout.commands.map(({ command, meaning }) =>
    questionOf(rollout, command, meaning, reload),
  );
  return <QuestionButtons of={questions} />;
}

function questionOf(
  { id, release, state, counts, policy }: RolloutDetail,
  command: RolloutCommand,
  meaning: string,
  reload: () => void,
): Question {
  const differing = counts.filter((count) => count.state === 'differs');
  const asksDifference = command === 'resume' && differing.length > 0;
  return {
    title: `${title(command)} the rollout of ${releaseText(release)}?`,
    body: (
      <>
        <p>
          It is {state} now. {title(command)}: {meaning}.
        </p>
        {asksDifference && (
          <AcceptedDifference
            devices={differing.reduce((sum, { devices }) => sum + devices, 0)}
            capPermille={policy.trial.differenceCapPermille}
          />
        )}
      </>
    ),
    action: title(command),
    hint: meaning,
    danger: DANGEROUS.includes(command),
    asksReason: true,
    run: async (given) => {
      const reason = given('reason');
      const difference = given('difference');
      await send('POST', `/rollouts/${encodeURIComponent(id)}/${command}`, {
        ...(reason === '' ? {} : { reason }),
        ...(difference === '' ? {} : { acceptDifferencePermille: Math.round(+difference * 10) }),
      } satisfies CommandRequest);
      reload();
    },
  };
}

function AcceptedDifference({ devices, capPermille }: { devices: number; capPermille: number }) {
  return (
    <Field
      text={
        `${counted(devices, 'device')} went back for answers that differ more than declared. ` +
        'Mean difference to accept from now on, percent (empty: none). With it they take the ' +
        'release again.'
      }
    >
      <input type="number" name="difference" min={0.1} max={capPermille / 10} step={0.1} />
    </Field>
  );
}

function Policy({ rollout }: { rollout: RolloutDetail }) {
  const { policy, selector, createdAt, createdBy, release, id } = rollout;
  const { component, version } = release;
  const { trial } = policy;
  return (
    <Facts
      of={[
        [
          'Release',
          <Link to={`releases/${encodeURIComponent(component)}/${encodeURIComponent(version)}`}>
            {releaseText(release)}
          </Link>,
        ],
        ['Strategy', policy.strategy ?? 'canary'],
        ['Devices', selectorText(selector)],
        ['Created', <Ago at={createdAt} />],
        ['By', createdBy],
        ['On a halt', policy.autoRevert ? 'rolls every touched device back' : 'asks a person'],
        ['Silent after', duration(policy.silentAfterSeconds)],
        ['Deadline of a device', duration(policy.deviceDeadlineSeconds)],
        [
          'Trial of a device',
          `${duration(trial.minSeconds)} to ${duration(trial.maxSeconds)}, ` +
            `at least ${counted(trial.minPairs, 'comparison')}`,
        ],
        ['Difference of the answers', differenceText(trial)],
        ...(policy.takesPerHour === undefined
          ? []
          : [['Pace', `${counted(policy.takesPerHour, 'device')} an hour`] as const]),
        ...(policy.hours === undefined
          ? []
          : [['Hours', `${policy.hours.windows.join(', ')} ${policy.hours.zone}`] as const]),
        ...(policy.deadline === undefined
          ? []
          : [['Held when not completed by', atTime(policy.deadline)] as const]),
        ['Id', <code>{id}</code>],
      ]}
    />
  );
}

function differenceText({
  differenceLimitPermille: limit,
  acceptedDifferencePermille: accepted,
  differenceCapPermille: cap,
}: RolloutDetail['policy']['trial']): string {
  const undeclared = `up to ${permille(limit)} where the release declares none`;
  const person = accepted === undefined ? [] : [`up to ${permille(accepted)} accepted by a person`];
  return [undeclared, ...person, `failed above ${permille(cap)}`].join(', ');
}
