// One rollout while it runs: its state and why, what it waits for, the commands that it takes now,
// the evidence against its boundary, the waves as they fill, and what happened.
import type { RolloutCommand, RolloutDetail } from '../../../../shared/protocol/operator-api.js';
import { send } from '../api.js';
import { Ago, Facts, Heading, Loading, Section, State, Table, Trouble } from '../parts/basics.js';
import { EvidenceChart } from '../parts/charts.js';
import { QuestionButtons, type Question } from '../parts/dialog.js';
import { reads } from '../reads.js';
import { beats, either, oneOf, useResource } from '../resource.js';
import { Link } from '../router.js';
import { useMay } from '../self.js';
import { counted, duration, permille, releaseText, selectorText } from '../text.js';
import { Waves } from './rollout-waves.js';
import { StrategyFacts } from './rollout-strategy.js';

export function RolloutPage({ id, query }: { id: string; query: URLSearchParams }) {
  const resource = useResource(reads.rollout(id), either(oneOf('rollouts', id), beats));
  const { data, failure } = resource;
  return (
    <>
      <Heading title={data === undefined ? 'Rollout' : `Rollout of ${releaseText(data.release)}`}>
        {data !== undefined && <State text={data.state} />}
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

const questionOf = (
  { id, release, state }: RolloutDetail,
  command: RolloutCommand,
  meaning: string,
  reload: () => void,
): Question => ({
  title: `${title(command)} the rollout of ${releaseText(release)}?`,
  body: (
    <p>
      It is {state} now. {title(command)}: {meaning}.
    </p>
  ),
  action: title(command),
  hint: meaning,
  danger: DANGEROUS.includes(command),
  asksReason: true,
  run: async (given) => {
    const reason = given('reason');
    const body = reason === '' ? {} : { reason };
    await send('POST', `/rollouts/${encodeURIComponent(id)}/${command}`, body);
    reload();
  },
});

function Policy({ rollout }: { rollout: RolloutDetail }) {
  const { policy, selector, createdAt, createdBy, release, id } = rollout;
  const { component, version } = release;
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
        ...(policy.takesPerHour === undefined
          ? []
          : [['Pace', `${counted(policy.takesPerHour, 'device')} an hour`] as const]),
        ...(policy.hours === undefined
          ? []
          : [['Hours', `${policy.hours.windows.join(', ')} ${policy.hours.zone}`] as const]),
        ['Id', <code>{id}</code>],
      ]}
    />
  );
}
