// The lag after each of the last runs, as columns; what the eye sees, a label says.

import { now, s } from "./dom.js";
import { RESULTS, clock, count, duration, span } from "./words.js";

const HEIGHT = 56;
const STEP = 10;
const WIDTH = 7;
const MOST = 40;

// `runs` are the newest first, as the service lists them.
export function lagChart(runs, objective) {
  const shown = runs.filter((run) => run.finished !== null).slice(0, MOST).reverse();
  if (shown.length < 2) return null;
  const lags = shown.map((run) => run.lag_seconds);
  const most = Math.max(...lags);
  const whole = Math.max(most, objective ?? 0, 1) * 1.05;
  const width = MOST * STEP;
  const left = width - shown.length * STEP;
  const chart = s("svg.chart", { viewBox: `0 0 ${width} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": describe(shown, most) });
  shown.forEach((run, index) => chart.append(column(run, left + index * STEP, whole)));
  if (objective !== null) {
    const y = HEIGHT - 2 - (objective / whole) * (HEIGHT - 4);
    chart.append(s("line.promise", { x1: 0, x2: width, y1: y, y2: y, "vector-effect": "non-scaling-stroke" }));
  }
  return chart;
}

function column(run, x, whole) {
  const height = Math.max(3, (run.lag_seconds / whole) * (HEIGHT - 4));
  const [word, tone] = RESULTS[run.result] ?? [run.result, "idle"];
  const title = `${clock(new Date(run.finished), now())}: ${word}, ${lagWords(run)}, took ${duration(secondsOf(run))}`;
  const group = s("g", { "data-tone": tone }, s("title", {}, title), s("rect.back", { x, y: 0, width: STEP, height: HEIGHT }));
  group.append(s("rect", { x: x + (STEP - WIDTH) / 2, y: HEIGHT - height, width: WIDTH, height, rx: 1 }));
  // A failed run is told by its form, too.
  if (tone === "bad") group.append(s("rect", { x: x + (STEP - WIDTH) / 2, y: Math.max(0, HEIGHT - height - 6), width: WIDTH, height: 3 }));
  return group;
}

export const secondsOf = (run) => (Date.parse(run.finished) - Date.parse(run.started)) / 1000;

const lagWords = (run) => (run.lag_seconds > 0 ? `${span(run.lag_seconds)} behind` : "nothing behind");

function describe(shown, most) {
  const late = shown.filter((run) => run.lag_seconds > 0).length;
  const failed = shown.filter((run) => run.result === "failed").length;
  const parts = [`How far the targets were behind after each of the last ${count(shown.length, "run")}`];
  parts.push(late ? `${late} ended behind, the worst by ${span(most)}` : "none ended behind");
  parts.push(failed ? `${failed} failed` : "none failed");
  return `${parts.join("; ")}.`;
}
