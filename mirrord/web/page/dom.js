// Elements from names and texts. Nothing here, and nothing elsewhere, turns text into markup.

import { clean, moment, utc } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// h("p.note", {title: "why"}, "text", element): strings become text; null and false are left out.
export function h(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  return build(document.createElement(tag), classes, attributes, children);
}

export function s(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  return build(document.createElementNS(SVG, tag), classes, attributes, children);
}

function build(element, classes, attributes, children) {
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else setAttribute(element, key, value);
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : clean(child));
  }
}

export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

export function icon(name) {
  return s("svg.icon", { "aria-hidden": "true" }, s("use", { href: `#i-${name}` }));
}

export function setText(element, text) {
  const cleaned = clean(text);
  if (element.textContent !== cleaned) element.textContent = cleaned;
}

export function setAttribute(element, key, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(key)) element.removeAttribute(key);
    return;
  }
  const text = value === true ? "" : clean(value);
  if (element.getAttribute(key) !== text) element.setAttribute(key, text);
}

export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

// The object model may set what the policy forbids to markup: widths of bars.
export function setShare(element, name, share) {
  const value = `${(100 * Math.min(1, Math.max(0, share || 0))).toFixed(2)}%`;
  if (element.style.getPropertyValue(name) !== value) element.style.setProperty(name, value);
}

// Only what differs is made anew: an element lives as long as its key is there. `make` returns {element, update}.
export function reconcile(parent, items, keyOf, make, living) {
  const keys = new Set();
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    keys.add(key);
    let part = living.get(key);
    if (!part) {
      part = make(item);
      living.set(key, part);
    }
    part.update(item);
    if (part.element === place) place = place.nextElementSibling;
    else parent.insertBefore(part.element, place);
  }
  for (const [key, part] of living) {
    if (keys.has(key)) continue;
    part.element.remove();
    living.delete(key);
  }
}

let skewMs = 0;

// Ages are counted by the service's clock, whatever that of the browser says.
export function setServerTime(iso) {
  const told = Date.parse(iso);
  if (!Number.isNaN(told)) skewMs = told - Date.now();
}

export const now = () => new Date(Date.now() + skewMs);

export function time(iso, form) {
  const element = h("time");
  setTime(element, iso, form);
  return element;
}

export function setTime(element, iso, form) {
  if (element.getAttribute("datetime") === iso && element.dataset.form === form) return;
  setAttribute(element, "datetime", iso);
  if (!iso) {
    element.textContent = "";
    element.removeAttribute("title");
    return;
  }
  element.dataset.form = form;
  const at = new Date(iso);
  element.title = Number.isNaN(at.getTime()) ? "" : utc(at);
  setText(element, moment(iso, form, now()));
}

const UTC_TIMES = /(?:(\d{4}-\d\d-\d\d) |(\d{1,2} [A-Z][a-z]{2}) )?(\d\d:\d\d) UTC/g;

// A sentence of the service: what stands in backticks is code, and moments, which are in UTC there, become those of
// the browser's zone, like all others.
export function sentence(text) {
  return text.split("`").flatMap((piece, index, all) => (index % 2 && index < all.length - 1 ? [h("code", {}, piece)] : withTimes(piece)));
}

function withTimes(text) {
  const pieces = [];
  const today = now().toISOString().slice(0, 10);
  let from = 0;
  for (const match of text.matchAll(UTC_TIMES)) {
    const [whole, date, day, hour] = match;
    const at = new Date(day ? `${day} ${today.slice(0, 4)} ${hour} UTC` : `${date ?? today}T${hour}:00Z`);
    if (Number.isNaN(at.getTime())) continue;
    pieces.push(text.slice(from, match.index), time(at.toISOString(), "clock"));
    from = match.index + whole.length;
  }
  return [...pieces, text.slice(from)];
}

export function tick(root) {
  const at = now();
  for (const element of root.querySelectorAll("time[datetime]")) {
    setText(element, moment(element.getAttribute("datetime"), element.dataset.form, at));
  }
}

let toastTimer = 0;

export function toast(text) {
  const element = byId("toast");
  setText(element, text);
  element.classList.add("on");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => {
    element.classList.remove("on");
    element.textContent = "";
  }, 4000 + 60 * text.length);
}
