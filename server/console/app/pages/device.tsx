// One device: what runs since when and why, what is wrong and what to do, what it served, what
// happened, and what an operator can do with it.
import type { DeviceDetail } from '../../../../shared/protocol/operator-api.js';
import type { HealthBody } from '../../../../shared/protocol/telemetry.js';
import { todoOf } from '../../../../shared/base/fault-codes.js';
import { Ago, Facts, Heading, Loading, Section, State, Table, Trouble } from '../parts/basics.js';
import { reads } from '../reads.js';
import { beats, either, oneOf, topics, useResource } from '../resource.js';
import { Link } from '../router.js';
import {
  bytesText,
  counted,
  duration,
  labelTexts,
  milliseconds,
  releaseText,
  share,
} from '../text.js';
import { DeviceCommands } from './device-commands.js';
import { DevicePlots } from './device-plots.js';

export function DevicePage({ id }: { id: string }) {
  const { data, failure, reload } = useResource(
    reads.device(id),
    either(oneOf('devices', id), topics('security'), beats),
  );
  return (
    <>
      <Heading title={data === undefined ? 'Device' : `Device ${data.device.name}`}>
        {data !== undefined && <State text={data.device.silent ? 'silent' : data.device.status} />}
      </Heading>
      <Trouble failure={failure} />
      {data === undefined ? (
        failure === null && <Loading />
      ) : (
        <Detail detail={data} reload={reload} />
      )}
    </>
  );
}

function Detail({ detail, reload }: { detail: DeviceDetail; reload: () => void }) {
  const { device } = detail;
  return (
    <>
      <DeviceCommands device={device} reload={reload} />
      <div class="grid">
        <Wrong detail={detail} />
        <Running detail={detail} />
        <Identity detail={detail} />
        <Health detail={detail} />
      </div>
      <DevicePlots detail={detail} />
      <Timeline detail={detail} />
      <Section title="Security events" id="device-security">
        <Table
          caption="Security events of the device"
          rows={detail.security}
          rowKey={(event) => event.id}
          columns={[
            { title: 'Last', cell: ({ lastAt }) => <Ago at={lastAt} /> },
            { title: 'Code', cell: ({ code }) => <code>{code}</code> },
            { title: 'Times', cell: ({ count }) => count },
            { title: 'Detail', cell: ({ detail: text }) => text },
          ]}
        />
      </Section>
    </>
  );
}

/** What to do about a condition, by its code. */
const ADVICE: Readonly<Record<string, string>> = {
  crashes: 'The model process ends by itself. Undo the release, or look at its memory.',
  hangs: 'The model does not answer in time. Undo the release, or look at the load of the device.',
  memory: 'The model takes more memory than its contract says. Undo it or raise the contract.',
  withheld: 'The release does not serve because it failed too often. Undo it.',
  errors: 'Requests fail. Look at what the application sends and at the last release.',
};

const troubleTodo = (code: string): string =>
  `${todoOf(code) ?? 'The log of its agent says more.'} It tries again by itself.`;

function Wrong({ detail: { device } }: { detail: DeviceDetail }) {
  const lines = [
    ...(device.cloned
      ? [
          {
            key: 'cloned',
            text: 'Two installations use the key of this device.',
            todo: 'Its data folder was copied. Revoke it and enrol both installations anew.',
          },
        ]
      : []),
    ...(device.silent
      ? [{ key: 'silent', text: 'It is silent.', todo: 'Look at its power and its network.' }]
      : []),
    ...(device.pendingReason === null
      ? []
      : [{ key: 'pending', text: device.pendingReason, todo: 'Approve it, or give a new claim.' }]),
    ...device.updates.flatMap(({ component, trouble, conditions }) => [
      ...(trouble === null
        ? []
        : [
            {
              key: `${component} ${trouble.code}`,
              text: `${component} cannot proceed: ${trouble.code}: ${trouble.detail}`,
              todo: troubleTodo(trouble.code),
            },
          ]),
      ...conditions.map(({ code, count, detail }) => ({
        key: `${component} ${code}`,
        text: `${component}: ${code}, ${count} in a day: ${detail}`,
        todo: ADVICE[code] ?? '',
      })),
    ]),
  ];
  return (
    <Section title="What is wrong" id="wrong">
      {lines.length === 0 && (
        <p>
          <State text="nothing now" tone="good" />
        </p>
      )}
      <ul class="reasons">
        {lines.map(({ key, text, todo }) => (
          <li key={key}>
            {text} <strong>{todo}</strong>
          </li>
        ))}
      </ul>
    </Section>
  );
}

function Running({ detail: { device, rollouts, outcomes } }: { detail: DeviceDetail }) {
  return (
    <Section title="What runs" id="runs">
      {device.updates.length === 0 && <p class="quiet">It has not reported yet.</p>}
      {device.updates.map(({ component, state, running, previous, updatingTo, progress }) => {
        const why = rollouts.find(({ release }) => release.digest === running?.digest);
        const since = outcomes.find(
          ({ outcome }) =>
            outcome.result === 'confirmed' && outcome.release.digest === running?.digest,
        );
        return (
          <Facts
            key={component}
            of={[
              ['Release', releaseText(running)],
              ['Confirmed', <Ago at={since?.at ?? null} none="not reported" />],
              [
                'Why',
                why === undefined ? (
                  'no rollout of this server'
                ) : (
                  <Link to={`rollouts/${encodeURIComponent(why.rollout)}`}>
                    rollout {why.rollout}
                  </Link>
                ),
              ],
              ['Before', releaseText(previous)],
              ['Update', <State text={state} />],
              ...(updatingTo === null ? [] : [['Updating to', releaseText(updatingTo)] as const]),
              ...(progress === null
                ? []
                : [
                    [
                      'Downloaded',
                      `${bytesText(progress.doneBytes)} of ${bytesText(progress.totalBytes)}`,
                    ] as const,
                  ]),
            ]}
          />
        );
      })}
    </Section>
  );
}

function Identity({ detail: { device, certificates } }: { detail: DeviceDetail }) {
  const labels = labelTexts(device.labels);
  return (
    <Section title="Identity" id="identity">
      <Facts
        of={[
          ['Group', device.group],
          ['Hardware', device.hardware],
          ['Components', device.components.join(', ')],
          ['Labels', labels.length === 0 ? 'none' : labels.join(', ')],
          ['Enrolled', <Ago at={device.enrolledAt} none="not enrolled" />],
          ['Last seen', <Ago at={device.lastSeenAt} />],
          ['Id', <code>{device.id}</code>],
          ['Fingerprint of its key', <code>{device.fingerprint}</code>],
          ...certificates.slice(0, 1).map(
            ({ serial, expiresAt }) =>
              [
                'Certificate',
                <>
                  <code>{serial}</code>, until {expiresAt.slice(0, 10)}
                </>,
              ] as const,
          ),
        ]}
      />
    </Section>
  );
}

function Health({ detail: { device } }: { detail: DeviceDetail }) {
  const { health } = device;
  return (
    <Section title="Health" id="health">
      {health === null ? (
        <p class="quiet">It has not reported yet.</p>
      ) : (
        <Facts
          of={[
            ['Processor', health.cpuUse === null ? '-' : share(health.cpuUse)],
            [
              'Memory free',
              `${bytesText(health.memoryAvailableBytes)} of ${bytesText(health.memoryTotalBytes)}`,
            ],
            ['Temperature', health.temperatureC === null ? '-' : `${health.temperatureC} °C`],
            ['Disk free', health.diskFreeBytes === null ? '-' : bytesText(health.diskFreeBytes)],
            ['Agent', bytesText(health.agentRssBytes)],
            ['Up for', duration(health.uptimeSeconds)],
            ['Waiting to be sent', waitingText(health.spool)],
            ['Clock ahead', milliseconds(health.clockErrorMs)],
          ]}
        />
      )}
    </Section>
  );
}

function waitingText({ records, lost, oldestSeconds }: HealthBody['spool']): string {
  return [
    counted(records, 'record'),
    ...(oldestSeconds === undefined ? [] : [`the oldest ${duration(oldestSeconds)} old`]),
    `${lost} lost`,
  ].join(', ');
}

function Timeline({ detail: { outcomes, rollouts } }: { detail: DeviceDetail }) {
  return (
    <div class="grid">
      <Section title="Rollouts" id="device-rollouts">
        <Table
          caption="Rollouts of the device"
          rows={rollouts}
          rowKey={({ rollout }) => rollout}
          columns={[
            { title: 'Since', cell: ({ since }) => <Ago at={since} /> },
            {
              title: 'Release',
              cell: ({ rollout, release }) => (
                <Link to={`rollouts/${encodeURIComponent(rollout)}`}>{releaseText(release)}</Link>
              ),
            },
            { title: 'State', cell: ({ state }) => <State text={state} /> },
            { title: 'Why', cell: ({ reasons }) => reasons },
          ]}
        />
      </Section>
      <Section title="Outcomes" id="outcomes">
        <Table
          caption="Outcomes of assignments"
          rows={outcomes}
          rowKey={({ at, outcome }) => `${at} ${outcome.assignmentId} ${outcome.result}`}
          columns={[
            { title: 'When', cell: ({ at }) => <Ago at={at} /> },
            { title: 'Release', cell: ({ outcome }) => releaseText(outcome.release) },
            { title: 'Result', cell: ({ outcome }) => <State text={outcome.result} /> },
            { title: 'Why', cell: ({ outcome }) => outcome.detail },
          ]}
        />
      </Section>
    </div>
  );
}
