// The operator console as one page: rollouts, devices and releases, with the buttons that the state
// of a rollout allows. It talks to the operator API with a token that the operator types in; the
// token is kept in this tab's sessionStorage only. Everything that comes from the server is set as
// text, never as HTML. Lists show their first page and more on demand; the detail of a rollout is
// fetched only while it is active or open. It is a .ts file so that the compiled server finds it in
// dist/.

export const STYLE = `
:root {
  color-scheme: light dark; --line: #8885; --soft: #8882;
  --good: #1a7f37; --bad: #cf222e; --busy: #9a6700;
}
@media (prefers-color-scheme: dark) {
  :root { --good: #4ac26b; --bad: #ff8182; --busy: #d4a72c; }
}
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 75rem; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }
th, td { vertical-align: top; }
.scroll { overflow-x: auto; }
code { font-size: .9em; }
.good, .bad, .busy { font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); } .busy { color: var(--busy); }
article { border: 1px solid var(--line); border-radius: .5rem; }
article { padding: .8rem 1rem; margin: .8rem 0; }
article h3 { margin: 0 0 .4rem; font-size: 1.05rem; }
pre {
  background: var(--soft); padding: .6rem; border-radius: .3rem; font-size: .9em;
  white-space: pre-wrap; overflow-wrap: anywhere;
}
button { font: inherit; padding: .2rem .8rem; margin-right: .4rem; cursor: pointer; }
input { font: inherit; width: min(30rem, 100%); }
[hidden] { display: none; }
`;

export const SCRIPT = `
'use strict';
const KEY = 'linnet-operator-token';
const PAGE = 100;
const el = (name, options, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(options || {}))
    key === 'class' ? made.className = value : made[key] = value;
  made.append(...children);
  return made;
};
const byId = (id) => document.getElementById(id);
const say = (text, bad) => {
  byId('status').textContent = text;
  byId('status').className = bad ? 'bad' : '';
};
async function api(method, path, body) {
  const response = await fetch('/api/v1' + path, {
    method,
    headers: {
      authorization: 'Bearer ' + sessionStorage.getItem(KEY),
      ...(body ? { 'content-type': 'application/json' } : {}),
    },
    body: body ? JSON.stringify(body) : undefined,
  });
  const answer = await response.json();
  if (response.ok) return answer;
  const error = new Error(answer.error + ' ' + answer.todo);
  error.status = response.status;
  throw error;
}
/** How many pages of each list are shown. */
const pages = { rollouts: 1, devices: 1, releases: 1 };
async function list(name) {
  const items = [];
  let next = null;
  for (let page = 0; page < pages[name]; page++) {
    const from = next === null ? '' : '&cursor=' + encodeURIComponent(next);
    const answer = await api('GET', '/' + name + '?limit=' + PAGE + from);
    items.push(...answer.items);
    next = answer.next;
    if (next === null) break;
  }
  return { items, more: next !== null };
}
const GOOD = ['enrolled', 'completed', 'confirmed'];
const BAD = ['silent', 'revoked', 'failed', 'lost', 'held', 'reverted', 'stranded'];
const ACTIVE = ['rolling', 'held', 'reverting'];
const state = (text) =>
  el('span', { class: GOOD.includes(text) ? 'good' : BAD.includes(text) ? 'bad' : 'busy' }, text);
const release = (ref) => ref ? ref.component + ' ' + ref.version : '-';
const counted = (count, noun) => count + ' ' + noun + (count === 1 ? '' : 's');
const none = () => el('p', {}, 'None yet.');
const table = (caption, head, rows) => rows.length === 0 ? none() :
  el('div', { class: 'scroll' }, el('table', { ariaLabel: caption },
    el('thead', {}, el('tr', {}, ...head.map((text) => el('th', { scope: 'col' }, text)))),
    el('tbody', {}, ...rows.map((cells) =>
      el('tr', {}, ...cells.map((cell) => el('td', {}, cell)))))));
const updateText = (update) => update.state === 'idle' ? 'idle' :
  update.state + (update.updatingTo ? ' (to ' + update.updatingTo.version + ')' : '');
const attention = (device) => [
  ...(device.pendingReason ? [device.pendingReason] : []),
  ...(device.cloned ? ['cloned: two installations use its key'] : []),
].concat(device.updates.flatMap(({ component, trouble, conditions }) => [
  ...(trouble === null ? [] : [trouble]), ...conditions,
].map(({ code, detail }) => component + ': ' + code + ': ' + detail)));
function more(name, list) {
  return list.more ? [el('button', {
    type: 'button',
    onclick: () => { pages[name] += 1; refresh(); },
  }, 'Show more ' + name)] : [];
}
function devices(list) {
  const head = ['Name', 'Group', 'Status', 'Runs', 'State', 'Attention', 'Last seen', 'Id'];
  return [table('Devices', head, list.items.map((device) => [
    device.name,
    device.group,
    state(device.silent ? 'silent' : device.status),
    device.updates.map((update) => release(update.running)).join(', ') || '-',
    device.updates.map(updateText).join(', ') || '-',
    attention(device).join('; ') || '-',
    device.lastSeenAt ? new Date(device.lastSeenAt).toLocaleString() : 'never',
    el('code', {}, device.id),
  ])), ...more('devices', list)];
}
function releases(list) {
  const head = ['Release', 'Published', 'Size', 'Description', 'Digest'];
  return [table('Releases', head, list.items.map((row) => [
    release(row),
    new Date(row.publishedAt).toLocaleString(),
    (row.bytes / 1048576).toFixed(2) + ' MiB',
    row.description,
    el('code', {}, row.digest.slice(0, 16)),
  ])), ...more('releases', list)];
}
const COMMANDS = {
  draft: ['start', 'drop'], rolling: ['pause', 'abort'], held: ['resume', 'abort'],
};
function commandsOf(view, detail) {
  const found = COMMANDS[view.state] || [];
  const approval = detail && detail.policy.waves.some((wave) => wave.approval);
  return view.state === 'rolling' && approval ? ['approve', ...found] : found;
}
async function command(view, name) {
  const question = 'Roll every touched device back to what it ran before?';
  if (name === 'abort' && !confirm(question)) return;
  try {
    const path = '/rollouts/' + encodeURIComponent(view.id) + '/' + name;
    await api('POST', path, { reason: 'from the console' });
    await look();
    say(name + ': done');
  } catch (error) { say(error.message, true); }
}
function wave(view, detail, wave, index) {
  const counts = detail.counts.filter((count) => count.wave === index);
  const members = detail.members.filter((member) => member.wave === index);
  const devices = counts.reduce((sum, count) => sum + count.devices, 0);
  const about = counted(devices, 'device') + ', soak ' + wave.soakSeconds + ' s' +
    (wave.approval ? ', needs approval' : '');
  const title = 'Wave ' + (index + 1);
  const rows = members.map((member) => [member.name, state(member.state), member.reasons]);
  const mark = index === view.wave ? '\\u25b6 ' : '';
  return el('div', {},
    el('h4', {}, mark + title + ': ' + wave.name + ' (' + about + ')'),
    el('p', {}, counts.map((count) => count.devices + ' ' + count.state).join(', ')),
    rows.length === 0 ? '' : table(title, ['Device', 'State', 'Reasons'], rows),
    devices > rows.length ? el('p', {}, 'The first ' + rows.length + ' are shown.') : '');
}
function rolloutBody(view, detail) {
  if (!detail) return [el('p', {}, 'Loading.')];
  const steps = detail.next.length === 0 ? [] : [
    el('p', {}, 'Possible commands, from a terminal:'),
    el('ul', {}, ...detail.next.map((step) => el('li', {}, el('code', {}, step)))),
  ];
  return [...steps, ...detail.policy.waves.map((one, index) => wave(view, detail, one, index))];
}
function rollout({ view, detail }) {
  const buttons = commandsOf(view, detail).map((name) =>
    el('button', { type: 'button', onclick: () => command(view, name) }, name));
  const about = 'wave ' + (view.wave + 1) + ' of ' + view.waves + ', ' +
    counted(view.devices, 'device');
  return el('article', {},
    el('h3', {}, release(view.release) + ' ', state(view.state), ' ' + about + ' ',
      el('code', {}, view.id)),
    el('pre', {}, (detail || view).reasons.join('\\n') || '-'),
    el('div', {}, ...buttons),
    el('details', {
      open: isOpen(view),
      ontoggle: (event) => {
        if (event.target.open === isOpen(view)) return;
        opened.set(view.id, event.target.open);
        if (event.target.open) refresh();
      },
    }, el('summary', {}, 'Waves and devices'), ...rolloutBody(view, detail)));
}
function rollouts(list) {
  return list.items.length === 0 ? none() : [...list.items.map(rollout), ...more('rollouts', list)];
}
/** What the operator opened or closed; the others are open while they are active. */
const opened = new Map();
const isOpen = (view) => opened.get(view.id) ?? ACTIVE.includes(view.state);
/** With its first devices; the counts of its detail are of all. */
async function detailOf(id) {
  const path = '/rollouts/' + encodeURIComponent(id);
  const [detail, members] =
    await Promise.all([api('GET', path), api('GET', path + '/members?limit=' + PAGE)]);
  return { ...detail, members: members.items };
}
async function withDetails(list) {
  const items = [];
  for (const view of list.items) {
    items.push({ view, detail: isOpen(view) ? await detailOf(view.id) : null });
  }
  return { items, more: list.more };
}
const shown = {};
/** Replaces a section only when its data changed, so that focus and scrolling survive a refresh. */
function show(id, data, make) {
  const text = JSON.stringify(data);
  if (shown[id] === text) return;
  shown[id] = text;
  byId(id).replaceChildren(...[make(data)].flat());
}
async function look() {
  const [fleet, published, staged] =
    await Promise.all([list('devices'), list('releases'), list('rollouts')]);
  show('rollouts', await withDetails(staged), rollouts);
  show('devices', fleet, devices);
  show('releases', published, releases);
}
let timer = 0;
async function turn() {
  try {
    await look();
    byId('login').hidden = true; byId('fleet').hidden = false; byId('leave').hidden = false;
    say('Up to date at ' + new Date().toLocaleTimeString());
  } catch (error) {
    say(error.message, true);
    // The token will not become valid: the operator enters another one.
    if (error.status === 401) return signIn();
  }
  timer = setTimeout(turn, 2000);
}
function signIn() {
  sessionStorage.removeItem(KEY);
  byId('login').hidden = false; byId('fleet').hidden = true; byId('leave').hidden = true;
}
function refresh() {
  clearTimeout(timer);
  turn();
}
byId('login').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, byId('token').value.trim());
  byId('token').value = '';
  refresh();
});
byId('leave').addEventListener('click', () => {
  sessionStorage.removeItem(KEY);
  location.reload();
});
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
<p><button type="button" id="leave" hidden>Forget token</button>
<span id="status" role="status">Enter an operator token to begin.</span></p>
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
