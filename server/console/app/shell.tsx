// What surrounds every page: sign-in, navigation, whether the server is heard, and the choice of
// the page by the path.
import { Component, type ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { connection } from './live.js';
import { Announcer } from './parts/announcer.js';
import { Heading, Loading, Trouble } from './parts/basics.js';
import { Field } from './parts/fields.js';
import { pageOf } from './pages/pages.js';
import { reads } from './reads.js';
import { topics, useResource } from './resource.js';
import { Link, place } from './router.js';
import { SelfContext } from './self.js';
import { signedOutBecause, signIn, signOut, token } from './session.js';
import { useSignal } from './signal.js';

const SECTIONS = [
  ['', 'Fleet'],
  ['search', 'Search'],
  ['devices', 'Devices'],
  ['enrol', 'Enrol'],
  ['rollouts', 'Rollouts'],
  ['releases', 'Releases'],
  ['groups', 'Groups'],
  ['security', 'Security'],
  ['audit', 'Audit'],
  ['tokens', 'Tokens'],
] as const;

/** Pages that belong to a section of another name. */
const BELOW: Readonly<Record<string, string>> = { 'new-rollout': 'rollouts' };

export function Shell() {
  const signedIn = useSignal(token) !== null;
  return (
    <>
      {signedIn ? <SignedIn /> : <SignIn />}
      <Announcer />
    </>
  );
}

function SignIn() {
  const because = useSignal(signedOutBecause);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    document.title = 'Sign in - Linnet';
    input.current?.focus();
  }, []);
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const value = input.current?.value.trim() ?? '';
    if (value !== '') signIn(value);
  };
  return (
    <main class="sign-in">
      <h1>Linnet</h1>
      <form class="card" onSubmit={submit}>
        {because !== null && (
          <p class="notice bad" role="alert">
            {because}
          </p>
        )}
        <Field text="Operator token">
          <input
            ref={input}
            type="password"
            autocomplete="off"
            required
            placeholder="lnt_..."
            aria-describedby="token-hint"
          />
        </Field>
        <p class="quiet" id="token-hint">
          The token is forgotten with this tab. <code>linnet token create</code> makes one.
        </p>
        <button type="submit" class="primary">
          Sign in
        </button>
      </form>
    </main>
  );
}

function SignedIn() {
  const { path, query } = useSignal(place);
  const { data: self, failure, reload } = useResource(reads.self(), topics('tokens'));
  const main = useRef<HTMLElement>(null);
  const [section = ''] = path.split('/');
  const nav = useRef<HTMLElement>(null);
  useEffect(() => {
    // On a narrow screen the sections are a line that scrolls.
    nav.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest' });
  }, [section, self?.role]);
  return (
    <SelfContext.Provider value={self ?? null}>
      <a class="skip" href="#main" onClick={() => main.current?.focus()}>
        To the content
      </a>
      <header>
        <Link to="" class="brand">
          Linnet
        </Link>
        <nav ref={nav} aria-label="Sections">
          <ul>
            {SECTIONS.filter(([to]) => mayOpen(to, self?.role)).map(([to, name]) => (
              <li key={to}>
                <Link to={to} current={to === (BELOW[section] ?? section)}>
                  {name}
                </Link>
              </li>
            ))}
          </ul>
        </nav>
        <div class="session">
          {self !== undefined && (
            <Link to="session" current={section === 'session'}>
              {self.name} ({self.role})
            </Link>
          )}
          <button type="button" onClick={() => signOut()}>
            Sign out
          </button>
        </div>
      </header>
      <ConnectionNotice />
      <main id="main" ref={main} tabIndex={-1}>
        <Trouble failure={failure} />
        <Boundary key={path}>
          {self === undefined ? <Loading /> : pageOf(path, query, reload)}
        </Boundary>
      </main>
    </SelfContext.Provider>
  );
}

const mayOpen = (to: string, role: string | undefined): boolean =>
  to === 'tokens' ? role === 'admin' : to !== 'audit' || role === 'admin' || role === 'operator';

function ConnectionNotice() {
  const state = useSignal(connection);
  return (
    <p class={`connection ${state}`} role="status">
      {state === 'live' && 'Live'}
      {state === 'connecting' && 'Connecting'}
      {state === 'lost' &&
        'The server does not answer. What you see is the last known state. ' +
          'The console tries again by itself.'}
    </p>
  );
}

/** A page with a bug says so, and the rest of the console goes on. */
class Boundary extends Component<{ children: ComponentChildren }, { broken: boolean }> {
  override state = { broken: false };

  static override getDerivedStateFromError() {
    return { broken: true };
  }

  override render() {
    if (!this.state.broken) return this.props.children;
    return <BrokenPage />;
  }
}

function BrokenPage() {
  const [reloading, setReloading] = useState(false);
  return (
    <>
      <Heading title="This page has a bug" />
      <p role="alert">It could not be shown. Reload it, or report what you did.</p>
      <button
        type="button"
        disabled={reloading}
        onClick={() => {
          setReloading(true);
          location.reload();
        }}
      >
        Reload
      </button>
    </>
  );
}
