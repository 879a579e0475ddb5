// The images of a rule: filtered, searched and paged by the service.

import { imagesOf } from "./api.js";
import { fill, h, icon, sentence, setText, show, time } from "./dom.js";
import { total } from "./model.js";
import { copyText } from "./parts.js";
import { STATES, STATE_ORDER, clean, count, number, registryName, shortDigest } from "./words.js";

const PAGE = 25;
const TYPED_MS = 250;
const CHANGED_MS = 1500;
const NOT_IN_SYNC = "rest";

let serial = 0;

export class ImageTable {
  constructor(rule) {
    this.rule = rule.name;
    this.isOneTarget = rule.targets.length === 1;
    this.source = rule.source;
    this.counts = {};
    this.next = null;
    this.shown = 0;
    this.asked = 0;
    this.timer = 0;
    const id = `images-${(serial += 1)}`;
    this.choice = h("select", { "aria-label": "State of images", onchange: () => this.load() });
    this.search = h("input", { type: "search", placeholder: "Search tags, digests", "aria-label": `Search images of ${rule.name}`, spellcheck: "false", autocomplete: "off", maxlength: "200", oninput: () => this.soon(TYPED_MS) });
    this.body = h("tbody");
    this.table = h("table.images", { "aria-labelledby": id }, h("thead", {}, h("tr", {}, ["Tag", "State", "Source", "Target", "Since"].map((word) => h("th", { scope: "col" }, word)))), this.body);
    this.told = h("p.quiet", { "aria-live": "polite" });
    this.button = h("button.btn", { type: "button", onclick: () => this.load(this.next) }, "Show more");
    this.element = h("section.images-part", {}, h("div.bar-tools", {}, h("h4", { id }, "Images"), this.choice, this.search), this.table, h("div.pager", {}, this.told, this.button));
    this.setCounts(rule.images);
    const hasRest = total(rule.images) > (rule.images.in_sync ?? 0);
    this.choice.value = hasRest ? NOT_IN_SYNC : "";
    this.load();
  }

  close() {
    clearTimeout(this.timer);
    this.asked += 1;
  }

  setCounts(told) {
    const images = asListed(told);
    const drawn = JSON.stringify(images);
    if (drawn === this.counts.drawn) return;
    const isFirst = this.counts.drawn === undefined;
    this.counts = { ...images, drawn };
    const all = total(images);
    const chosen = this.choice.value;
    const states = STATE_ORDER.filter((state) => images[state] || state === chosen);
    fill(
      this.choice,
      h("option", { value: "" }, `All, ${number(all)}`),
      h("option", { value: NOT_IN_SYNC }, `Not in sync, ${number(all - (images.in_sync ?? 0))}`),
      states.map((state) => h("option", { value: state }, `${STATES[state][0]}, ${number(images[state] ?? 0)}`)),
    );
    this.choice.value = chosen;
    if (!isFirst) this.reload();
  }

  reload() {
    // Whoever has gone on to further pages reads them; the first page follows what happens.
    // A load that is due already is not put off: runs that follow each other closely would put it off for ever.
    if (this.shown <= PAGE && !this.timer && !this.body.contains(document.activeElement)) this.soon(CHANGED_MS);
  }

  soon(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.load();
    }, ms);
  }

  states() {
    if (this.choice.value === NOT_IN_SYNC) return STATE_ORDER.filter((state) => state !== "in_sync");
    return this.choice.value ? [this.choice.value] : [];
  }

  async load(after = null) {
    const turn = (this.asked += 1);
    this.table.setAttribute("aria-busy", "true");
    try {
      const page = await imagesOf(this.rule, { states: this.states(), search: this.search.value.trim(), limit: PAGE, after });
      if (turn === this.asked) this.draw(page, after !== null);
    } catch (error) {
      if (turn === this.asked) setText(this.told, `The images could not be asked for: ${error.message}.`);
    } finally {
      if (turn === this.asked) this.table.removeAttribute("aria-busy");
    }
  }

  draw(page, isMore) {
    const rows = page.images.map((image) => this.row(image));
    if (isMore) this.body.append(...rows);
    else this.body.replaceChildren(...rows);
    this.shown = isMore ? this.shown + rows.length : rows.length;
    this.next = page.next;
    show(this.table, this.shown > 0);
    show(this.button, page.next !== null);
    setText(this.told, this.shown ? `${number(this.shown)} of ${count(page.total, "image")}` : this.nothing());
    if (isMore) rows[0]?.querySelector("button")?.focus();
  }

  nothing() {
    if (this.search.value.trim()) return "No image is like that.";
    if (this.choice.value === NOT_IN_SYNC) return "Every image is in sync.";
    if (this.choice.value) return "No image is in that state.";
    return "No image is known yet: they appear once the rule has seen its source. If it has, its filters took no tag.";
  }

  row(image) {
    const [word, tone] = STATES[image.state] ?? [image.state, "idle"];
    const reason = image.problem ? [image.problem.message, image.problem.remedy].filter(Boolean).join("; ") : image.reason;
    const moment = image.behind_since ?? image.proven_at;
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, this.name(image)),
      cell("State", h("span.pill.small", { "data-tone": tone }, word), reason ? h("p.reason", { title: reason }, sentence(reason)) : null),
      cell("Source", digest(image.digest)),
      cell("Target", digest(image.served)),
      cell("Since", moment ? time(moment, "clock") : "–"),
    );
  }

  name(image) {
    const tag = image.tag ?? "by digest";
    const repository = image.source.split("/").slice(1).join("/") || image.source;
    const renamed = image.target_tag && image.target_tag !== image.tag ? [" → ", h("bdi", {}, image.target_tag)] : [];
    // What is the same in each row needs no row.
    const from = image.source === this.source ? null : h("bdi", {}, repository);
    const to = this.isOneTarget ? null : [from ? " → " : "→ ", h("bdi", {}, registryName(image.target.split("/")[0]))];
    const place = h("span.quiet.place", { title: `${image.source}\n→ ${image.target}` }, from, to);
    return [h("bdi.tag", {}, tag), ...renamed, place];
  }
}

// What is on its way the service counts by its run; in the list it is what it was before, mostly behind.
function asListed({ copying = 0, stalled = 0, ...images }) {
  return copying + stalled ? { ...images, out_of_sync: (images.out_of_sync ?? 0) + copying + stalled } : images;
}

function cell(label, ...children) {
  return h("td", { "data-label": label }, ...children);
}

function digest(value) {
  if (!value) return h("span.quiet", {}, "–");
  const copy = h("button.copy", { type: "button", "aria-label": `Copy ${clean(value)}`, title: "Copy", onclick: () => copyText(value, copy) }, icon("copy"));
  return h("span.digest", {}, h("span.mono", { title: value, "aria-hidden": "true" }, shortDigest(value)), copy, h("span.full.mono", { "aria-hidden": "true" }, value));
}
