// Who is signed in, and the end of it: here, in other places, or everywhere.
import type { Self } from '../../../../shared/protocol/operator-api.js';
import { useContext } from 'preact/hooks';
import { send } from '../api.js';
import { Facts, Heading, Loading, Section } from '../parts/basics.js';
import { QuestionButtons, type Question } from '../parts/dialog.js';
import { SelfContext } from '../self.js';
import { signOut } from '../session.js';
import { counted } from '../text.js';

export function SessionPage({ onRevoked }: { onRevoked: () => void }) {
  const self = useContext(SelfContext);
  return (
    <>
      <Heading title="Your session" />
      {self === null ? <Loading /> : <Session self={self} onRevoked={onRevoked} />}
    </>
  );
}

function Session({ self, onRevoked }: { self: Self; onRevoked: () => void }) {
  const { name, role, tokens } = self;
  const others = tokens - 1;
  return (
    <>
      <Section title="Signed in" id="signed-in">
        <Facts
          of={[
            ['Name', name],
            ['Role', role],
            ['Valid tokens of this name', counted(tokens, 'token')],
          ]}
        />
        <p>
          A token is a session: anyone who has it is signed in, in a browser or in a terminal. Sign
          out (above) forgets the token in this tab, and the token stays valid.
        </p>
      </Section>
      <QuestionButtons
        of={[...(others > 0 ? [revokingOthers(name, others, onRevoked)] : []), everywhere(self)]}
      />
    </>
  );
}

const revokingOthers = (name: string, others: number, onRevoked: () => void): Question => ({
  title: 'Revoke your other tokens?',
  body: (
    <p>
      {counted(others, 'other token')} of {name} {others === 1 ? 'is' : 'are'} refused from now on.
      The one of this tab stays valid.
    </p>
  ),
  action: 'Revoke my other tokens',
  danger: true,
  run: async () => {
    await send('POST', '/self/revoke', { keepThis: true });
    onRevoked();
  },
});

const everywhere = ({ name, role, tokens }: Self): Question => ({
  title: 'Sign out everywhere?',
  body: (
    <>
      <p>
        {counted(tokens, 'token')} of {name} {tokens === 1 ? 'is' : 'are'} refused from now on, this
        one too. You need a new token to sign in again.
      </p>
      {role === 'admin' && (
        <p>
          If no other admin token is valid, <code>linnet server init</code> on the server makes one.
        </p>
      )}
    </>
  ),
  action: 'Sign out everywhere',
  danger: true,
  run: async () => {
    await send('POST', '/self/revoke', { keepThis: false });
    signOut(`Every token of ${name} was revoked.`);
  },
});
