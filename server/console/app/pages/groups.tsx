// Groups with their devices, and claims, by which new devices enrol into a group.
import type { Claim } from '../../../../shared/protocol/operator-api.js';
import { useState } from 'preact/hooks';
import { send } from '../api.js';
import { Heading, RowsTable, Section } from '../parts/basics.js';
import { useQuestion } from '../parts/dialog.js';
import { lists } from '../reads.js';
import { topics, useRows } from '../resource.js';
import { Link } from '../router.js';
import { useMay } from '../self.js';
import { atTime, counted } from '../text.js';

export function GroupsPage() {
  const rows = useRows('groups', lists.groups(), topics('devices'));
  const may = useMay();
  return (
    <>
      <Heading title="Groups" />
      <RowsTable
        caption="Groups"
        what="groups"
        none="No group yet: a device makes one when it enrols."
        rows={rows}
        rowKey={({ name }) => name}
        columns={[
          {
            title: 'Group',
            cell: ({ name }) => (
              <Link to={`devices?group=${encodeURIComponent(name)}`}>{name}</Link>
            ),
          },
          { title: 'Enrolled devices', cell: ({ devices }) => devices.toLocaleString('en') },
        ]}
      />
      {may('operator') && <Claims />}
    </>
  );
}

function Claims() {
  const { ask, dialog } = useQuestion();
  const [claim, setClaim] = useState<Claim | null>(null);
  const question = {
    title: 'A new claim',
    body: (
      <>
        <p>A device that shows the claim enrols into the group without approval.</p>
        <label class="field">
          Group
          <input name="group" required pattern="[a-z0-9][a-z0-9\-]*" maxLength={63} />
        </label>
        <label class="field">
          Devices
          <input type="number" name="uses" min={1} max={10_000} defaultValue="1" required />
        </label>
        <label class="field">
          Valid for so many minutes
          <input type="number" name="minutes" min={1} max={43_200} defaultValue="60" required />
        </label>
      </>
    ),
    action: 'Create claim',
    run: async (given: (name: string) => string) => {
      const body = {
        group: given('group'),
        uses: Number(given('uses')),
        minutes: Number(given('minutes')),
      };
      setClaim(await send<Claim>('POST', '/claims', body));
    },
  };
  return (
    <Section title="Claims" id="claims">
      <button type="button" onClick={() => ask(question)}>
        New claim
      </button>
      {claim !== null && (
        <p role="status">
          Shown once: <code>{claim.claim}</code> for {counted(claim.uses, 'device')} of group{' '}
          {claim.group}, until {atTime(claim.expiresAt)}.
        </p>
      )}
      {dialog}
    </Section>
  );
}
