// The list of rules: filter, search, order. Cards are made once and changed in place.

import { RuleCard } from "./card.js";
import { byId, fill, h, reconcile, setAttribute, setText, show } from "./dom.js";
import { FILTERS, matches, rank } from "./model.js";
import { count, number } from "./words.js";

const REST_MS = 10000;

export class RuleList {
  constructor(context) {
    this.context = context;
    this.cards = new Map();
    this.filter = "all";
    this.words = [];
    this.order = [];
    this.heldSince = 0;
    this.wanted = null;
    this.buttons = new Map(FILTERS.map(([key, label]) => [key, this.button(key, label)]));
    byId("filters").append(...this.buttons.values());
    this.search = byId("search");
    this.search.addEventListener("input", () => {
      this.words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.draw();
    });
    addEventListener("keydown", (event) => this.onKey(event));
    addEventListener("hashchange", () => this.followHash());
  }

  button(key, label) {
    return h("button", { type: "button", "data-filter": key, "aria-pressed": String(key === this.filter), onclick: () => this.choose(key) }, label, " ", h("b"));
  }

  choose(key) {
    this.filter = key;
    this.draw();
  }

  onKey(event) {
    const isTyping = event.target.closest?.("input, textarea, select, dialog");
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      this.search.focus();
    }
    if (event.key === "Escape" && event.target === this.search && this.search.value) this.clear();
  }

  clear() {
    this.search.value = "";
    this.words = [];
    this.choose("all");
  }

  update(model) {
    this.model = model;
    show(byId("rules"), model.service !== null);
    if (model.service === null) return;
    this.draw();
    if (this.wanted === null) {
      this.wanted = "";
      this.followHash();
    }
  }

  draw() {
    if (!this.model?.service) return;
    const rules = this.sorted([...this.model.rules.values()]);
    reconcile(byId("cards"), rules, (rule) => rule.name, (rule) => new RuleCard(rule, this.context), this.cards);
    const test = FILTERS.find(([key]) => key === this.filter)[2];
    let shown = 0;
    for (const rule of rules) {
      const isShown = test(rule) && matches(rule, this.words);
      show(this.cards.get(rule.name).element, isShown);
      shown += isShown;
    }
    this.drawTools(rules, shown);
  }

  drawTools(rules, shown) {
    for (const [key, , test] of FILTERS) {
      const button = this.buttons.get(key);
      setText(button.lastElementChild, number(rules.filter(test).length));
      setAttribute(button, "aria-pressed", String(key === this.filter));
    }
    setText(byId("shown"), this.words.length || this.filter !== "all" ? `${count(shown, "rule")} shown` : "");
    this.drawEmpty(rules.length, shown);
  }

  drawEmpty(all, shown) {
    const empty = byId("empty");
    show(empty, shown === 0);
    const key = shown ? "" : all ? "filtered" : "none";
    if (empty.dataset.key === key) return;
    empty.dataset.key = key;
    if (key === "filtered") {
      fill(empty, h("p", {}, "No rule is like that."), h("button.btn", { type: "button", onclick: () => this.clear() }, "Show all rules"));
    } else if (key === "none") fill(empty, ...this.firstSteps());
  }

  firstSteps() {
    const { file } = this.model.service.config;
    const example = "rules:\n  - name: nginx\n    source: docker.io/library/nginx\n    targets: [registry.internal:5000/mirror/nginx]\n    tags: {include: [stable]}\n    schedule: 15m";
    return [
      h("h3", {}, "Nothing is mirrored yet"),
      h("p", {}, "Write a first rule into ", h("code", {}, file), ". It is read again as soon as it changes, and the rule appears here."),
      h("pre", {}, example),
      h("p", {}, h("code", {}, "mirrord plan -c FILE"), " shows beforehand what a rule would copy."),
    ];
  }

  // Nothing moves away under a pointer or from under the keyboard, for a while at least.
  sorted(rules) {
    const ranks = new Map(rules.map((rule) => [rule.name, rank(rule)]));
    const best = rules.sort((a, b) => (ranks.get(a.name) < ranks.get(b.name) ? -1 : 1));
    const names = best.map((rule) => rule.name);
    const isChanged = names.join("\n") !== this.order.join("\n");
    if (isChanged && this.holds(ranks)) {
      const places = new Map(this.order.map((name, place) => [name, place]));
      return best.sort((a, b) => places.get(a.name) - places.get(b.name));
    }
    this.heldSince = 0;
    this.order = names;
    return best;
  }

  // Whether the order of before is kept a while longer: only for the same rules, and not for ever.
  holds(ranks) {
    const isSame = ranks.size === this.order.length && this.order.every((name) => ranks.has(name));
    if (!isSame || !byId("cards").matches(":hover, :focus-within")) return false;
    this.heldSince ||= Date.now();
    return Date.now() - this.heldSince < REST_MS;
  }

  followHash() {
    const match = /^#rule=(.*)$/.exec(location.hash);
    if (!match) return;
    try {
      this.open(decodeURIComponent(match[1]));
    } catch {
      // A hash that is no text leads nowhere.
    }
  }

  open(name) {
    const card = this.cards.get(name);
    if (!card) return;
    if (card.element.hidden) this.clear();
    card.expand(true);
    card.element.scrollIntoView({ block: "start" });
    card.button.focus({ preventScroll: true });
  }

  tick() {
    if (this.heldSince) this.draw();
    for (const card of this.cards.values()) card.tick();
  }
}
