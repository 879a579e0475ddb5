// Server-sent events over fetch, since EventSource can send no token. Reads until it breaks, and begins again.

import { ApiError, ask } from "./api.js";

const SILENCE_MS = 45000; // three times as long as the service is ever silent
const FIRST_MS = 8000;
const SHORTEST_MS = 1000;
const LONGEST_MS = 30000;
const LARGEST_EVENT = 32 * 1024 * 1024;

// Splits text into events as https://html.spec.whatwg.org/multipage/server-sent-events.html says.
export class EventParser {
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.rest = "";
    this.name = "";
    this.data = [];
    this.size = 0;
  }

  push(text) {
    // A carriage return at the end may be half of a line's end: it waits for what follows.
    const all = this.rest + text;
    const lines = all.replace(/\r\n/g, "\n").replace(/\r(?!$)/g, "\n").split("\n");
    this.rest = lines.pop();
    for (const line of lines) this.line(line);
    if (this.rest.length + this.size > LARGEST_EVENT) throw new ApiError(0, "an event is larger than the page takes");
  }

  line(line) {
    if (line === "") {
      const data = this.data.join("\n");
      const name = this.name || "message";
      const isThere = this.data.length > 0;
      this.name = "";
      this.data = [];
      this.size = 0;
      if (isThere) this.onEvent(name, data);
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.name = value;
    if (field === "data") {
      this.data.push(value);
      this.size += value.length;
    }
  }
}

// Hooks: onEvent(name, value), refresh() before each try, onLink(state): live, polling, reconnecting, offline, refused, locked.
export class Stream {
  constructor({ onEvent, refresh, onLink }) {
    this.onEvent = onEvent;
    this.refresh = refresh;
    this.onLink = onLink;
    this.wait = () => {};
    this.failures = 0;
    this.isAsleep = false;
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
  }

  // Cuts a wait short: the token was given, the network is back, somebody looks again.
  hurry() {
    this.wait();
  }

  async run() {
    for (;;) {
      try {
        await this.refresh();
        await this.follow();
        this.failures = 0;
      } catch (error) {
        if (!(error instanceof ApiError)) console.warn(`mirrord: ${error.message}`);
        if (error.wantsToken) {
          this.onLink("locked", error);
          await this.sleep(Infinity);
          continue;
        }
        this.failures += 1;
        const isBrief = navigator.onLine && this.failures < 4;
        this.onLink(error.isRefusal ? "refused" : isBrief ? "reconnecting" : "offline", error);
      }
      await this.sleep(backoff(this.failures));
    }
  }

  async follow() {
    const stop = new AbortController();
    let isLive = false;
    let timer = setTimeout(() => stop.abort(), FIRST_MS);
    try {
      const answer = await ask("events", { headers: { Accept: "text/event-stream" }, signal: stop.signal });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser((name, data) => this.take(name, data));
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        clearTimeout(timer);
        timer = setTimeout(() => stop.abort(), SILENCE_MS);
        parser.push(value);
        if (!isLive) this.onLink("live");
        isLive = true;
        this.failures = 0;
      }
    } catch (error) {
      // Something between holds the stream back: what is there was just asked for, and will be again.
      if (!isLive && stop.signal.aborted) return this.onLink("polling");
      if (!isLive || error instanceof ApiError) throw error;
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
    this.onLink("reconnecting");
  }

  take(name, data) {
    let value;
    try {
      value = JSON.parse(data);
    } catch {
      console.warn(`mirrord: an event "${name}" is no JSON`);
      return;
    }
    this.onEvent(name, value);
  }

  sleep(ms) {
    return new Promise((resolve) => {
      const timer = Number.isFinite(ms) ? setTimeout(resolve, ms) : 0;
      this.wait = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function backoff(failures) {
  const longest = Math.min(LONGEST_MS, SHORTEST_MS * 2 ** failures);
  // Pages that lost a service at the same moment do not come back at the same moment.
  return longest / 2 + (Math.random() * longest) / 2;
}
