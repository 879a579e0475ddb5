// Puts the parts together: the stream changes the model, and the model is drawn at most once a frame.

import { keepToken, statusNow, syncNow, token } from "./api.js";
import { byId, setServerTime, setText, tick, toast } from "./dom.js";
import { Figures } from "./figures.js";
import { Head } from "./head.js";
import { RuleList } from "./list.js";
import { Model } from "./model.js";
import { Stream } from "./stream.js";
import { TokenForm } from "./token.js";

const TICK_MS = 1000;
const HIDDEN_MS = 500;
const WRONG = "That token was not accepted. Check that it is this service's, and whole.";

const model = new Model();
const tokenForm = new TokenForm();
const figures = new Figures();
const list = new RuleList({ model, sync });
const head = new Head({ onRule: (name) => list.open(name), onToken: unlock });
let isPlanned = false;

let isFirst = true;

function draw() {
  isPlanned = false;
  const began = performance.now();
  head.update(model);
  if (model.service !== null) {
    figures.update(model);
    setText(byId("version"), `mirrord ${model.service.version}`);
  }
  list.update(model);
  if (isFirst && model.service !== null) {
    isFirst = false;
    performance.measure("first-drawn", { start: began, end: performance.now() });
  }
}

// A page that nobody looks at gets no frames, yet its title and icon are looked at.
function plan() {
  if (isPlanned) return;
  isPlanned = true;
  if (document.hidden) setTimeout(draw, HIDDEN_MS);
  else requestAnimationFrame(draw);
}

const stream = new Stream({
  refresh: async () => {
    const status = await statusNow();
    setServerTime(status.now);
    model.takeStatus(status);
  },
  onEvent: (name, value) => {
    if (name === "status" || name === "service") setServerTime(value.now);
    model.take(name, value);
  },
  onLink: (link, error) => {
    model.setLink(link, error);
    if (link === "locked") unlock(error);
  },
});

async function unlock() {
  const given = await tokenForm.request({
    headline: "This page needs the API token",
    why: "The service listens on a network, so it shows what it does only to those who know its token.",
    wrong: token() ? WRONG : "",
  });
  if (given) stream.hurry();
}

// Returns the ticket; null: it could not be asked for, and the user was told why.
async function sync(rule) {
  for (;;) {
    try {
      const ticket = await syncNow(rule);
      toast(ticket.already ? `${rule} had been asked to run already.` : `${rule} runs as soon as it may.`);
      return ticket;
    } catch (error) {
      if (!error.wantsToken) {
        toast(`${rule} could not be asked to run: ${error.text}`);
        return null;
      }
      const why = "To look is free here, to start a run is not: the service wants to know that you may.";
      const wrong = token() ? WRONG : "";
      keepToken(""); // at once: a wrong one would lock what is open without one
      if (!(await tokenForm.request({ headline: "To start a run, the API token is needed", why, wrong }))) return null;
    }
  }
}

model.onChange(plan);
setInterval(() => {
  if (!document.hidden) {
    tick(document);
    list.tick();
  }
  // Silence is news, too.
  if (model.link !== "live") plan();
}, TICK_MS);
setText(byId("zone"), `Times in ${Intl.DateTimeFormat().resolvedOptions().timeZone}`);
stream.run();
