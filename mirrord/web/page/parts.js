// Pieces that several parts of the page are made of.

import { byId, h, icon, setAttribute, setShare, setText } from "./dom.js";
import { total } from "./model.js";
import { STATES, STATE_ORDER, count, size } from "./words.js";

// A bar of several parts, each {share, tone}.
export function drawParts(bar, parts) {
  while (bar.children.length > parts.length) bar.lastElementChild.remove();
  while (bar.children.length < parts.length) bar.append(h("i"));
  parts.forEach(({ share, tone }, index) => {
    setShare(bar.children[index], "--share", share);
    setAttribute(bar.children[index], "data-tone", tone);
  });
}

export function stateParts(images) {
  const all = total(images);
  return STATE_ORDER.filter((state) => images[state]).map((state) => ({ share: images[state] / all, tone: STATES[state][1] }));
}

export function quotaTone(quota) {
  const free = quota.remaining - quota.reserve;
  if (free <= 0) return "bad";
  return quota.limit && free < quota.limit * 0.2 ? "warn" : "ok";
}

const BLOBS = [
  ["uploaded", "sent"],
  ["mounted", "mounted from another repository"],
  ["existed", "already there"],
];

export function blobRows(blobs) {
  return BLOBS.map(([key, word]) => h("div", {}, h("dt", {}, word), h("dd", {}, blobs[key].count ? `${count(blobs[key].count, "blob")}, ${size(blobs[key].bytes)}` : "–")));
}

// The clipboard's own interface exists only where the connection is secure; the old way works everywhere.
export async function copyText(text, button) {
  let isDone = false;
  try {
    await navigator.clipboard.writeText(text);
    isDone = true;
  } catch {
    const area = h("textarea.unseen", { readonly: true });
    area.value = text;
    (button.closest("dialog") ?? document.body).append(area);
    area.select();
    isDone = document.execCommand("copy");
    area.remove();
    button.focus();
  }
  setText(byId("toast"), isDone ? "Copied." : "The browser did not let the page copy.");
  button.replaceChildren(icon(isDone ? "done" : "copy"));
  setTimeout(() => button.replaceChildren(icon("copy")), 1500);
}
