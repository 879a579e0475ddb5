// What opens below a rule: why it stands so, what moves, its images, targets and runs.

import { fill, h, now, sentence, show, time } from "./dom.js";
import { ImageTable } from "./images.js";
import { blobRows, drawParts, quotaTone, stateParts } from "./parts.js";
import { Runs } from "./runs.js";
import { STATES, STATE_ORDER, about, count, number, percent, rate, registryName, shortDigest, size, span } from "./words.js";

const MOST_TRANSFERS = 8;

export class Detail {
  constructor(parent, rule, model) {
    this.model = model;
    this.drawn = {};
    this.parts = {};
    for (const name of ["problem", "transfers", "run", "facts", "targets"]) this.parts[name] = h(`section.${name}`);
    this.images = new ImageTable(rule);
    this.runs = new Runs(rule);
    this.onRun = (run) => {
      if (run.rule !== rule.name) return;
      this.runs.reload();
      this.images.reload();
    };
    model.runListeners.add(this.onRun);
    parent.append(
      h("div.left", {}, this.parts.problem, this.parts.transfers, this.parts.targets, this.images.element),
      h("div.right", {}, this.parts.run, this.runs.element, this.parts.facts),
    );
    this.update(rule);
  }

  close() {
    this.model.runListeners.delete(this.onRun);
    this.images.close();
    this.runs.close();
  }

  update(rule) {
    const hosts = new Set([rule.source_host, ...rule.targets.map((target) => target.host)]);
    const registries = (this.model.service?.registries ?? []).filter((entry) => hosts.has(entry.registry));
    this.draw("problem", [rule.problem, rule.warnings, rule.waiting_until], () => problem(rule));
    this.draw("transfers", rule.running?.transfers ?? null, () => transfers(rule.running));
    this.draw("run", rule.running?.blobs ?? null, () => thisRun(rule.running));
    this.draw("targets", [rule.targets, registries], () => targets(rule, registries));
    this.draw("facts", [rule.source, rule.schedule, rule.objective_seconds, rule.last_looked, rule.last_success], () => facts(rule));
    this.images.setCounts(rule.images);
    this.runs.setObjective(rule.objective_seconds);
  }

  draw(name, data, make) {
    const drawn = JSON.stringify(data);
    if (this.drawn[name] === drawn) return;
    this.drawn[name] = drawn;
    const made = make();
    fill(this.parts[name], ...made);
    show(this.parts[name], made.length > 0);
  }
}

function problem(rule) {
  const made = [];
  if (rule.problem) {
    const { code, message, remedy, at } = rule.problem;
    const waits = rule.waiting_until && Date.parse(rule.waiting_until) > now();
    made.push(
      h(
        "div.msg",
        { "data-tone": rule.state === "failed" || rule.state === "stalled" ? "bad" : "warn" },
        h("p", {}, h("b", {}, h("code", {}, code)), at ? [" at ", time(at, "")] : null),
        h("p", {}, sentence(message)),
        remedy && h("p.remedy", {}, h("b", {}, "What helps: "), sentence(`${remedy}.`.replace(/\.\.$/, "."))),
        waits && h("p.remedy", {}, h("b", {}, "Goes on by itself: "), time(rule.waiting_until, "due")),
      ),
    );
  }
  if (rule.warnings.length) made.push(h("div.msg", { "data-tone": "quiet" }, h("p", {}, h("b", {}, count(rule.warnings.length, "warning"))), h("ul", {}, rule.warnings.map((text) => h("li", {}, text)))));
  return made;
}

function transfers(run) {
  if (!run) return [];
  const shown = run.transfers.slice(0, MOST_TRANSFERS);
  const left = run.transfers.length - shown.length;
  if (!shown.length) return [h("h4", {}, "Transfers"), h("p.quiet", {}, "No blob is on its way right now.")];
  return [h("h4", {}, "Transfers"), h("ul.transfers", {}, shown.map(transfer)), left > 0 && h("p.quiet", {}, `and ${number(left)} more`)];
}

function transfer(moved) {
  const bar = h("div.bar", { "aria-hidden": "true" });
  drawParts(bar, [{ share: moved.size ? moved.done / moved.size : 0, tone: "run" }]);
  const eta = moved.eta_seconds === null ? "" : about(moved.eta_seconds);
  const to = `to ${moved.targets.join(", ")}`;
  return h(
    "li",
    {},
    h("span.mono", { title: `${moved.digest}\n${moved.source}\n${to}` }, h("bdi", {}, moved.source), h("span.quiet", {}, ` ${shortDigest(moved.digest)}`)),
    h("span", {}, rate(moved.rate)),
    h("span", {}, `${size(moved.done)} of ${size(moved.size)}`),
    bar,
    h("span.unseen", {}, `${percent(moved.done, moved.size)}, ${eta} ${to}`),
  );
}

function thisRun(run) {
  return run ? [h("h4", {}, "This run"), h("dl.pairs", {}, blobRows(run.blobs))] : [];
}

function targets(rule, registries) {
  const source = registries.find((entry) => entry.registry === rule.source_host);
  const rows = rule.targets.map((target) => targetRow(target, registries.find((entry) => entry.registry === target.host)));
  return [h("h4", {}, rule.targets.length === 1 ? "Target" : "Targets"), h("ul.places", {}, rows), quotaLine(source, "Source")].filter(Boolean);
}

function targetRow(target, registry) {
  const bar = h("div.bar", { "aria-hidden": "true" });
  drawParts(bar, stateParts(target.images));
  const words = STATE_ORDER.filter((state) => target.images[state]).map((state) => `${number(target.images[state])} ${STATES[state][0].toLowerCase()}`);
  const late = target.behind_since ? [", ", time(target.behind_since, "behind")] : [];
  return h("li", {}, h("bdi.mono", {}, target.target), bar, h("p.quiet", {}, words.join(", ") || "nothing known yet", ...late), quotaLine(registry, ""));
}

function quotaLine(registry, role) {
  if (!registry || (!registry.quota && registry.answers)) return null;
  const name = registryName(registry.registry);
  const who = role ? `${role} ${name}` : name;
  if (!registry.answers) return h("p.told", { "data-tone": "bad" }, `${who} keeps failing and is left alone but for some probes.`);
  const { quota } = registry;
  const of = quota.limit === null ? "" : ` of ${number(quota.limit)}`;
  const kept = quota.reserve ? `, ${number(quota.reserve)} kept back` : "";
  const window = quota.window_seconds ? ` in ${span(quota.window_seconds)}` : "";
  const more = quota.refills_at ? ["; more at ", time(quota.refills_at, "due")] : [];
  return h("p.told", { "data-tone": quotaTone(quota) }, `${who}: ${number(quota.remaining)}${of} pulls left${window}${kept}`, ...more);
}

function facts(rule) {
  const rows = [
    ["source", h("bdi.mono", {}, rule.source)],
    ["runs", rule.schedule || "when asked to"],
    ["promise", rule.objective_seconds === null ? "none; freshness: 1h in the rule makes one" : `served within ${span(rule.objective_seconds)}`],
    ["source last seen", rule.last_looked ? time(rule.last_looked, "") : "never"],
    ["last all in sync", rule.last_success ? time(rule.last_success, "") : "never"],
  ];
  return [h("h4", {}, "About"), h("dl.pairs", {}, rows.map(([word, value]) => h("div", {}, h("dt", {}, word), h("dd", {}, value))))];
}
