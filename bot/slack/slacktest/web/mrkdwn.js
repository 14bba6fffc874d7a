import { h, safe } from './dom.js';
import { emoji } from './emoji.js';

// Slack's own markup: https://docs.slack.dev/messaging/formatting-message-text
const decode = (s) => s.replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&amp;/g, '&');
const named = (s) => s.replace(/:([a-z0-9_+-]+)(?:::skin-tone-\d)?:/g, (all, name) => emoji[name] ?? all);

export const plain = (s, withEmoji = true) => (withEmoji ? named(s) : s);

const before = '(^|[\\s(\\[{"\'*_~.,;:!?/—–-])', after = '(?=$|[\\s)\\]}"\'*_~.,;:!?/—–-])';
const rules = [
  [/`([^`\n]+)`/, (m) => h('code', {}, decode(m[1]))],
  [/<([^<>\n]+)>/, (m, names) => angle(m[1], names)],
  [new RegExp(before + '\\*(?=\\S)([^*\\n]*[^\\s*])\\*' + after), (m, names) => [decode(m[1]), h('b', {}, inline(m[2], names))]],
  [new RegExp(before + '_(?=\\S)([^_\\n]*[^\\s_])_' + after), (m, names) => [decode(m[1]), h('i', {}, inline(m[2], names))]],
  [new RegExp(before + '~(?=\\S)([^~\\n]*[^\\s~])~' + after), (m, names) => [decode(m[1]), h('s', {}, inline(m[2], names))]],
  [/(^|[\s(])(https?:\/\/[^\s<>|)]+)/, (m) => [m[1], h('a', { href: decode(m[2]), target: '_blank', rel: 'noreferrer' }, decode(m[2]))], 'unless verbatim'],
];

export function inline(s, names) {
  const out = [];
  while (s) {
    let first = null, rule = null;
    for (const r of rules) {
      if (r[2] && names.verbatim) continue; // plain text stays that: https://docs.slack.dev/reference/block-kit/composition-objects/text-object
      const m = r[0].exec(s);
      if (m && (!first || m.index < first.index)) [first, rule] = [m, r];
    }
    if (!first) {
      out.push(decode(named(s)));
      break;
    }
    if (first.index) out.push(decode(named(s.slice(0, first.index))));
    out.push(rule[1](first, names));
    s = s.slice(first.index + first[0].length);
  }
  return out;
}

function angle(inside, names) {
  const [what, label] = inside.split(/\|(.*)/s);
  if (what.startsWith('@')) return h('span.mention', {}, '@' + (names.people.get(what.slice(1))?.name ?? label ?? what.slice(1)));
  if (what.startsWith('#')) return h('span.mention', {}, '#' + (names.channels[what.slice(1)] ?? label ?? what.slice(1)));
  if (what.startsWith('!subteam^')) return h('span.mention', {}, '@' + (names.groups[what.slice(9)] ?? label?.replace(/^@/, '') ?? what));
  if (what.startsWith('!date^')) return h('span.date', { title: decode(label ?? '') }, date(what, label));
  if (what.startsWith('!')) return h('span.mention', {}, '@' + what.slice(1).split('^')[0]);
  const href = safe(decode(what));
  return href ? h('a', { href, target: '_blank', rel: 'noreferrer' }, label ? inlineLabel(label, names) : decode(what)) : decode('<' + inside + '>');
}

// A label knows bold and code, but no links.
const inlineLabel = (label, names) => inline(label.replace(/<[^>]*>/g, ''), names);

function date(what, label) {
  const [, seconds, form] = what.split('^');
  const d = new Date(Number(seconds) * 1000);
  if (Number.isNaN(d.getTime())) return decode(label ?? '');
  const zone = document.body.dataset.bare ? { timeZone: 'UTC' } : {};
  const day = (o) => d.toLocaleDateString('en', { ...o, ...zone });
  const parts = {
    '{date_num}': d.toISOString().slice(0, 10), '{date}': day({ dateStyle: 'long' }), '{date_short}': day({ dateStyle: 'medium' }), '{date_long}': day({ dateStyle: 'full' }),
    '{date_pretty}': day({ dateStyle: 'long' }), '{date_short_pretty}': day({ dateStyle: 'medium' }), '{date_long_pretty}': day({ dateStyle: 'full' }),
    '{time}': d.toLocaleTimeString('en', { timeStyle: 'short', ...zone }), '{time_secs}': d.toLocaleTimeString('en', { timeStyle: 'medium', ...zone }),
  };
  return form.replace(/\{\w+\}/g, (p) => parts[p] ?? p);
}

// mrkdwn draws a text of several lines.
export function mrkdwn(text, names) {
  const out = [];
  const pieces = text.split(/```\n?([\s\S]*?)```/);
  pieces.forEach((piece, i) => {
    if (i % 2) out.push(h('pre', {}, decode(piece.replace(/<((?:https?:|mailto:|[@#!])[^<>|\n]*)(?:\|([^<>\n]*))?>/g, (all, a, b) => b ?? a).replace(/\n$/, ''))));
    else out.push(...lines(i ? piece.replace(/^\n/, '') : piece, names, i < pieces.length - 1));
  });
  return h('div.mrkdwn', {}, out);
}

function lines(text, names, beforePre) {
  const out = [];
  let quote = null;
  const all = text.split('\n');
  if (beforePre && all.at(-1) === '') all.pop();
  if (all.length === 1 && all[0] === '') return out;
  all.forEach((line, i) => {
    const quoted = /^(?:&gt;|>)\s?(.*)$/.exec(line);
    if (quoted) {
      if (!quote) out.push((quote = h('blockquote')));
      else quote.append(h('br'));
      quote.append(...inline(quoted[1], names).flat(Infinity));
      return;
    }
    if (i > 0 && !quote) out.push(h('br'));
    quote = null;
    out.push(inline(line, names));
  });
  return out.flat(Infinity);
}

// markdown draws the little of Markdown that a markdown block is wanted for.
export function markdown(text, names) {
  const turn = (s) => s.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>(?!\s)/g, '&gt;')
    .replace(/\[([^\]]*)\]\((https?:[^)\s]+)\)/g, '<$2|$1>').replace(/\*\*([^*]+)\*\*/g, '\u0001$1\u0001')
    .replace(/(^|[\s(])\*([^*\n]+)\*/g, '$1_$2_').replace(/\u0001/g, '*').replace(/~~([^~]+)~~/g, '~$1~')
    .replace(/^#{1,6} (.*)$/gm, '*$1*').replace(/^(\s*)[-*] /gm, '$1• ');
  return mrkdwn(text.split(/(```[\s\S]*?```)/).map((p, i) => (i % 2 ? p.replace(/^```\w*\n/, '```') : turn(p))).join(''), names);
}
