// Requests to the service. Addresses are relative, so that a proxy may put the page under a path of its own.

const KEY = "mirrord.token";
const DEADLINE_MS = 20000;

// What was wrong, in the words of the service where it answered. `status` is 0 where nothing did.
export class ApiError extends Error {
  constructor(status, message, remedy = "") {
    super(message);
    this.status = status;
    this.remedy = remedy;
  }

  get text() {
    return [this.message, this.remedy].filter(Boolean).join("; ");
  }

  // Refused for good: another token, or another try, would not help.
  get isRefusal() {
    return this.status >= 400 && this.status < 500 && this.status !== 429;
  }

  get wantsToken() {
    return this.status === 401;
  }
}

export function token() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return memory;
  }
}

let memory = "";

export function keepToken(value) {
  memory = value;
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch {
    // Storage may be switched off: then the token lives as long as the page.
  }
}

export const address = (path) => new URL(`api/v1/${path}`, document.baseURI);

// Returns the answer; raises ApiError for one that is no success, with status 0 where there is none.
export async function ask(path, { method = "GET", headers = {}, signal } = {}) {
  const bearer = token();
  const all = { ...headers, ...(bearer ? { Authorization: `Bearer ${bearer}` } : {}) };
  let answer;
  try {
    answer = await fetch(address(path), { method, headers: all, signal, cache: "no-store", redirect: "error" });
  } catch (error) {
    throw new ApiError(0, error.name === "AbortError" || error.name === "TimeoutError" ? "no answer in time" : "the service cannot be reached");
  }
  if (answer.ok) return answer;
  throw await refusal(answer);
}

export async function askJson(path, options = {}) {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const answer = await ask(path, { ...options, signal, headers: { Accept: "application/json" } });
  try {
    return await answer.json();
  } catch {
    throw new ApiError(answer.status, "the answer is no JSON: is something else in front of the service?");
  }
}

async function refusal(answer) {
  let told = null;
  try {
    told = await answer.json();
  } catch {
    // A proxy's own page, for instance; its status says enough.
  }
  const error = told?.error ?? told;
  const message = [error?.message, error?.detail, error?.title].find((text) => typeof text === "string");
  return new ApiError(answer.status, message ?? `the service answered ${answer.status}`, typeof error?.remedy === "string" ? error.remedy : "");
}

export const statusNow = () => askJson("status");
export const runOf = (id) => askJson(`runs/${encodeURIComponent(id)}`);
export const syncNow = (rule) => askJson(`rules/${encodeURIComponent(rule)}/sync`, { method: "POST" });

export function runsOf(rule, { limit, after = null }) {
  const query = new URLSearchParams({ rule, limit: String(limit) });
  if (after !== null) query.set("after", after);
  return askJson(`runs?${query}`);
}

export function imagesOf(rule, { states = [], search = "", limit, after = null }) {
  const query = new URLSearchParams({ rule, limit: String(limit) });
  for (const state of states) query.append("state", state);
  if (search) query.set("search", search);
  if (after !== null) query.set("after", after);
  return askJson(`images?${query}`);
}
