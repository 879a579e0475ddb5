// One rule: a row that tells how it stands, and a button that opens its details.

import { Detail } from "./detail.js";
import { fill, h, icon, now, sentence, setAttribute, setShare, setText, show, time } from "./dom.js";
import { isBroken, total } from "./model.js";
import { drawParts } from "./parts.js";
import { RESULTS, STATES, about, clean, count, duration, number, percent, rate, registryName, span } from "./words.js";

const MOST_CHIPS = 3;
const ASKED_MS = 4000;
const QUOTA = new Set(["QUOTA_EXHAUSTED", "QUOTA_RESERVED", "RATE_LIMITED"]);

let serial = 0;

export class RuleCard {
  constructor(rule, context) {
    this.context = context;
    this.name = rule.name;
    this.rule = null;
    this.detail = null;
    this.askedUntil = 0;
    const id = `rule-${(serial += 1)}`;
    this.more = h("div.more", { id, role: "region" });
    this.more.hidden = true;
    this.button = h("button", { type: "button", "aria-expanded": "false", "aria-controls": id, onclick: () => this.toggle() }, icon("chevron"), h("bdi", {}, rule.name));
    setAttribute(this.more, "aria-label", `Details of ${rule.name}`);
    this.element = h("article.rule", {}, this.row(), this.progress(), this.why(), this.more);
    this.element.dataset.rule = clean(rule.name);
  }

  row() {
    this.source = h("bdi.mono");
    this.amount = h("span");
    this.pill = h("span.pill");
    this.lag = h("b");
    this.promise = h("span");
    this.fill = h("i");
    this.bar = h("div.bar", { "aria-hidden": "true" }, this.fill, h("i.mark"));
    this.chips = h("ul.chips", { "aria-label": "Targets" });
    this.next = h("p");
    this.last = h("p.quiet");
    this.sync = h("button.btn", { type: "button", onclick: () => this.askToSync() }, icon("sync"), this.syncWord = h("span", {}, "Sync now"));
    return h(
      "div.row",
      {},
      h("div.who", {}, h("h3", {}, this.button), h("p.quiet", {}, this.source, this.amount)),
      h("div.state", {}, this.pill),
      h("div.fresh", {}, h("p", {}, this.lag, this.promise), this.bar),
      h("div.where", {}, this.chips),
      h("div.when", {}, this.next, this.last),
      h("div.act", {}, this.sync),
    );
  }

  progress() {
    this.runBar = h("div.bar", { "aria-hidden": "true" });
    this.runText = h("p.quiet");
    this.runLine = h("div.strip", {}, this.runBar, this.runText);
    this.runLine.hidden = true;
    return this.runLine;
  }

  why() {
    this.cause = h("p.why");
    this.cause.hidden = true;
    return this.cause;
  }

  update(rule) {
    if (rule === this.rule) return;
    this.rule = rule;
    setText(this.source, rule.source);
    const images = total(rule.images);
    setText(this.amount, images ? `· ${count(images, "image")}` : "");
    this.drawPill(rule);
    this.drawChips(rule);
    this.drawWhen(rule);
    this.drawProgress(rule);
    this.drawWhy(rule);
    this.tick();
    this.detail?.update(rule);
  }

  // What changes with time alone.
  tick() {
    const { rule } = this;
    if (rule === null) return;
    const behind = rule.behind_since === null ? 0 : Math.max(0, (now() - Date.parse(rule.behind_since)) / 1000);
    const objective = rule.objective_seconds;
    const isNew = rule.state === "new";
    setText(this.lag, behind > 0 ? `${span(behind)} behind` : isNew ? "not known yet" : rule.is_fresh ? "fresh" : rule.last_looked === null ? "not known" : "not in sync");
    setText(this.promise, objective === null ? "no promise" : `promise ${span(objective)}`);
    const tone = isBroken(rule) ? "bad" : isNew ? "idle" : behind > 0 && objective !== null && behind > objective * 0.75 ? "warn" : behind > 0 ? (objective === null ? "warn" : "run") : rule.is_fresh ? "ok" : "warn";
    setAttribute(this.bar.parentElement, "data-tone", tone);
    const whole = Math.max(objective ?? behind, behind);
    setShare(this.fill, "--share", isNew ? 0 : behind > 0 ? behind / whole : tone === "ok" ? 0.015 : 1);
    // Where the promise ends, on a bar that is longer than it.
    const isLate = objective !== null && behind > objective;
    setAttribute(this.bar, "data-late", isLate);
    setShare(this.bar, "--mark", isLate ? objective / behind : 1);
    this.drawSync(rule);
  }

  drawPill(rule) {
    const [word, tone] = this.pillOf(rule);
    setText(this.pill, word);
    setAttribute(this.pill, "data-tone", tone);
    setAttribute(this.element, "data-tone", isBroken(rule) ? "bad" : tone);
    setAttribute(this.element, "data-state", rule.state);
  }

  pillOf(rule) {
    const [word, tone] = STATES[rule.state] ?? [rule.state, "idle"];
    const needsWord = ["failed", "stalled", "blocked"].includes(rule.state);
    if (rule.running && !needsWord) {
      const copying = rule.running.total - rule.running.done;
      return [copying > 0 ? `Copying ${number(copying)}` : "Looking", "run"];
    }
    if (rule.queued && !needsWord) return ["Queued", "run"];
    if (rule.state === "waiting" && QUOTA.has(rule.problem?.code)) return [`${word}: quota`, tone];
    if (rule.state === "out_of_sync" && isBroken(rule)) return [word, "bad"];
    const amount = rule.images[rule.state];
    return needsWord && amount ? [`${word} ${number(amount)}`, tone] : [word, tone];
  }

  drawChips(rule) {
    const drawn = JSON.stringify(rule.targets);
    if (drawn === this.chips.dataset.drawn) return;
    this.chips.dataset.drawn = drawn;
    const shown = rule.targets.slice(0, rule.targets.length > MOST_CHIPS + 1 ? MOST_CHIPS : MOST_CHIPS + 1);
    const left = rule.targets.length - shown.length;
    const rest = rule.targets.slice(shown.length).map((target) => target.target).join("\n");
    fill(this.chips, shown.map(chip), left > 0 && h("li.chip.more-chips", { title: rest }, `and ${left} more`));
  }

  drawWhen(rule) {
    fill(this.next, ...this.nextRun(rule));
    const run = rule.last_run;
    if (run === null) return fill(this.last, "no run yet");
    const [word] = RESULTS[run.result] ?? [run.result];
    fill(this.last, "last ", time(run.finished ?? run.started, "relative"), `, ${word}`);
    this.last.title = run.finished ? `took ${duration((Date.parse(run.finished) - Date.parse(run.started)) / 1000)}` : "";
    return undefined;
  }

  nextRun(rule) {
    if (rule.running) return ["running since ", time(rule.running.started, "clock")];
    if (rule.queued) return ["begins as soon as it may"];
    if (rule.state === "waiting" && rule.waiting_until && Date.parse(rule.waiting_until) > now()) return ["goes on ", time(rule.waiting_until, "due")];
    if (rule.next_run) return ["next ", time(rule.next_run, "due")];
    return ["runs when asked to"];
  }

  drawProgress(rule) {
    const run = rule.running;
    show(this.runLine, run !== null);
    if (run === null) return;
    this.runLine.classList.toggle("unknown", run.share === null);
    drawParts(this.runBar, [{ share: run.share ?? 0.3, tone: "run" }]);
    const failed = run.failed ? `, ${number(run.failed)} failed` : "";
    const parts = run.total
      ? [`${number(run.done)} of ${count(run.total, "image")} done${failed}`, run.share !== null && percent(run.share, 1), run.rate > 0 && rate(run.rate), run.eta_seconds !== null && about(run.eta_seconds), run.idle_seconds > 30 && `nothing moved for ${span(run.idle_seconds)}`]
      : [`${count(run.looked_at, "tag")} compared with the source so far`];
    setText(this.runText, parts.filter(Boolean).join(" · "));
  }

  drawWhy(rule) {
    const text = rule.problem ? rule.problem.message : rule.warnings.length ? `${count(rule.warnings.length, "warning")}: ${rule.warnings[0]}` : "";
    show(this.cause, text !== "");
    if (this.cause.dataset.of === text) return;
    this.cause.dataset.of = text;
    fill(this.cause, ...sentence(text));
  }

  drawSync(rule) {
    const isAsked = Date.now() < this.askedUntil;
    const word = rule.queued ? "Queued" : isAsked ? "Asked" : rule.running ? "Run again" : "Sync now";
    setText(this.syncWord, word);
    // A disabled button would throw the focus of the keyboard away.
    setAttribute(this.sync, "aria-disabled", rule.queued || isAsked ? "true" : null);
    setAttribute(this.sync, "aria-label", `${word}: ${rule.name}`);
    setAttribute(this.sync, "title", rule.running && !rule.queued ? "Once more after the run that is going on" : null);
  }

  async askToSync() {
    if (this.sync.getAttribute("aria-disabled") === "true") return;
    this.askedUntil = Infinity;
    this.drawSync(this.rule);
    const ticket = await this.context.sync(this.name);
    this.askedUntil = ticket === null ? 0 : Date.now() + ASKED_MS;
    this.drawSync(this.rule);
  }

  toggle() {
    this.expand(this.more.hidden);
    const hash = this.more.hidden ? "" : `#rule=${encodeURIComponent(this.name)}`;
    history.replaceState(null, "", hash || location.pathname + location.search);
  }

  expand(isOpen) {
    this.button.setAttribute("aria-expanded", String(isOpen));
    this.element.classList.toggle("open", isOpen);
    show(this.more, isOpen);
    if (isOpen && this.detail === null) {
      this.detail = new Detail(this.more, this.rule, this.context.model);
    } else if (!isOpen && this.detail !== null) {
      this.detail.close();
      this.detail = null;
      fill(this.more);
    }
  }
}

function chip(target) {
  const all = total(target.images);
  const good = target.images.in_sync ?? 0;
  const isBad = Boolean(target.images.failed || target.images.stalled);
  const tone = !all ? "idle" : isBad ? "bad" : good < all ? "warn" : "ok";
  const word = !all ? "nothing known yet" : good < all ? `${number(all - good)} of ${number(all)} not in sync` : `all ${number(all)} in sync`;
  const name = registryName(target.host);
  return h("li.chip", { "data-tone": tone, title: `${target.target}: ${word}` }, h("i", { "aria-hidden": "true" }), h("bdi", {}, name), good < all ? h("b", {}, number(all - good)) : null, h("span.unseen", {}, `: ${word}`));
}

