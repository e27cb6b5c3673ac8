// Operator tokens by name; a token itself is shown once, when it is made.
import type { NewToken } from '../../../../shared/protocol/operator-api.js';
import { useState } from 'preact/hooks';
import { send } from '../api.js';
import { Ago, Heading, RowsTable, State } from '../parts/basics.js';
import { useQuestion, type Question } from '../parts/dialog.js';
import { Field } from '../parts/fields.js';
import { lists } from '../reads.js';
import { topics, useRows } from '../resource.js';

export function TokensPage() {
  const rows = useRows('tokens', lists.tokens(), topics('tokens'));
  const { ask, dialog } = useQuestion();
  const [made, setMade] = useState<NewToken | null>(null);
  return (
    <>
      <Heading title="Tokens">
        <button type="button" class="primary" onClick={() => ask(creating(setMade))}>
          New token
        </button>
      </Heading>
      {made !== null && (
        <p class="notice busy" role="status">
          Shown once: <code>{made.token}</code> for {made.name} ({made.role}).
        </p>
      )}
      <RowsTable
        caption="Operator tokens"
        what="tokens"
        rows={rows}
        rowKey={({ name, createdAt }) => `${name} ${createdAt}`}
        columns={[
          { title: 'Name', cell: ({ name }) => name },
          { title: 'Role', cell: ({ role }) => role },
          { title: 'Created', cell: ({ createdAt }) => <Ago at={createdAt} /> },
          {
            title: 'State',
            cell: ({ revokedAt }) =>
              revokedAt === null ? <State text="valid" tone="good" /> : <State text="revoked" />,
          },
          {
            title: 'Commands',
            cell: ({ name, revokedAt }) =>
              revokedAt === null && (
                <button
                  type="button"
                  class="danger"
                  aria-label={`Revoke ${name}`}
                  onClick={() => ask(revoking(name))}
                >
                  Revoke
                </button>
              ),
          },
        ]}
      />
      {dialog}
    </>
  );
}

const creating = (onMade: (made: NewToken) => void): Question => ({
  title: 'A new token',
  body: (
    <>
      <Field text="Name">
        <input name="name" required pattern="[A-Za-z0-9][A-Za-z0-9._@\-]*" maxLength={63} />
      </Field>
      <Field text="Role">
        <select name="role">
          <option value="viewer">viewer: reads</option>
          <option value="publisher">publisher: uploads signed releases</option>
          <option value="operator">operator: rollouts and devices</option>
          <option value="admin">admin: tokens</option>
        </select>
      </Field>
    </>
  ),
  action: 'Create token',
  run: async (given) => {
    const body = { name: given('name'), role: given('role') };
    onMade(await send<NewToken>('POST', '/tokens', body));
  },
});

const revoking = (name: string): Question => ({
  title: `Revoke ${name}?`,
  body: <p>Every token of that name is refused from now on.</p>,
  action: 'Revoke token',
  danger: true,
  run: async () => {
    await send('POST', `/tokens/${encodeURIComponent(name)}/revoke`);
  },
});
