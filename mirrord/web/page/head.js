// The top of the page: verdict, title and icon of the tab, how fresh the page itself is, and troubles of the service.

import { append, byId, fill, h, icon, sentence, setAttribute, setText, show, time } from "./dom.js";
import { span } from "./words.js";

const WORDS = {
  connecting: "connecting",
  live: "live",
  polling: "updated every few seconds",
  reconnecting: "reconnecting",
  offline: "offline",
  refused: "refused",
  locked: "locked",
};
const CONFIG = "The configuration file was refused";
const STATE = "The state store cannot be used";

export class Head {
  constructor({ onRule, onToken }) {
    this.onRule = onRule;
    this.onToken = onToken;
    this.drawn = "";
    this.bannersDrawn = "";
  }

  update(model) {
    this.updateLink(model);
    if (model.service === null) return this.updateLocked(model);
    const { verdict } = model.service;
    const level = model.isStale || model.link === "locked" ? "unknown" : verdict.level;
    setAttribute(byId("verdict"), "data-level", level);
    setAttribute(byId("verdict-icon"), "href", `#i-${level}`);
    setText(byId("headline"), verdict.headline);
    this.updateTab(level, verdict.headline);
    this.updateDetails(model);
    this.updateBanners(model);
    return undefined;
  }

  updateTab(level, headline) {
    const title = level === "unknown" ? `mirrord: not connected` : `${headline} · mirrord`;
    if (document.title !== title) document.title = title;
    const address = `static/icon-${level}.svg`;
    if (byId("icon").getAttribute("href") !== address) byId("icon").setAttribute("href", address);
  }

  updateLocked(model) {
    if (model.link === "locked") {
      setText(byId("headline"), "This page needs the API token");
      if (!byId("details").firstElementChild) {
        fill(byId("details"), h("li", {}, h("button.btn.primary", { type: "button", onclick: this.onToken }, icon("key"), "Give the token")));
      }
      document.title = "mirrord: locked";
    } else if (model.fault) {
      setText(byId("headline"), model.link === "refused" ? "The service refuses this page" : "The service cannot be reached");
      fill(byId("details"), h("li", {}, sentence(`${model.fault}.`)), h("li", {}, "It is asked again and again; nothing needs to be done here once it answers."));
      document.title = "mirrord: not connected";
    }
  }

  updateLink(model) {
    const element = byId("link");
    setAttribute(element, "data-link", model.link);
    const age = model.ageSeconds;
    const isOld = age > 5 && model.service !== null;
    setText(byId("link-word"), isOld ? `${WORDS[model.link]}, data of ${span(age)} ago` : WORDS[model.link]);
    const more = byId("link-more");
    if (model.service === null || more.dataset.of === model.service.started + model.service.config.loaded_at) return;
    more.dataset.of = model.service.started + model.service.config.loaded_at;
    fill(more, "configuration loaded ", time(model.service.config.loaded_at, "clock"), " · up ", time(model.service.started, "since"));
  }

  updateDetails(model) {
    const { verdict, config, state_error: stateError } = model.service;
    const shownBelow = (text) => (config.error && text.startsWith(CONFIG)) || (stateError && text.startsWith(STATE));
    const details = verdict.details.filter((text) => !shownBelow(text));
    const names = [...model.rules.keys()].sort((a, b) => b.length - a.length);
    const drawn = JSON.stringify([details, names.length]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    fill(byId("details"), details.map((text) => this.detail(text, names)));
  }

  // A detail that begins with a rule's name leads to that rule.
  detail(text, names) {
    const name = names.find((candidate) => text.startsWith(`${candidate} `));
    if (name === undefined) return h("li", {}, sentence(text));
    const link = h("a", { href: `#rule=${encodeURIComponent(name)}`, onclick: (event) => this.follow(event, name) }, h("bdi", {}, name));
    return h("li", {}, link, sentence(text.slice(name.length)));
  }

  follow(event, name) {
    event.preventDefault();
    this.onRule(name);
  }

  updateBanners(model) {
    const { config, state_error: stateError, draining } = model.service;
    const drawn = JSON.stringify([config, stateError, draining, model.isStale]);
    if (drawn === this.bannersDrawn) return;
    this.bannersDrawn = drawn;
    const banners = byId("banners");
    fill(
      banners,
      model.isStale && stale(model),
      stateError && banner("bad", STATE, [h("pre", {}, stateError), h("p", {}, "Mirroring goes on from what the registries say. Until the store is back, history is not kept, and a restart looks at everything anew.")]),
      config.error && refused(config),
      config.warnings.length > 0 && warnings(config),
    );
    show(banners, banners.firstElementChild !== null);
  }
}

function stale(model) {
  const since = new Date(model.heardAt).toISOString();
  return banner("notice", "Not connected", [h("p", {}, "What you see is of ", time(since, "clock"), ". It may have changed since; the page goes on by itself once the service answers.")]);
}

function refused(config) {
  const when = config.error_at ? [" at ", time(config.error_at, "clock"), ", ", time(config.error_at, "relative")] : [];
  return banner("notice", [CONFIG, ...when], [
    h("pre", {}, config.error),
    h("p", {}, "The one loaded at ", time(config.loaded_at, "clock"), " is in force. Mend ", h("code", {}, config.file), "; it is read again as soon as it changes. ", h("code", {}, "mirrord config validate"), " says the same beforehand."),
  ]);
}

function warnings(config) {
  const many = config.warnings.length;
  const list = h("ul", {}, config.warnings.map((text) => h("li", {}, text)));
  return h("details.banner", { "data-tone": "quiet" }, h("summary", {}, `${many} ${many === 1 ? "warning" : "warnings"} about the configuration`), list);
}

function banner(tone, title, body) {
  const element = h("div.banner", { "data-tone": tone, role: "group" }, icon(tone));
  append(element, [h("div", {}, h("h2", {}, title), ...body)]);
  return element;
}
