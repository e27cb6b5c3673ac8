// New devices: those that wait for approval, each with the fingerprint of its key; and claims, by
// which a device enrols without approval, with what to write and to run on the device.
import type { Claim, DeviceSummary } from '../../../../shared/protocol/operator-api.js';
import { useEffect, useRef, useState } from 'preact/hooks';
import { send } from '../api.js';
import { givenIn, useAction, type Given } from '../parts/action.js';
import { announce } from '../parts/announcer.js';
import { Ago, Heading, RowsTable, Section, Trouble } from '../parts/basics.js';
import { useQuestion, type Question } from '../parts/dialog.js';
import { Field } from '../parts/fields.js';
import { lists, reads } from '../reads.js';
import { topics, useResource, useRows } from '../resource.js';
import { Link } from '../router.js';
import { useMay } from '../self.js';
import { atTime, counted } from '../text.js';
import { approve, deny } from './device-commands.js';

export function EnrolPage() {
  const may = useMay();
  return (
    <>
      <Heading title="Enrol devices" />
      <Waiting />
      {may('operator') && <NewClaim />}
    </>
  );
}

function Waiting() {
  const rows = useRows('waiting', lists.devices({ status: 'pending' }), topics('devices'));
  const may = useMay();
  const { ask, dialog } = useQuestion();
  const part = useFocusKept(rows.items.length);
  return (
    <div ref={part} tabIndex={-1}>
      <Section title="Waiting for approval" id="waiting">
        <RowsTable
          caption="Devices that wait for approval"
          what="devices"
          none="No device waits. One that starts without a claim comes here."
          rows={rows}
          rowKey={({ id }) => id}
          columns={[
            {
              title: 'Device',
              cell: ({ id, name, hardware, pendingReason }) => (
                <>
                  <Link to={`devices/${encodeURIComponent(id)}`}>{name}</Link>
                  <br />
                  {hardware}, {pendingReason ?? 'no claim'}
                </>
              ),
            },
            {
              title: 'Fingerprint of its key',
              cell: ({ fingerprint }) => <code>{fingerprint}</code>,
            },
            { title: 'Last seen', cell: ({ lastSeenAt }) => <Ago at={lastSeenAt} /> },
            ...(may('operator')
              ? [
                  {
                    title: 'Commands',
                    cell: (device: DeviceSummary) => <Commands device={device} ask={ask} />,
                  },
                ]
              : []),
          ]}
        />
      </Section>
      {dialog}
    </div>
  );
}

/** Approved and denied devices leave the table with the focus: it moves to the table's part. */
function useFocusKept(count: number) {
  const part = useRef<HTMLDivElement>(null);
  const before = useRef(count);
  useEffect(() => {
    const hasLost = document.activeElement === null || document.activeElement === document.body;
    if (count < before.current && hasLost) part.current?.focus();
    before.current = count;
  }, [count]);
  return part;
}

interface CommandsProps {
  readonly device: DeviceSummary;
  readonly ask: (question: Question) => void;
}

/** The list follows the stream of changes, so nothing is read again here. */
function Commands({ device, ask }: CommandsProps) {
  return (
    <div class="buttons">
      <button
        type="button"
        aria-label={`Approve ${device.name}`}
        onClick={() => ask(approve(device, () => {}))}
      >
        Approve
      </button>
      <button
        type="button"
        class="danger"
        aria-label={`Deny ${device.name}`}
        onClick={() => ask(deny(device, () => {}))}
      >
        Deny
      </button>
    </div>
  );
}

interface Made {
  readonly claim: Claim;
  readonly name: string;
  readonly hardware: string;
  readonly components: readonly string[];
}

function NewClaim() {
  const { data } = useResource(reads.fleet(), topics('devices'));
  const [made, setMade] = useState<Made | null>(null);
  const { busy, failure, run } = useAction();
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const given = givenIn(event);
    void run(async () => {
      setMade(await make(given));
      announce('Create claim: done');
    });
  };
  const components = [...new Set(data?.components.map(({ component }) => component))];
  return (
    <Section title="A claim for new devices" id="claims">
      <p>A device that shows the claim enrols into the group without approval.</p>
      {data !== undefined && (
        <form onSubmit={submit}>
          <Text name="group" label="Group" value="fleet" pattern="[a-z0-9][a-z0-9\-]*" />
          <Text name="name" label="Name of the device" value="device-1" />
          <Text
            name="hardware"
            label="Its hardware"
            value={data.hardware[0]?.hardware ?? 'linux-any'}
          />
          <Text
            name="components"
            label="Its components, separated by commas"
            value={components.join(', ')}
            pattern="[a-z0-9][a-z0-9, \-]*"
          />
          <Field text="Devices that may use it">
            <input type="number" name="uses" min={1} max={10_000} defaultValue="1" required />
          </Field>
          <Field text="Valid for so many minutes">
            <input type="number" name="minutes" min={1} max={43_200} defaultValue="60" required />
          </Field>
          <Trouble failure={failure} />
          <button type="submit" class="primary" disabled={busy}>
            Create claim
          </button>
        </form>
      )}
      {made !== null && <ForTheDevice made={made} />}
    </Section>
  );
}

interface TextProps {
  readonly name: string;
  readonly label: string;
  readonly value: string;
  readonly pattern?: string;
}

const NAME = '[A-Za-z0-9][A-Za-z0-9._\\-]*';

function Text({ name, label, value, pattern = NAME }: TextProps) {
  return (
    <Field text={label}>
      <input name={name} required maxLength={63} pattern={pattern} defaultValue={value} />
    </Field>
  );
}

async function make(given: Given): Promise<Made> {
  const body = {
    group: given('group'),
    uses: Number(given('uses')),
    minutes: Number(given('minutes')),
  };
  return {
    claim: await send<Claim>('POST', '/claims', body),
    name: given('name'),
    hardware: given('hardware'),
    components: given('components')
      .split(/[ ,]+/)
      .filter((text) => text !== ''),
  };
}

function ForTheDevice({ made }: { made: Made }) {
  const { claim } = made;
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [claim.claim]);
  return (
    <>
      <h3 ref={heading} tabIndex={-1}>
        On the device
      </h3>
      <p>
        The claim is shown this once: <code>{claim.claim}</code>. It is for{' '}
        {counted(claim.uses, 'device')} of group {claim.group}, until {atTime(claim.expiresAt)}.
      </p>
      <p>
        Install the package and copy <code>image-root.json</code> and{' '}
        <code>director-root.json</code> of <code>linnet repo init</code> to{' '}
        <code>/etc/linnet/</code>. Then write <code>/etc/linnet/agent.toml</code>, where the address
        is the one of this page: change it when devices reach the server by another one.
      </p>
      <pre tabIndex={0} aria-label="agent.toml">
        {agentToml(made)}
      </pre>
      <p>And run:</p>
      <pre tabIndex={0} aria-label="Commands for the device">
        {commandsFor(claim.claim)}
      </pre>
    </>
  );
}

/** JSON strings are TOML strings. */
const agentToml = ({ name, hardware, components }: Made): string =>
  [
    `name = ${JSON.stringify(name)}`,
    `hardware = ${JSON.stringify(hardware)}`,
    `components = ${JSON.stringify(components)}`,
    'data_dir = "/var/lib/linnet"',
    '',
    '[server]',
    `url = ${JSON.stringify(location.origin)}`,
    'claim_file = "/etc/linnet/claim"',
    '',
    '[trust]',
    'image_root = "/etc/linnet/image-root.json"',
    'director_root = "/etc/linnet/director-root.json"',
  ].join('\n');

const commandsFor = (claim: string): string =>
  [
    "sudo install -m 640 -g linnet /dev/stdin /etc/linnet/claim <<'END'",
    claim,
    'END',
    'sudo -u linnet linnet-agent doctor',
    'sudo systemctl enable --now linnet-agent',
  ].join('\n');
