// Sizes, spans, moments, digests and states as people read them. Pure, but for the zone of the browser.

const KIB = 1024;
const SIZES = ["KiB", "MiB", "GiB", "TiB", "PiB"];
const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;
const NUMBER = new Intl.NumberFormat("en");
const PERCENT = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const WEEKDAY = new Intl.DateTimeFormat("en-GB", { weekday: "short", hour: "2-digit", minute: "2-digit" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const YEAR = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const DAY_OF = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit" });

// Controls, and what turns the direction of the text around it: shown by number, so that a name cannot hide what it is.
const TRICKS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

export function clean(text) {
  return String(text).replace(TRICKS, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

export const number = (count) => NUMBER.format(count);

export function count(amount, noun, plural = `${noun}s`) {
  return `${number(amount)} ${amount === 1 ? noun : plural}`;
}

export function size(bytes) {
  if (!(bytes >= 1000)) return `${Math.round(bytes || 0)} B`;
  let step = 0;
  let value = bytes / KIB;
  while (value >= 999.5 && step < SIZES.length - 1) {
    value /= KIB;
    step += 1;
  }
  return `${value < 9.95 ? value.toFixed(1) : value.toFixed(0)} ${SIZES[step]}`;
}

export const rate = (bytes) => `${size(bytes)}/s`;

export function percent(part, whole) {
  if (!whole) return "0 %";
  // What is not all is never called all, and what is something never nothing.
  const share = (100 * part) / whole;
  if (part < whole && share > 99) return `${(Math.floor(share * 10) / 10).toFixed(1)} %`;
  return part > 0 && share < 1 ? "under 1 %" : `${PERCENT.format(share)} %`;
}

export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min`;
  if (whole < DAY) return two(Math.floor(whole / HOUR), "h", Math.floor((whole % HOUR) / MINUTE), "min");
  if (whole < 14 * DAY) return two(Math.floor(whole / DAY), "d", Math.floor((whole % DAY) / HOUR), "h");
  return `${number(Math.floor(whole / DAY))} days`;
}

function two(large, largeUnit, small, smallUnit) {
  return small ? `${large} ${largeUnit} ${small} ${smallUnit}` : `${large} ${largeUnit}`;
}

export function duration(seconds) {
  if (seconds < 9.95) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < MINUTE) return `${Math.round(seconds)} s`;
  if (seconds < 10 * MINUTE) return two(Math.floor(seconds / MINUTE), "min", Math.floor(seconds % MINUTE), "s");
  return span(seconds);
}

export function about(seconds) {
  if (seconds < 5) return "a few seconds";
  if (seconds < MINUTE) return `about ${Math.ceil(seconds / 5) * 5} s`;
  return `about ${span(seconds + 30)}`;
}

// "14:32" today, "Mon 14:32" within days, "5 Mar, 14:32" within the year, "5 Mar 2027".
export function clock(moment, now) {
  if (DAY_OF.format(moment) === DAY_OF.format(now)) return TIME.format(moment);
  const away = Math.abs(moment - now) / 1000;
  if (away < 6 * DAY) return WEEKDAY.format(moment).replace(",", "");
  return away < 300 * DAY ? DATE.format(moment) : YEAR.format(moment);
}

export function relative(moment, now) {
  const seconds = (moment - now) / 1000;
  if (Math.abs(seconds) < 5) return "now";
  return seconds > 0 ? `in ${span(seconds)}` : `${span(-seconds)} ago`;
}

export const utc = (moment) => `${moment.toISOString().slice(0, 19).replace("T", " ")} UTC`;

// How a moment is written, by the form that its element asks for.
export function moment(iso, form, now) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return "";
  if (form === "clock") return clock(at, now);
  if (form === "relative") return relative(at, now);
  if (form === "due") return at <= now ? `${clock(at, now)}, due now` : `${clock(at, now)}, ${relative(at, now)}`;
  if (form === "since") return span((now - at) / 1000);
  if (form === "behind") return `${span((now - at) / 1000)} behind`;
  return `${clock(at, now)}, ${relative(at, now)}`;
}

export function shortDigest(digest) {
  const [algorithm, hex] = String(digest).split(":");
  if (!hex || hex.length < 16) return String(digest).slice(0, 24);
  return `${algorithm === "sha256" ? "" : `${algorithm}:`}${hex.slice(0, 8)}…${hex.slice(-4)}`;
}

const ECR = /^(\d{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)$/;

export function registryName(host) {
  if (host === "docker.io") return "Docker Hub";
  const ecr = ECR.exec(host);
  return ecr ? `ECR ${ecr[2]}` : host;
}

// Words and tones of states. A tone is never alone: the word stands beside it.
export const STATES = {
  new: ["Not run yet", "idle"],
  in_sync: ["In sync", "ok"],
  out_of_sync: ["Behind", "warn"],
  copying: ["Copying", "run"],
  waiting: ["Waiting", "warn"],
  blocked: ["Blocked", "warn"],
  failed: ["Failed", "bad"],
  stalled: ["Stalled", "bad"],
};
export const STATE_ORDER = ["in_sync", "copying", "out_of_sync", "waiting", "blocked", "stalled", "failed"];

export const RESULTS = {
  running: ["running", "run"],
  ok: ["ok", "ok"],
  failed: ["failed", "bad"],
  refused: ["refused", "warn"],
  interrupted: ["interrupted", "idle"],
};

export const CAUSES = {
  schedule: "by schedule",
  start: "at the start",
  manual: "asked for",
  signal: "by signal",
  once: "once",
};

const OUTCOMES = { in_sync: "in sync", copied: "copied", skipped: "skipped", blocked: "blocked", failed: "failed" };

export function outcomes(run) {
  const parts = Object.entries(OUTCOMES)
    .filter(([key]) => run.outcomes?.[key])
    .map(([key, word]) => `${number(run.outcomes[key])} ${word}`);
  return parts.join(", ") || (run.result === "running" ? "under way" : "nothing to do");
}
