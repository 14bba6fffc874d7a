import { h, icon } from './dom.js';
import { attachments, blocks } from './blocks.js';
import { mrkdwn, plain } from './mrkdwn.js';

const root = document.body.dataset.root, path = document.body.dataset.path;
const bare = new URLSearchParams(location.search).has('bare');
if (bare) document.body.dataset.bare = '1';
const $ = (id) => document.getElementById(id);

// What this browser looks at. It stands in the address, so that it can be shared.
const look = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
if (bare) look.as = new URLSearchParams(location.search).get('as') ?? '';
const read = {}; // by person and channel: the newest message that was shown
const entered = {}; // by view: what was typed into it
let state = null, names = null, drawn = '', running = null, again = false;

function go(changes) {
  Object.assign(look, changes);
  for (const key of Object.keys(look)) if (!look[key]) delete look[key];
  history.replaceState(null, '', '#' + new URLSearchParams(look));
  refresh();
}

// While a button of the mouse is down nothing is drawn: what is replaced or moves
// before it comes up gets no click. One that comes up elsewhere is noticed when the
// mouse is back.
let held = null;
addEventListener('pointerdown', () => {
  if (held) return;
  held = {};
  held.over = new Promise((over) => { held.end = over; });
}, true);
function release() {
  const was = held;
  setTimeout(() => { // The click comes first.
    if (!was || held !== was) return;
    held = null;
    was.end();
  });
}
for (const what of ['pointerup', 'pointercancel', 'contextmenu']) addEventListener(what, release, true);
addEventListener('pointermove', (ev) => { if (!ev.buttons) release(); }, true);
addEventListener('blur', (ev) => { if (ev.target === window) release(); });

const alone = /\/page\/(message|view)\/([^/]+)(?:\/([^/]+))?$/.exec(path);

function question() {
  const ask = new URLSearchParams({ as: look.as ?? '', channel: look.channel ?? '' });
  if (alone) ask.set(alone[1] === 'view' ? 'view' : 'channel', alone[2]);
  return ask.toString();
}

// refresh fetches what there is to see. Asked for while it does, it does so again.
function refresh() {
  again = true;
  running ??= (async () => {
    while (again) {
      again = false;
      try {
        const asked = question(), found = await (await fetch(root + 'page/state?' + asked)).json();
        while (held) {
          document.body.dataset.held = ''; // What is new waits.
          await held.over;
        }
        delete document.body.dataset.held;
        if (asked !== question()) continue; // Whoever went elsewhere meanwhile is shown that.
        state = found;
        names = { people: new Map(state.people.map((p) => [p.id, p])), groups: state.groups, channels: state.names };
        if (alone) drawAlone(alone); else draw();
      } catch (e) { console.error(e); } // The live stream tells when the stand-in is back.
    }
    running = null;
  })();
  return running;
}

async function act(deed) {
  const res = await fetch(root + 'page/do', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ as: state.me, ...deed }) });
  const out = await res.json();
  if (out.error) toast(out.error);
  document.querySelectorAll('.btn.busy').forEach((b) => b.classList.remove('busy'));
  refresh();
  return out;
}

function toast(text) {
  const t = h('div.toast', { role: 'status' }, text);
  $('layer').append(t);
  setTimeout(() => t.remove(), 5000);
}

// ---- people

function hue(id) {
  let n = 0;
  for (const c of id) n = (n * 31 + c.charCodeAt(0)) % 100003;
  return (n * 137) % 360; // About the golden angle: neighbours look unlike.
}

function face(p, kind = '') {
  const own = p?.id === state.bot || (p?.bot && p.id !== 'USLACKBOT');
  const letters = own ? '⚓\uFE0E' : (p?.real ?? '?').split(/\s+/).map((w) => w[0]).slice(0, 2).join('');
  const background = own ? '#12354f' : p?.id === 'USLACKBOT' ? '#6b7280' : `hsl(${hue(p?.id ?? '')} 42% 46%)`;
  return h('span.face' + kind, { style: { background }, 'aria-hidden': 'true' }, letters);
}

function clock(ts, long) {
  const zone = bare ? { timeZone: 'UTC' } : {};
  const d = new Date(Number(ts) * 1000);
  return long ? d.toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'medium', ...zone }) : d.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit', ...zone });
}

// ---- messages

const kept = new Map();

function message(m, where, follows) {
  const key = where + m.ts;
  const words = JSON.stringify(m), sum = words + follows + state.me;
  const old = kept.get(key);
  if (old?.sum === sum) return old.node;
  const node = drawMessage(m, where, follows);
  const open = [...old?.node.querySelectorAll('details') ?? []].map((d) => d.open);
  node.querySelectorAll('details').forEach((d, i) => { d.open = !!open[i]; });
  if (old && old.words !== words) node.classList.add('fresh');
  kept.set(key, { sum, words, node });
  return node;
}

function context(m) {
  const channel = state.channel;
  return {
    names, values: {}, menu, confirm,
    act: (b, e, value) => act({ do: 'act', channel, ts: m.ts, blockID: b.block_id, actionID: e.action_id, value: value ?? '' }),
  };
}

function drawMessage(m, where, follows) {
  const who = names.people.get(m.user), ctx = context(m);
  const head = h('div.who', {}, h('b', {}, m.username || who?.real || m.user), (who?.bot && who.id !== 'USLACKBOT') && h('span.app', {}, 'APP'),
    m.only ? null : h('a.time', { href: m.permalink, title: clock(m.ts, true) }, clock(m.ts)));
  const body = h('div.body', {}, follows ? null : head,
    m.blocks?.length ? blocks(m.blocks, ctx) : m.text && h('div.words', {}, m.plain ? h('div.plain', {}, m.text) : mrkdwn(m.text, names)),
    attachments(m.attachments, ctx),
    (m.files ?? []).map((f) => h('details.file', {}, h('summary', {}, icon('file'), h('span', {}, f.title || f.name), h('small', {}, `${f.size} bytes`)), h('pre', {}, f.text))),
    m.edited && h('small.edited', {}, '(edited)'),
    m.reactions?.length > 0 && h('div.reactions', {}, m.reactions.map((r) => h('span.reaction', {}, plain(`:${r}:`), ' 1'))),
    where === 'main' && m.reply_count > 0 && h('button.replies', { type: 'button', onclick: () => go({ thread: m.ts }) },
      m.reply_users.slice(0, 3).map((id) => face(names.people.get(id), '.tiny')), h('b', {}, m.reply_count === 1 ? '1 reply' : `${m.reply_count} replies`), h('span', {}, `Last at ${clock(m.latest_reply)}`)));
  return h('article.message' + (m.only ? '.only' : '') + (follows ? '.follows' : ''), { id: where + '-' + m.ts, 'data-ts': m.ts },
    m.only && h('div.visible', {}, icon('eye'), 'Only visible to you', h('button.link', { type: 'button', onclick: () => act({ do: 'dismiss', channel: state.channel, ts: m.ts }) }, 'Dismiss')),
    where === 'main' && m.broadcast && m.thread_ts && h('div.visible', {}, 'replied to a thread'),
    h('div.row', {}, follows ? h('span.gutter', {}, clock(m.ts)) : face(who), body),
    where === 'main' && !m.only && !bare && h('div.tools', {},
      h('button.tool', { type: 'button', title: 'Reply in thread', 'aria-label': 'Reply in thread', onclick: () => go({ thread: m.thread_ts ?? m.ts }) }, icon('reply')),
      state.app.shortcuts.length > 0 && h('button.tool', { type: 'button', title: 'More actions', 'aria-label': 'More actions', onclick: (ev) => shortcuts(ev.currentTarget, m) }, icon('more'))));
}

// shortcuts offers what the app does with a message.
function shortcuts(at, m) {
  menu(at, state.app.shortcuts.map((s) => ({ id: s.id, text: { text: s.name }, description: { text: state.app.name } })), (s) => act({ do: 'shortcut', channel: state.channel, ts: m.ts, callbackID: s.id }));
}

function list(messages, where) {
  let last = null;
  return messages.map((m) => {
    const follows = !!last && last.user === m.user && !last.only && !m.only && !last.reply_count && Number(m.ts) - Number(last.ts) < 240 && !m.username && !m.blocks && !m.attachments;
    last = m;
    return message(m, where, follows);
  });
}

// fill puts nodes in place of what stands there, and tells whether that changed
// anything. What stays is not touched, so that it keeps its focus.
function fill(box, nodes) {
  let changed = false;
  const stay = new Set(nodes);
  for (const old of [...box.childNodes]) if (!stay.has(old)) { old.remove(); changed = true; }
  let at = box.firstChild;
  for (const node of nodes) {
    if (node === at) { at = at.nextSibling; continue; }
    box.insertBefore(node, at);
    changed = true;
  }
  return changed;
}

const atEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 60;
const toEnd = (box) => { box.scrollTop = box.scrollHeight; };

// part makes a node, unless what it is made from is as it was; the focus goes to
// the one that takes its place.
const parts = new Map();
function part(name, from, make) {
  const sum = JSON.stringify(from), old = parts.get(name);
  if (old?.sum === sum) return old.node;
  const node = make();
  if (old && old.node === document.activeElement) setTimeout(() => node.focus({ preventScroll: true }));
  parts.set(name, { sum, node });
  return node;
}

// ---- the client

function draw() {
  const sum = JSON.stringify([state, look]);
  if (sum === drawn) return;
  drawn = sum;
  read[state.me + state.channel] = state.channels.find((c) => c.id === state.channel)?.last;
  const c = state.channels.find((o) => o.id === state.channel);
  if (c?.dm && !look.tab) look.tab = 'home';
  const box = $('messages'), where = [state.me, state.channel, look.tab].join(), moved = draw.where !== where, threaded = draw.thread !== look.thread;
  const end = moved || atEnd(box);
  Object.assign(draw, { where, thread: look.thread });
  drawSide();
  drawTop(c);
  const home = c?.dm && look.tab !== 'messages';
  $('composer').hidden = home;
  $('messages').classList.toggle('home', !!home);
  drawComposer($('composer'), c, '');
  drawThread(c);
  if (home) {
    drawHome();
    if (moved) box.scrollTop = 0;
  } else {
    const empty = part('empty', [c?.dm, state.app], () => h('p.empty', {}, c?.dm ? `Type \u201c${state.app.command} help\u201d, or just \u201chelp\u201d.` : `Nothing was said here yet. Try ${state.app.command} help.`));
    const main = list(state.messages.filter((m) => !m.thread_ts || m.thread_ts === m.ts || m.broadcast), 'main');
    if ((fill(box, state.messages.length ? main : [empty, ...main]) || moved || threaded) && end) toEnd(box);
  }
  drawModal();
  document.title = (c ? (c.dm ? state.app.name : '#' + c.name) + ' \u00b7 ' : '') + 'Slack stand-in';
  if (look.message) {
    const at = $('main-' + look.message) ?? $('thread-' + look.message);
    at?.scrollIntoView({ block: 'center' });
    at?.classList.add('fresh');
    go({ message: '' });
  }
}

function drawSide() {
  const people = state.people.filter((p) => !p.bot && !p.deleted);
  const entry = (c) => {
    const here = c.id === state.channel;
    const unread = read[state.me + c.id] !== undefined && c.last && read[state.me + c.id] !== c.last && !here;
    if (read[state.me + c.id] === undefined) read[state.me + c.id] = c.last;
    return part('entry ' + c.id, [here, unread, c.name, c.private, c.archived, c.dm, state.app.name], () => h('button.entry' + (here ? '.here' : '') + (unread ? '.unread' : ''), { type: 'button', 'data-channel': c.id, onclick: () => open(c) },
      c.dm ? face(names.people.get(state.bot) ?? { bot: true, id: 'app' }, '.tiny') : c.private ? icon('lock') : h('span.hash', {}, '#'), h('span', {}, c.dm ? state.app.name : c.name), c.archived && h('small', {}, 'archived'), unread && h('span.dot')));
  };
  const person = (p) => part('person ' + p.id, [p, p.id === state.me], () => h('button.person' + (p.id === state.me ? '.here' : ''), { type: 'button', 'data-person': p.id, title: p.real, onclick: () => go({ as: p.id, thread: '' }) }, face(p, '.small'), h('span', {}, p.real)));
  const caption = (text) => part(text, [], () => h('div.caption', {}, text));
  const faces = part('faces', [], () => h('div.faces'));
  fill(faces, people.map(person));
  const direct = state.channels.filter((c) => c.dm);
  fill($('side'), [
    part('team', [state.team], () => h('div.team', {}, h('b', {}, state.team ?? 'Slack'), h('small', {}, 'A stand-in, not Slack'))),
    part('acting', [], () => h('div.acting', {}, h('span.caption', {}, 'Acting as'), faces)),
    caption('Channels'), ...state.channels.filter((c) => !c.dm).map(entry),
    caption('Apps'), direct.length ? direct.map(entry)[0] : part('no entry', [state.app.name], () => h('button.entry', { type: 'button', 'data-channel': 'app', onclick: async () => { const made = await act({ do: 'dm' }); if (made.channel) open({ id: made.channel, dm: true }); } }, face({ bot: true, id: 'app' }, '.tiny'), h('span', {}, state.app.name)))]);
}

function open(c) {
  if (c.dm) act({ do: 'home' });
  go({ channel: c.id, thread: '', tab: c.dm ? 'home' : '' });
}

function drawTop(c) {
  const from = JSON.stringify([c, look.tab, state.app.name]);
  if (drawTop.from === from) return;
  drawTop.from = from;
  if (!c) return $('top').replaceChildren();
  const tab = (id, label) => h('button.tab' + ((look.tab ?? 'home') === id ? '.here' : ''), { type: 'button', 'data-tab': id, onclick: () => { if (id === 'home') act({ do: 'home' }); go({ tab: id }); } }, label);
  $('top').replaceChildren(...(c.dm ? [face({ bot: true, id: 'app' }, '.small'), h('h1', {}, state.app.name), h('div.tabs', {}, tab('home', 'Home'), tab('messages', 'Messages'))]
    : [h('h1', {}, c.private ? icon('lock') : h('span.hash', {}, '#'), c.name), c.topic && h('small', {}, c.topic)]));
}

function drawHome() {
  const v = state.home;
  const ctx = v && { ...viewContext(v), values: (entered[v.id] ??= {}) };
  fill($('messages'), [part('home', [state.me, v], () => (v ? blocks(v.blocks, ctx) : h('p.empty', {}, `${state.app.name} has not shown anything here yet.`)))]);
}

function drawComposer(box, c, thread) {
  if (box.dataset.for === state.channel + thread && box.childElementCount) return;
  box.dataset.for = state.channel + thread;
  if (c?.archived) return box.replaceChildren(h('p.empty', {}, 'This channel is archived.'));
  const field = h('textarea', { rows: '1', 'aria-label': 'Message', placeholder: thread ? 'Reply\u2026' : c?.dm ? `Message ${state.app.name}` : `Message #${c?.name ?? ''}` });
  const hint = h('button.slash', { type: 'button', hidden: true, onclick: () => { field.value = state.app.command + ' '; hint.hidden = true; field.focus(); } });
  const send = () => {
    const text = field.value.trim();
    if (!text) return;
    field.value = '';
    grow();
    act({ do: 'say', channel: state.channel, thread, text });
  };
  const grow = () => {
    if (!field.value.trim()) field.value = '';
    field.style.height = 'auto';
    field.style.height = Math.min(field.scrollHeight, 180) + 'px';
    const starts = field.value.startsWith('/') && state.app.command.startsWith(field.value);
    hint.hidden = !starts;
    if (starts) hint.replaceChildren(face({ bot: true, id: 'app' }, '.tiny'), h('b', {}, state.app.command), h('span', {}, thread ? `does not work in threads: say @${state.app.name.toLowerCase()}` : `[command]  e.g. deploy shop/pr-7`));
  };
  field.addEventListener('input', grow);
  field.addEventListener('keydown', (ev) => {
    if (ev.key === 'Enter' && !ev.shiftKey) { ev.preventDefault(); send(); }
    if (ev.key === 'Tab' && !hint.hidden) { ev.preventDefault(); hint.click(); }
  });
  box.replaceChildren(h('div.write', {}, hint, field, h('button.send', { type: 'button', 'aria-label': 'Send', onclick: send }, icon('send'))));
}

function drawThread(c) {
  const box = $('thread');
  box.hidden = !look.thread;
  document.body.classList.toggle('threaded', !!look.thread);
  if (!look.thread) { delete box.dataset.root; return; }
  if (box.dataset.root !== look.thread + state.channel) {
    box.dataset.root = look.thread + state.channel;
    box.replaceChildren(h('header', {}, h('h1', {}, 'Thread'), h('button.tool', { type: 'button', 'aria-label': 'Close the thread', onclick: () => go({ thread: '' }) }, icon('close'))), h('div.replylist'), h('div.composer'));
  }
  drawComposer(box.querySelector('.composer'), c, look.thread);
  const first = state.messages.find((m) => m.ts === look.thread);
  const replies = state.messages.filter((m) => m.thread_ts === look.thread && m.ts !== look.thread);
  const replied = box.querySelector('.replylist'), end = !replied.childElementCount || atEnd(replied);
  const changed = fill(replied, [first ? message({ ...first, reply_count: 0 }, 'thread', false) : h('p.empty', {}, 'The message was deleted.'),
    ...(replies.length ? [separator(replies.length)] : []), ...list(replies, 'thread')]);
  if (changed && end) toEnd(replied);
}

const separators = new Map();
function separator(n) {
  if (!separators.has(n)) separators.set(n, h('div.separator', {}, n === 1 ? '1 reply' : `${n} replies`));
  return separators.get(n);
}

// ---- modals, dialogs, menus

function viewContext(v) {
  return {
    names, menu, confirm, errors: v.errors,
    act: (b, e, value) => act({ do: 'act_in_view', view: v.id, blockID: b.block_id, actionID: e.action_id, value: value ?? '' }),
    suggest: async (e, typed) => (await act({ do: 'suggest', view: v.id, actionID: e.action_id, value: typed })).options ?? [],
  };
}

let shownModal = '';

function drawModal() {
  const v = state.modals?.at(-1);
  const sum = v ? JSON.stringify([v.id, v.hash, v.errors, state.modals.length]) : '';
  if (sum === shownModal) return;
  shownModal = sum;
  document.querySelector('#layer > .shade.modal')?.remove();
  if (v) $('layer').append(modal(v, state.modals.length));
  document.querySelector('.modal [data-focus]')?.focus();
}

function modal(v, depth) {
  const values = (entered[v.id] ??= {});
  const ctx = { ...viewContext(v), values };
  const close = () => act({ do: 'close', view: v.id });
  const submit = (ev) => {
    ev.preventDefault();
    const all = {};
    for (const b of v.blocks) if (b.type === 'input' && values[b.block_id] !== undefined) all[b.block_id] = values[b.block_id];
    act({ do: 'submit', view: v.id, values: all });
  };
  return h('div.shade.modal', { onclick: (ev) => { if (ev.target === ev.currentTarget) close(); } },
    h('form.dialog', { role: 'dialog', 'aria-modal': 'true', 'aria-label': v.title.text, 'data-view': v.id, onsubmit: submit, onkeydown: (ev) => { if (ev.key === 'Escape') close(); } },
      h('header', {}, depth > 1 && h('button.tool', { type: 'button', 'aria-label': 'Back', onclick: close }, '\u2039'), face({ bot: true, id: 'app' }, '.small'), h('h2', {}, plain(v.title.text)), h('button.tool', { type: 'button', 'aria-label': 'Close', onclick: close }, icon('close'))),
      v.errors?.[''] && h('div.trouble', { role: 'alert' }, v.errors['']),
      h('div.inside', {}, blocks(v.blocks, ctx)),
      h('footer', {}, h('button.btn', { type: 'button', onclick: close }, plain(v.close?.text ?? (v.submit ? 'Cancel' : 'Close'))), v.submit && h('button.btn.primary', { type: 'submit' }, plain(v.submit.text)))));
}

function confirm(c, then) {
  if (!c) return then();
  const done = (yes) => { shade.remove(); document.querySelectorAll('.btn.busy').forEach((b) => b.classList.remove('busy')); if (yes) then(); };
  const shade = h('div.shade.ask', { onclick: (ev) => { if (ev.target === shade) done(false); } },
    h('div.dialog.small', { role: 'alertdialog', 'aria-label': c.title?.text ?? 'Are you sure?', onkeydown: (ev) => { if (ev.key === 'Escape') done(false); } },
      h('header', {}, h('h2', {}, plain(c.title?.text ?? 'Are you sure?')), h('button.tool', { type: 'button', 'aria-label': 'Close', onclick: () => done(false) }, icon('close'))),
      h('div.inside', {}, c.text.type === 'mrkdwn' ? mrkdwn(c.text.text, names) : h('div.plain', {}, plain(c.text.text))),
      h('footer', {}, h('button.btn', { type: 'button', onclick: () => done(false) }, plain(c.deny?.text ?? 'Cancel')), h('button.btn.' + (c.style ?? 'primary'), { type: 'button', 'data-yes': '1', onclick: () => done(true) }, plain(c.confirm?.text ?? 'Yes')))));
  $('layer').append(shade);
  shade.querySelector('[data-yes]').focus();
}

function menu(at, options, choose) {
  const box = at.getBoundingClientRect();
  const shade = h('div.shade.clear', { onclick: () => shade.remove() }, h('div.menu', { role: 'menu', style: { left: Math.min(box.left, innerWidth - 250) + 'px', top: Math.min(box.bottom + 4, innerHeight - 44 * options.length - 12) + 'px' } },
    options.map((o) => h('button', { type: 'button', role: 'menuitem', onclick: () => { shade.remove(); choose(o); } }, plain(o.text.text), o.description && h('small', {}, plain(o.description.text))))));
  $('layer').append(shade);
}

// ---- one thing alone, for pictures

function drawAlone([, what, , ts]) {
  document.body.classList.add('alone');
  const box = $('client');
  const quiet = { names, values: {}, errors: {}, menu, confirm, act: () => {} };
  if (what === 'message') {
    const m = state.messages.find((o) => o.ts === ts);
    box.replaceChildren(m ? drawMessage({ ...m, reply_count: 0 }, 'main', false) : h('p.empty', {}, 'There is no such message.'));
  } else if (!state.view) box.replaceChildren(h('p.empty', {}, 'There is no such view.'));
  else if (state.view.type === 'home') box.replaceChildren(h('div.homepage', {}, blocks(state.view.blocks, quiet)));
  else box.replaceChildren(modal(state.view, 1));
  document.body.dataset.ready = '1';
}

refresh().then(() => {
  if (bare) return;
  const live = new EventSource(root + 'page/live');
  let soon = 0; // Many changes at once are fetched as one.
  live.onmessage = () => { soon ||= setTimeout(() => { soon = 0; refresh(); }, 40); };
});
// A link to a message leads there, in this window.
document.addEventListener('click', (ev) => {
  const href = ev.target.closest?.('a')?.href ?? '';
  const to = /\/archives\/([A-Z0-9]+)\/p(\d{10})(\d{6})(?:\?thread_ts=([\d.]+))?/.exec(href);
  if (!to || !href.startsWith(new URL(root || '.', location.href).href) || bare) return;
  ev.preventDefault();
  go({ channel: to[1], thread: to[4] ?? '', message: `${to[2]}.${to[3]}`, tab: state.channels.find((c) => c.id === to[1])?.dm ? 'messages' : '' });
});
addEventListener('hashchange', () => {
  for (const key of Object.keys(look)) delete look[key];
  Object.assign(look, Object.fromEntries(new URLSearchParams(location.hash.slice(1))));
  refresh();
});
