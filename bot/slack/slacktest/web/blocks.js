import { h, icon, safe } from './dom.js';
import { inline, markdown, mrkdwn, plain } from './mrkdwn.js';

// blocks draws a list of blocks. ctx has names, act(block, element, value), and,
// in views, values and errors.
export function blocks(all, ctx) {
  return h('div.blocks', {}, (all ?? []).map((b) => (draw[b.type] ?? unknown)(b, ctx)));
}

const unknown = (b) => h('div.unknown', {}, `A ${b.type} block, which this stand-in does not draw.`);

export function text(t, ctx) {
  if (!t) return null;
  return t.type === 'mrkdwn' ? mrkdwn(t.text, { ...ctx.names, verbatim: t.verbatim }) : h('div.plain', {}, plain(t.text, t.emoji !== false));
}

const draw = {
  header: (b) => h('h3.header', {}, plain(b.text.text, b.text.emoji !== false)),
  divider: () => h('hr'),
  section: (b, ctx) => h('div.section', {},
    h('div.words', {}, text(b.text, ctx), b.fields && h('div.fields', {}, b.fields.map((f) => h('div.field', {}, text(f, ctx))))),
    b.accessory && h('div.accessory', {}, element(b, b.accessory, ctx))),
  context: (b, ctx) => h('div.context', {}, b.elements.map((e) => (e.type === 'image' ? h('img', { src: safe(e.image_url), alt: e.alt_text }) : text(e, ctx)))),
  actions: (b, ctx) => h('div.actions', {}, b.elements.map((e) => element(b, e, ctx))),
  image: (b, ctx) => h('figure', {}, b.title && h('figcaption', {}, plain(b.title.text)), h('img', { src: safe(b.image_url), alt: b.alt_text })),
  markdown: (b, ctx) => markdown(b.text, ctx.names),
  input: (b, ctx) => {
    const error = ctx.errors?.[b.block_id];
    return h('div.input' + (error ? '.wrong' : ''), {},
      h('label', {}, h('span.label', {}, plain(b.label.text), b.optional && h('span.optional', {}, ' (optional)')), element(b, b.element, ctx)),
      error && h('div.error', { role: 'alert' }, error), b.hint && h('div.hint', {}, plain(b.hint.text)));
  },
  rich_text: (b, ctx) => h('div.rich', {}, b.elements.map((e) => rich(e, ctx))),
  table: (b, ctx) => h('div.table', {}, h('table', {}, b.rows.map((row, i) => h('tr', {}, row.map((cell) => h(i ? 'td' : 'th', {}, cell.type === 'rich_text' ? draw.rich_text(cell, ctx) : cell.text)))))),
  alert: (b, ctx) => h('div.alert.' + (b.level ?? 'default'), {}, text(b.text, ctx)),
};

function rich(e, ctx) {
  const kids = () => (e.elements ?? []).map((k) => richInline(k, ctx));
  switch (e.type) {
    case 'rich_text_preformatted': return h('pre', {}, kids());
    case 'rich_text_quote': return h('blockquote', {}, kids());
    case 'rich_text_list': return h(e.style === 'ordered' ? 'ol' : 'ul', { start: e.offset ? e.offset + 1 : undefined, style: { marginLeft: `${(e.indent ?? 0) * 24}px` } }, e.elements.map((s) => h('li', {}, rich(s, ctx))));
    default: return h('div.rich-section', {}, kids());
  }
}

function richInline(k, ctx) {
  const styled = (node) => {
    for (const [on, tag] of Object.entries({ bold: 'b', italic: 'i', strike: 's', code: 'code' })) if (k.style?.[on]) node = h(tag, {}, node);
    return node;
  };
  switch (k.type) {
    case 'link': return styled(h('a', { href: safe(k.url), target: '_blank', rel: 'noreferrer' }, k.text ?? k.url));
    case 'emoji': return plain(`:${k.name}:`);
    case 'user': return h('span.mention', {}, '@' + (ctx.names.people.get(k.user_id)?.name ?? k.user_id));
    case 'usergroup': return h('span.mention', {}, '@' + (ctx.names.groups[k.usergroup_id] ?? k.usergroup_id));
    case 'channel': return h('span.mention', {}, '#' + (ctx.names.channels[k.channel_id] ?? k.channel_id));
    case 'broadcast': return h('span.mention', {}, '@' + k.range);
    case 'date': return inline(`<!date^${k.timestamp}^${k.format}|${k.fallback ?? ''}>`, ctx.names);
    default: return styled(k.text ?? '');
  }
}

const optionsOf = (e) => (e.options ?? []).concat((e.option_groups ?? []).flatMap((g) => g.options));

// element draws what people use. In an input block it remembers what was entered
// in ctx.values, by block; elsewhere using it tells the app at once.
function element(b, e, ctx) {
  const entering = b.type === 'input';
  const remember = (value) => { ctx.values[b.block_id] = value; if (b.dispatch_action) tell(value); };
  const tell = (value) => ctx.confirm(e.confirm, () => ctx.act(b, e, value));
  const change = entering ? remember : tell;
  const initial = entering ? ctx.values[b.block_id] : undefined;
  const id = { 'data-action': e.action_id };
  switch (e.type) {
    case 'button': return button(b, e, ctx, tell);
    case 'image': return h('img.thumb', { src: safe(e.image_url), alt: e.alt_text });
    case 'overflow': return h('button.btn.more', { ...id, type: 'button', 'aria-label': 'More', onclick: (ev) => ctx.menu(ev.currentTarget, e.options, (o) => { if (safe(o.url)) window.open(o.url, '_blank', 'noreferrer'); tell(o.value); }) }, icon('more'));
    case 'plain_text_input': case 'email_text_input': case 'url_text_input': case 'number_input': {
      const tag = e.multiline ? 'textarea' : 'input';
      const field = h(tag, { ...id, placeholder: e.placeholder?.text, maxlength: e.max_length && String(e.max_length), rows: e.multiline ? '4' : undefined, type: tag === 'input' ? ({ email_text_input: 'email', url_text_input: 'url', number_input: 'number' }[e.type] ?? 'text') : undefined,
        oninput: (ev) => { if (entering) ctx.values[b.block_id] = ev.target.value; }, onkeydown: (ev) => { if (!entering && ev.key === 'Enter') tell(ev.target.value); } });
      field.value = initial ?? e.initial_value ?? '';
      if (e.focus_on_load) field.dataset.focus = '1';
      return field;
    }
    case 'static_select': case 'external_select': case 'users_select': case 'channels_select': case 'conversations_select': return select(b, e, ctx, initial, change, id);
    case 'radio_buttons': case 'checkboxes': {
      const many = e.type === 'checkboxes';
      const chosen = new Set(initial !== undefined ? String(initial).split('\n') : (many ? (e.initial_options ?? []).map((o) => o.value) : [e.initial_option?.value]));
      const set = h('div.choices', id, e.options.map((o) => h('label.choice', {},
        h('input', { type: many ? 'checkbox' : 'radio', name: b.block_id + e.action_id, value: o.value, checked: chosen.has(o.value),
          onchange: () => change([...set.querySelectorAll('input:checked')].map((i) => i.value).join('\n')) }),
        h('span', {}, text(o.text, ctx), o.description && h('small', {}, text(o.description, ctx))))));
      return set;
    }
    case 'datepicker': case 'timepicker': {
      const field = h('input.pick', { ...id, type: e.type === 'datepicker' ? 'date' : 'time', onchange: (ev) => change(ev.target.value) });
      field.value = initial ?? e.initial_date ?? e.initial_time ?? '';
      return field;
    }
    default:
      if (e.type.startsWith('multi_')) {
        const chosen = new Set(String(initial ?? (e.initial_options ?? []).map((o) => o.value).join('\n')).split('\n'));
        return h('select.many', { ...id, multiple: true, size: '4', onchange: (ev) => change([...ev.target.selectedOptions].map((o) => o.value).join('\n')) },
          pickable(e, ctx).map(([value, label]) => h('option', { value, selected: chosen.has(value) }, label)));
      }
      return h('span.unknown', {}, `A ${e.type}, which this stand-in does not draw.`);
  }
}

// pickable are the values and labels that a menu has.
function pickable(e, ctx) {
  if (e.type.includes('users')) return [...ctx.names.people.values()].filter((p) => !p.bot && !p.deleted).map((p) => [p.id, p.real]);
  if (e.type.includes('channels') || e.type.includes('conversations')) return Object.entries(ctx.names.channels).map(([id, name]) => [id, '#' + name]);
  return optionsOf(e).map((o) => [o.value, plain(o.text.text)]);
}

function select(b, e, ctx, initial, change, id) {
  if (e.type === 'external_select') {
    const list = h('datalist', { id: 'list-' + b.block_id + e.action_id });
    const field = h('input', { ...id, type: 'text', list: list.id, placeholder: e.placeholder?.text ?? 'Type to search', onchange: (ev) => change(ev.target.value),
      oninput: async (ev) => {
        if (ev.target.value.length < (e.min_query_length ?? 3)) return;
        const found = await ctx.suggest(e, ev.target.value);
        list.replaceChildren(...found.map((value) => h('option', { value })));
      } });
    field.value = initial ?? e.initial_option?.value ?? '';
    return h('span', {}, field, list);
  }
  const chosen = initial ?? e.initial_option?.value ?? e.initial_user ?? e.initial_channel ?? e.initial_conversation ?? '';
  const options = e.option_groups
    ? e.option_groups.map((g) => h('optgroup', { label: plain(g.label.text) }, g.options.map((o) => h('option', { value: o.value, selected: o.value === chosen }, plain(o.text.text)))))
    : pickable(e, ctx).map(([value, label]) => h('option', { value, selected: value === chosen }, label));
  return h('select', { ...id, onchange: (ev) => change(ev.target.value) }, h('option', { value: '', selected: !chosen }, e.placeholder?.text ?? 'Choose…'), options);
}

function button(b, e, ctx, tell) {
  const href = safe(e.url);
  const press = (ev) => {
    ev.currentTarget.classList.add('busy');
    if (href) window.open(href, '_blank', 'noreferrer');
    tell(e.value);
  };
  return h('button.btn' + (e.style ? '.' + e.style : ''), { 'data-action': e.action_id, type: 'button', 'aria-label': e.accessibility_label, title: href, onclick: press }, plain(e.text.text));
}

// attachments draws what stands below a message, with a coloured bar.
export function attachments(all, ctx) {
  const colours = { good: '#2eb67d', warning: '#ecb22e', danger: '#e01e5a' };
  return (all ?? []).map((a) => {
    const colour = colours[a.color] ?? (a.color ? (a.color.startsWith('#') ? a.color : '#' + a.color) : '#dddddd');
    const words = (s, name) => (a.mrkdwn_in && !a.mrkdwn_in.includes(name) ? h('div.plain', {}, s) : mrkdwn(s, ctx.names));
    return h('div.attached', {}, a.pretext && words(a.pretext, 'pretext'),
      h('div.attachment', { style: { borderLeftColor: colour } },
        a.author_name && h('div.by', {}, a.author_name),
        a.title && h('div.title', {}, safe(a.title_link) ? h('a', { href: a.title_link, target: '_blank', rel: 'noreferrer' }, a.title) : a.title),
        a.text && words(a.text, 'text'), a.fields && h('div.fields', {}, a.fields.map((f) => h('div.field' + (f.short ? '' : '.long'), {}, h('b', {}, f.title), words(f.value, 'fields')))),
        a.blocks && blocks(a.blocks, ctx), safe(a.image_url) && h('img', { src: a.image_url, alt: a.fallback ?? '' }), a.footer && h('div.footer', {}, plain(a.footer))));
  });
}
