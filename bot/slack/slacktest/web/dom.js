// h makes an element: h('p.small', {title: 'x', onclick: f}, 'text', child, …).
// Text is only ever set as text, so that no message can become markup.
export function h(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split('.');
  const node = document.createElement(tag || 'div');
  if (classes.length) node.className = classes.join(' ');
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'style') Object.assign(node.style, value);
    else if (name in node && typeof value !== 'string') node[name] = value;
    else node.setAttribute(name, value);
  }
  append(node, children);
  return node;
}

export function append(node, children) {
  for (const c of children.flat(Infinity)) if (c !== null && c !== undefined && c !== false) node.append(c);
}

const shapes = {
  eye: 'M1.5 8s2.4-4.4 6.5-4.4S14.5 8 14.5 8 12.100 12.400 8 12.400 1.500 8 1.500 8Z M8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z',
  close: 'M3.500 3.500l9 9M12.500 3.500l-9 9', send: 'M2 8.500V3l12 5.250L2 13.500V8.500h6', lock: 'M4 7.500h8v6H4zM5.500 7.500V5a2.500 2.500 0 0 1 5 0v2.500',
  more: 'M3.500 8h.01M8 8h.01M12.500 8h.01', reply: 'M2.500 3.500h11v7h-6l-3 2.500v-2.500h-2z', home: 'M2.500 7.500 8 3l5.500 4.500M4 6.500V13h8V6.500', file: 'M4 1.500h5l3 3v10H4zM9 1.500v3h3',
};

export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', shapes[name]);
  svg.append(path);
  return svg;
}

// safe keeps addresses that a browser may follow.
export function safe(url) {
  return /^(https?:|mailto:|slack:)/i.test(url ?? '') ? url : undefined;
}
