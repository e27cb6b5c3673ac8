// What an operator can do with a device. What is final shows the fingerprint of the key.
import type { Device } from '../../../../shared/protocol/operator-api.js';
import { send } from '../api.js';
import { QuestionButtons, type Question } from '../parts/dialog.js';
import { Field } from '../parts/fields.js';
import { useMay } from '../self.js';
import { labelsIn, labelTexts } from '../text.js';

export function DeviceCommands({ device, reload }: { device: Device; reload: () => void }) {
  const may = useMay();
  if (!may('operator') || device.status === 'revoked') return null;
  const questions =
    device.status === 'pending'
      ? [approve, revoke].map((one) => one(device, reload))
      : [move, label, replace, revoke].map((one) => one(device, reload));
  return <QuestionButtons of={questions} />;
}

/** What a question about a device shows of it: a page of its own has more, a list has this. */
type Shown = Pick<Device, 'id' | 'name'> & { readonly fingerprint: string | null };

const pathOf = ({ id }: Shown, command = ''): string =>
  `/devices/${encodeURIComponent(id)}${command}`;

function Fingerprint({ device }: { device: Shown }) {
  return (
    <p>
      Fingerprint of its key: <code>{device.fingerprint}</code>
    </p>
  );
}

export const approve = (device: Shown, reload: () => void): Question => ({
  title: `Approve ${device.name}?`,
  body: (
    <>
      <p>
        Anyone can ask to enrol under any name. Compare the fingerprint with the one in the log of
        the device.
      </p>
      <Fingerprint device={device} />
    </>
  ),
  action: 'Approve',
  run: async () => {
    await send('POST', pathOf(device, '/approve'), { fingerprint: device.fingerprint });
    reload();
  },
});

const move = (device: Device, reload: () => void): Question => ({
  title: `Move ${device.name} to another group`,
  body: (
    <Field text="Group">
      <input
        name="group"
        required
        pattern="[a-z0-9][a-z0-9\-]*"
        maxLength={63}
        defaultValue={device.group}
      />
    </Field>
  ),
  action: 'Move',
  run: async (given) => {
    await send('PATCH', pathOf(device), { group: given('group') });
    reload();
  },
});

const label = (device: Device, reload: () => void): Question => ({
  title: `Labels of ${device.name}`,
  body: (
    <Field text="One label a line, key=value">
      <textarea name="labels" rows={5} defaultValue={labelTexts(device.labels).join('\n')} />
    </Field>
  ),
  action: 'Label',
  run: async (given) => {
    await send('PATCH', pathOf(device), { labels: labelsIn(given('labels')) });
    reload();
  },
});

const replace = (device: Device, reload: () => void): Question => ({
  title: `Replace ${device.name} by another device`,
  body: (
    <>
      <p>
        The other device gets name, group and labels; a pending one is enrolled by it. This one is
        revoked for good.
      </p>
      <Fingerprint device={device} />
      <Field text="Name or id of the other device">
        <input name="by" required maxLength={64} />
      </Field>
      <Field text="Fingerprint of its key (needed with a name)">
        <input name="fingerprint" pattern="[0-9a-f]{16,64}" maxLength={64} />
      </Field>
    </>
  ),
  action: 'Replace',
  danger: true,
  run: async (given) => {
    const fingerprint = given('fingerprint');
    const body = { by: given('by'), ...(fingerprint === '' ? {} : { fingerprint }) };
    await send('POST', pathOf(device, '/replace'), body);
    reload();
  },
});

/** Of a device that waits for approval. */
export const deny = (device: Shown, reload: () => void): Question => ({
  ...revoke(device, reload),
  title: `Deny ${device.name}?`,
  body: (
    <>
      <p>
        Its key is never accepted again. This is final: a device that is denied by mistake needs a
        new key.
      </p>
      <Fingerprint device={device} />
    </>
  ),
  action: 'Deny',
});

const revoke = (device: Shown, reload: () => void): Question => ({
  title: `Revoke ${device.name}?`,
  body: (
    <>
      <p>It is disconnected now, and its key is never accepted again. This is final.</p>
      <Fingerprint device={device} />
    </>
  ),
  action: 'Revoke',
  danger: true,
  run: async () => {
    await send('POST', pathOf(device, '/revoke'));
    reload();
  },
});
