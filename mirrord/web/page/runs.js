// The runs of a rule: a chart of them all, a list of the last, and each one's details when asked for.

import { runOf, runsOf } from "./api.js";
import { lagChart, secondsOf } from "./chart.js";
import { fill, h, icon, setText, show, time } from "./dom.js";
import { blobRows } from "./parts.js";
import { CAUSES, RESULTS, count, duration, number, outcomes, shortDigest, size } from "./words.js";

const PAGE = 40;
const FIRST = 5;
const MORE = 15;
const MOST_CHANGES = 20;

let serial = 0;

export class Runs {
  constructor(rule) {
    this.rule = rule.name;
    this.objective = rule.objective_seconds;
    this.runs = [];
    this.limit = FIRST;
    this.asked = 0;
    this.next = null;
    this.open = new Map();
    this.chart = h("div.chart-part");
    this.list = h("ol.runs");
    this.told = h("p.quiet", {}, "Asking for the last runs…");
    this.button = h("button.btn", { type: "button", onclick: () => this.showMore() }, "Show more");
    show(this.button, false);
    this.element = h("section.runs-part", {}, this.chart, h("h4", {}, "Last runs"), this.list, this.told, this.button);
    this.reload();
  }

  close() {
    this.asked += 1;
  }

  setObjective(objective) {
    if (objective === this.objective) return;
    this.objective = objective;
    this.draw();
  }

  async reload() {
    const turn = (this.asked += 1);
    try {
      const page = await runsOf(this.rule, { limit: PAGE });
      if (turn !== this.asked) return;
      this.runs = page.runs;
      this.next = page.next;
      this.draw();
    } catch (error) {
      if (turn === this.asked) this.tell(`The runs could not be asked for: ${error.message}.`);
    }
  }

  tell(text) {
    setText(this.told, text);
    show(this.told, text !== "");
  }

  async showMore() {
    this.limit += MORE;
    if (this.limit > this.runs.length && this.next !== null) {
      const turn = (this.asked += 1);
      try {
        const page = await runsOf(this.rule, { limit: PAGE, after: this.next });
        if (turn !== this.asked) return;
        this.runs.push(...page.runs);
        this.next = page.next;
      } catch (error) {
        this.tell(`More runs could not be asked for: ${error.message}.`);
      }
    }
    this.draw();
  }

  draw() {
    const chart = lagChart(this.runs, this.objective);
    fill(this.chart, ...(chart ? this.framed(chart) : []));
    const shown = this.runs.slice(0, this.limit);
    const kept = new Map(shown.map((run) => [run.id, this.open.get(run.id)?.run === JSON.stringify(run) ? this.open.get(run.id) : this.row(run)]));
    this.open = kept;
    const rows = [...kept.values()].map((row) => row.element);
    if (rows.length !== this.list.children.length || rows.some((row, index) => row !== this.list.children[index])) this.list.replaceChildren(...rows);
    this.tell(shown.length ? "" : "It has not run yet.");
    show(this.button, this.runs.length > this.limit || this.next !== null);
  }

  framed(chart) {
    const ended = this.runs.filter((run) => run.finished !== null);
    const first = ended[Math.min(ended.length, PAGE) - 1];
    const promise = this.objective === null ? null : h("span.dashed", {}, "promise");
    return [h("h4", {}, "Behind the source, after each run"), chart, h("p.axis.quiet", {}, h("span", {}, "since ", time(first.finished, "clock")), promise, h("span", {}, "now"))];
  }

  row(run) {
    const [word, tone] = RESULTS[run.result] ?? [run.result, "idle"];
    const id = `run-${(serial += 1)}`;
    const body = h("div.run-body", { id });
    body.hidden = true;
    const sent = run.blobs.uploaded.bytes;
    const button = h(
      "button",
      { type: "button", "aria-expanded": "false", "aria-controls": id, onclick: () => this.toggle(run, button, body) },
      icon("chevron"),
      time(run.started, "clock"),
      h("span.result", { "data-tone": tone }, word),
      h("span.what", {}, outcomes(run)),
      h("span.sent", {}, sent ? size(sent) : ""),
    );
    return { run: JSON.stringify(run), element: h("li", {}, button, body) };
  }

  async toggle(run, button, body) {
    const isOpen = body.hidden;
    button.setAttribute("aria-expanded", String(isOpen));
    show(body, isOpen);
    if (!isOpen || body.dataset.loaded) return;
    fill(body, h("p.quiet", {}, "Asking…"));
    try {
      const whole = await runOf(run.id);
      body.dataset.loaded = whole.finished === null ? "" : "true";
      fill(body, ...details(whole));
    } catch (error) {
      fill(body, h("p", {}, error.status === 404 ? "This run is not remembered any more." : `It could not be asked for: ${error.message}.`));
    }
  }
}

function details(run) {
  const requests = Object.entries(run.requests).map(([registry, amount]) => `${registry} ${number(amount)}`).join(", ");
  const pulls = Object.entries(run.pulls).filter(([, amount]) => amount).map(([registry, amount]) => `${registry} ${number(amount)}`).join(", ");
  const rows = [
    ["cause", CAUSES[run.cause] ?? run.cause],
    ["took", run.finished ? duration(secondsOf(run)) : "goes on"],
    ["tags", `${number(run.listed)} listed, ${number(run.filtered)} not selected`],
    ["requests", requests || "none"],
    pulls && ["metered pulls", pulls],
  ].filter(Boolean);
  return [
    h("dl.pairs", {}, rows.map(([word, value]) => h("div", {}, h("dt", {}, word), h("dd", {}, value))), blobRows(run.blobs)),
    ...run.problems.map((problem) => h("p.reason", {}, h("code", {}, problem.code), ` ${problem.message}`, problem.remedy && `; ${problem.remedy}`)),
    run.warnings.length > 0 && h("ul.warnings", {}, run.warnings.map((text) => h("li", {}, text))),
    changes(run),
  ];
}

function changes(run) {
  if (!run.changes.length) return null;
  const shown = run.changes.slice(0, MOST_CHANGES);
  const left = run.changes.length - shown.length + run.changes_left_out;
  const rows = shown.map((change) => {
    const digests = change.digest ? [change.before, change.digest].filter(Boolean).map(shortDigest).join(" → ") : "";
    return h("li", {}, h("b", {}, change.outcome.replace("_", " ")), " ", h("bdi.mono", {}, change.tags.join(", ") || "by digest"), h("span.quiet", {}, [` ${change.target}`, digests && ` ${digests}`].filter(Boolean).join("")), change.problem && h("p.reason", {}, change.problem.message));
  });
  return h("div", {}, h("h5", {}, "What it worked on"), h("ul.changes", {}, rows), left > 0 && h("p.quiet", {}, `and ${count(left, "more", "more")}`));
}
