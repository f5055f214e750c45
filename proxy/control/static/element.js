// Making and changing elements. Text from the API enters the page here and only as text: nothing
// in the console sets markup, and the page's policy (trusted types) would not let it.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

export function makeSvg(tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

// Writes only what differs, so that a selection, or a screen reader's place, survives.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function mark(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

const nodesOf = new WeakMap();

// Brings the children of `parent` in line with `items`, keeping the element of each key: what has
// the focus keeps it though the list is drawn again every moment.
export function sync(parent, items, keyOf, create, update) {
  const nodes = nodesOf.get(parent) ?? new Map();
  nodesOf.set(parent, nodes);
  const focused = document.activeElement;
  const keys = new Set();
  let place = 0;
  for (const item of items) {
    const key = keyOf(item);
    if (keys.has(key)) continue;
    keys.add(key);
    const node = nodes.get(key) ?? create(item);
    nodes.set(key, node);
    if (parent.children[place] !== node) parent.insertBefore(node, parent.children[place] ?? null);
    update(node, item);
    place += 1;
  }
  for (const [key, node] of nodes) {
    if (!keys.has(key)) {
      node.remove();
      nodes.delete(key);
    }
  }
  if (focused !== document.activeElement && parent.contains(focused)) {
    focused.focus({ preventScroll: true });
  }
}
