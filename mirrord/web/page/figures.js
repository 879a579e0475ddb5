// The strip of key figures. Each is one card, made once and then changed in place.

import { byId, fill, h, reconcile, setAttribute, setText, show, time } from "./dom.js";
import { addUp, total } from "./model.js";
import { drawParts, quotaTone, stateParts } from "./parts.js";
import { STATES, STATE_ORDER, about, count, number, percent, rate, registryName, size, span } from "./words.js";

const MOST_QUOTAS = 3;
const DAY = 86400;

export class Figures {
  constructor() {
    this.living = new Map();
  }

  update(model) {
    const rules = [...model.rules.values()];
    show(byId("figures"), rules.length > 0);
    if (!rules.length) return;
    const figures = [inSync(rules), moving(rules, model.service), saved(model.service), ...quotas(model.service.registries)];
    reconcile(byId("figures"), figures, (figure) => figure.key, () => new Figure(), this.living);
  }
}

class Figure {
  constructor() {
    this.label = h("h2");
    this.value = h("b");
    this.of = h("small");
    this.note = h("span.note");
    this.bar = h("div.bar", { "aria-hidden": "true" });
    this.element = h("div.figure", {}, this.label, h("p.value", {}, this.value, " ", this.of), this.bar, this.note);
    this.drawn = "";
  }

  update({ label, value, of = "", note = [], parts = null, tone = "", title = null }) {
    setText(this.label, label);
    setText(this.value, value);
    setText(this.of, of);
    setAttribute(this.element, "data-tone", tone);
    setAttribute(this.element, "title", title);
    const drawn = JSON.stringify(note);
    if (drawn !== this.drawn) {
      this.drawn = drawn;
      fill(this.note, note.map((piece) => (typeof piece === "string" ? piece : time(piece.iso, piece.form))));
    }
    show(this.note, note.length > 0);
    show(this.bar, parts !== null);
    if (parts !== null) drawParts(this.bar, parts);
  }
}

function inSync(rules) {
  const images = addUp(rules);
  const all = total(images);
  const others = STATE_ORDER.filter((state) => state !== "in_sync" && images[state]).map((state) => `${number(images[state])} ${STATES[state][0].toLowerCase()}`);
  return {
    key: "sync",
    label: "Images in sync",
    value: number(images.in_sync ?? 0),
    of: `of ${number(all)}`,
    parts: stateParts(images),
    note: others.length ? [others.join(", ")] : [all ? "every tag on every target" : "none has been looked at yet"],
    title: "Tags on targets, over all rules",
  };
}

function moving(rules, service) {
  const runs = rules.filter((rule) => rule.running).map((rule) => rule.running);
  const blobs = runs.reduce((sum, run) => sum + run.transfers.length, 0);
  const images = runs.reduce((sum, run) => sum + Math.max(0, run.total - run.done), 0);
  const done = runs.reduce((sum, run) => sum + run.done, 0);
  const etas = runs.map((run) => run.eta_seconds).filter((eta) => eta !== null);
  const label = "Moving now";
  if (!runs.length) {
    const moments = rules.map((rule) => rule.next_run).filter((iso) => iso !== null).sort();
    const next = moments.length ? ["next run ", { iso: moments[0], form: "due" }] : ["no run is planned"];
    return { key: "moving", label, value: "Nothing", note: next };
  }
  const told = [count(images, "image"), count(blobs, "blob"), ...(etas.length ? [about(Math.max(...etas))] : [])];
  const isLooking = !images && !blobs;
  return {
    key: "moving",
    label,
    value: isLooking ? "Looking" : rate(service.rate),
    parts: isLooking ? null : [{ share: done / Math.max(1, done + images), tone: "run" }],
    note: [isLooking ? `${count(runs.length, "rule")} compared with the source` : told.join(", ")],
    tone: "run",
  };
}

function saved(service) {
  const label = "Not moved, thanks to dedup";
  const found = service.saved;
  if (!found || !found.wanted_bytes) return { key: "saved", label, value: "–", note: ["known once images were copied"] };
  const seconds = (Date.parse(service.now) - Date.parse(found.since)) / 1000;
  const days = Math.round(seconds / DAY);
  const fanout = found.fanout_bytes ? ` ${size(found.fanout_bytes)} more were read once and sent to several targets.` : "";
  return {
    key: "saved",
    label: `${label}, ${days >= 1 ? count(days, "day") : span(seconds)}`,
    value: size(found.saved_bytes),
    of: `of ${size(found.wanted_bytes)}`,
    parts: [{ share: found.saved_bytes / found.wanted_bytes, tone: "ok" }],
    note: [`${percent(found.saved_bytes, found.wanted_bytes)} saved, ${size(found.uploaded_bytes)} sent`],
    title: `Layers that the targets had already, or took from another repository of theirs.${fanout}`,
  };
}

function quotas(registries) {
  const silent = registries.filter((entry) => !entry.answers);
  const metered = registries.filter((entry) => entry.quota);
  const scarcity = ({ quota }) => (quota.remaining - quota.reserve) / (quota.limit || Infinity);
  const figures = metered.sort((a, b) => scarcity(a) - scarcity(b)).slice(0, MOST_QUOTAS).map(quotaFigure);
  if (silent.length || !figures.length) figures.push(registriesFigure(registries, silent));
  return figures;
}

function quotaFigure({ registry, quota }) {
  const kept = quota.reserve ? `, ${number(quota.reserve)} kept back` : "";
  const tone = quotaTone(quota);
  return {
    key: `quota ${registry}`,
    label: `${registryName(registry)} pulls left`,
    value: number(quota.remaining),
    of: quota.limit === null ? kept.replace(", ", "") : `of ${number(quota.limit)}${kept}`,
    parts: quota.limit ? [{ share: quota.remaining / quota.limit, tone }] : null,
    note: quota.refills_at ? ["more at ", { iso: quota.refills_at, form: "due" }] : quota.told_at ? ["told ", { iso: quota.told_at, form: "relative" }] : [],
    tone: tone === "ok" ? "" : tone,
  };
}

function registriesFigure(registries, silent) {
  const all = registries.length;
  return {
    key: "registries",
    label: "Registries that answer",
    value: number(all - silent.length),
    of: `of ${number(all)}`,
    note: [silent.length ? `${silent.map(({ registry }) => registryName(registry)).slice(0, 3).join(", ")} keeps failing` : "none of them counts pulls"],
    tone: silent.length ? "bad" : "",
  };
}
