// What is known of the service, and what follows from it. Elements know nothing of events, events nothing of elements.

const IN_NEED = new Set(["failed", "stalled"]);
const WORST_FIRST = ["failed", "stalled", "blocked", "waiting", "out_of_sync", "new", "in_sync"];

export class Model {
  constructor() {
    this.service = null;
    this.rules = new Map();
    this.link = "connecting";
    this.fault = "";
    this.heardAt = 0;
    this.listeners = new Set();
    this.runListeners = new Set();
  }

  onChange(listener) {
    this.listeners.add(listener);
  }

  changed() {
    for (const listener of this.listeners) listener(this);
  }

  setLink(link, error = null) {
    if (this.link === link && this.fault === (error?.text ?? "")) return;
    this.link = link;
    this.fault = error?.text ?? "";
    this.changed();
  }

  takeStatus(status) {
    const { rules, ...service } = status;
    this.service = service;
    this.rules = new Map(rules.map((rule) => [rule.name, rule]));
    this.heard();
  }

  take(name, value) {
    if (name === "status") return this.takeStatus(value);
    if (name === "service") {
      const { rules: _, ...service } = value;
      this.service = service;
    } else if (name === "rule") this.rules.set(value.name, value);
    else if (name === "gone") this.rules.delete(value.name);
    else if (name === "run") for (const listener of this.runListeners) listener(value);
    else return undefined;
    return this.heard();
  }

  heard() {
    this.heardAt = Date.now();
    this.changed();
  }

  // Seconds since the service was last heard of; while the stream lives, silence means that nothing changed.
  get ageSeconds() {
    return this.link === "live" || !this.heardAt ? 0 : (Date.now() - this.heardAt) / 1000;
  }

  // What is shown may have become untrue.
  get isStale() {
    return this.service !== null && this.ageSeconds > 30;
  }
}

export const isRunning = (rule) => rule.running !== null || rule.queued;
export const isFailed = (rule) => IN_NEED.has(rule.state);
export const isBroken = (rule) => !rule.is_fresh && (rule.objective_seconds !== null || isFailed(rule));
export const isBehind = (rule) => !rule.is_fresh || rule.behind_since !== null;

export const FILTERS = [
  ["all", "All", () => true],
  ["behind", "Behind", isBehind],
  ["running", "Running", isRunning],
  ["failed", "Failed", isFailed],
];

// The worst first; what changes with every second does not take part, so that nothing moves under the pointer.
export function rank(rule) {
  const need = isBroken(rule) ? 0 : !rule.is_fresh || isFailed(rule) || ["blocked", "waiting"].includes(rule.state) ? 1 : isRunning(rule) ? 2 : 3;
  const state = need < 2 ? WORST_FIRST.indexOf(rule.state) : 0;
  return `${need}${state} ${rule.name}`;
}

export function matches(rule, words) {
  if (!words.length) return true;
  const text = [rule.name, rule.source, ...rule.targets.map((target) => target.target)].join("\n").toLowerCase();
  return words.every((word) => text.includes(word));
}

export const total = (images) => Object.values(images ?? {}).reduce((sum, count) => sum + count, 0);

export function addUp(rules) {
  const images = {};
  for (const rule of rules) for (const [state, count] of Object.entries(rule.images)) images[state] = (images[state] ?? 0) + count;
  return images;
}
