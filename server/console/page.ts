// The operator console as one page: the fleet, its releases and its rollouts, with the buttons that
// the present state of a rollout allows. It talks to the operator API with a token that is typed in
// and kept in this tab's sessionStorage only. Everything that comes from the server is set as text,
// never as HTML. It lives in a .ts file so that the compiled server finds it in dist/.

export const STYLE = `
:root { color-scheme: light dark; --line: #8885; --soft: #8882; --good: #1a7f37; --bad: #cf222e; --busy: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --good: #4ac26b; --bad: #ff8182; --busy: #d4a72c; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 75rem; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
.scroll { overflow-x: auto; }
code { font-size: .9em; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; } .busy { color: var(--busy); font-weight: 600; }
article { border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem; margin: .8rem 0; }
article h3 { margin: 0 0 .4rem; font-size: 1.05rem; }
pre { background: var(--soft); padding: .6rem; border-radius: .3rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .9em; }
button { font: inherit; padding: .2rem .8rem; margin-right: .4rem; cursor: pointer; }
input { font: inherit; width: min(30rem, 100%); }
[hidden] { display: none; }
`;

export const SCRIPT = `
'use strict';
const KEY = 'linnet-operator-token';
const el = (name, options, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(options || {})) key === 'class' ? made.className = value : made[key] = value;
  made.append(...children);
  return made;
};
const byId = (id) => document.getElementById(id);
const say = (text, bad) => { byId('status').textContent = text; byId('status').className = bad ? 'bad' : ''; };
async function api(method, path, body) {
  const response = await fetch('/api/v1' + path, {
    method,
    headers: { authorization: 'Bearer ' + sessionStorage.getItem(KEY), ...(body ? { 'content-type': 'application/json' } : {}) },
    body: body ? JSON.stringify(body) : undefined,
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error + ' ' + answer.todo);
  return answer;
}
const GOOD = ['enrolled', 'completed', 'confirmed'], BAD = ['silent', 'revoked', 'failed', 'lost', 'held', 'reverted', 'stranded'];
const word = (text) => el('span', { class: GOOD.includes(text) ? 'good' : BAD.includes(text) ? 'bad' : 'busy' }, text);
const release = (ref) => ref ? ref.component + ' ' + ref.version : '-';
const table = (caption, head, rows) => rows.length === 0 ? el('p', {}, 'None yet.') : el('div', { class: 'scroll' }, el('table', { ariaLabel: caption },
  el('thead', {}, el('tr', {}, ...head.map((text) => el('th', { scope: 'col' }, text)))),
  el('tbody', {}, ...rows.map((cells) => el('tr', {}, ...cells.map((cell) => el('td', {}, cell)))))));
function devices(list) {
  return table('Devices', ['Name', 'Group', 'Status', 'Runs', 'State', 'Last seen', 'Id'], list.map((device) => [
    device.name, device.group, word(device.status === 'enrolled' && device.silent ? 'silent' : device.status),
    device.updates.map((update) => release(update.running)).join(', ') || '-',
    device.updates.map((update) => update.state === 'idle' ? 'idle' : update.state + (update.updatingTo ? ' (to ' + update.updatingTo.version + ')' : '')).join(', ') || '-',
    device.lastSeenAt ? new Date(device.lastSeenAt).toLocaleString() : 'never', el('code', {}, device.id),
  ]));
}
function releases(list) {
  return table('Releases', ['Release', 'Published', 'Size', 'Description', 'Digest'], list.map((row) => [
    release(row), new Date(row.publishedAt).toLocaleString(), (row.bytes / 1048576).toFixed(2) + ' MiB', row.manifest.description, el('code', {}, row.digest.slice(0, 16)),
  ]));
}
const COMMANDS = { draft: ['start', 'drop'], rolling: ['pause', 'abort'], held: ['resume', 'abort'] };
function commandsOf(view) {
  const found = COMMANDS[view.state] || [];
  return view.state === 'rolling' && view.policy.waves.some((wave) => wave.approval) ? ['approve', ...found] : found;
}
async function command(view, name) {
  if (name === 'abort' && !confirm('Take every touched device back to what it ran before?')) return;
  try {
    await api('POST', '/rollouts/' + encodeURIComponent(view.id) + '/' + name, { reason: 'from the console' });
    await look();
    say(name + ': done');
  } catch (error) { say(error.message, true); }
}
function rollout(view) {
  const waves = view.policy.waves.map((wave, index) => {
    const members = view.members.filter((member) => member.wave === index);
    const about = members.length + ' devices, soak ' + wave.soakSeconds + ' s' + (wave.approval ? ', needs approval' : '');
    return el('div', {},
      el('h4', {}, (index === view.wave ? '\\u25b6 ' : '') + 'Wave ' + (index + 1) + ': ' + wave.name + ' (' + about + ')'),
      members.length === 0 ? '' : table('Wave ' + (index + 1), ['Device', 'State', 'Why'], members.map((member) => [member.name, word(member.state), member.reasons])));
  });
  const buttons = commandsOf(view).map((name) => el('button', { type: 'button', onclick: () => command(view, name) }, name));
  return el('article', {},
    el('h3', {}, release(view.release) + ' ', word(view.state), ' ', el('code', {}, view.id)),
    el('pre', {}, view.reasons.join('\\n') || '-'),
    view.next.length === 0 ? '' : el('p', {}, 'Next, from a terminal:'),
    view.next.length === 0 ? '' : el('ul', {}, ...view.next.map((step) => el('li', {}, el('code', {}, step)))),
    el('div', {}, ...buttons),
    el('details', {
      open: opened.has(view.id) || ['rolling', 'held', 'reverting'].includes(view.state),
      ontoggle: (event) => event.target.open ? opened.add(view.id) : opened.delete(view.id),
    },
      el('summary', {}, 'Waves and devices'), ...waves));
}
const opened = new Set();
const shown = {};
/**
 * Replaces a section only when its data changed, so that focus and scrolling survive the refresh.
 */
function show(id, data, make) {
  const text = JSON.stringify(data);
  if (shown[id] === text) return;
  shown[id] = text;
  byId(id).replaceChildren(...[make(data)].flat());
}
async function look() {
  const [fleet, published, rollouts] = await Promise.all([api('GET', '/devices'), api('GET', '/releases'), api('GET', '/rollouts')]);
  show('rollouts', rollouts, (list) => list.length === 0 ? el('p', {}, 'None yet.') : list.map(rollout));
  show('devices', fleet, devices);
  show('releases', published, releases);
}
let timer = 0;
async function turn() {
  try {
    await look();
    byId('login').hidden = true; byId('fleet').hidden = false; byId('leave').hidden = false;
    say('Up to date at ' + new Date().toLocaleTimeString());
  } catch (error) { say(error.message, true); }
  timer = setTimeout(turn, 2000);
}
byId('login').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, byId('token').value.trim());
  byId('token').value = '';
  clearTimeout(timer);
  turn();
});
byId('leave').addEventListener('click', () => { sessionStorage.removeItem(KEY); location.reload(); });
if (sessionStorage.getItem(KEY)) turn();
`;

export function page(): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Linnet fleet</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>Linnet fleet</h1>
<p><button type="button" id="leave" hidden>Forget token</button><span id="status" role="status">Enter an operator token to begin.</span></p>
</header>
<form id="login">
<label for="token">Operator token</label><br>
<input id="token" type="password" autocomplete="off" required placeholder="lnt_...">
<button type="submit">Show the fleet</button>
</form>
<main id="fleet" hidden>
<h2>Rollouts</h2><section id="rollouts" aria-label="Rollouts"></section>
<h2>Devices</h2><section id="devices" aria-label="Devices"></section>
<h2>Releases</h2><section id="releases" aria-label="Releases"></section>
</main>
<script>${SCRIPT}</script>
</body>
</html>
`;
}
