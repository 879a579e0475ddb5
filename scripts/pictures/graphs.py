"""Lines and bars over time, as SVG, with their axes, thresholds, annotations and legend."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.pictures.data import Data, Json, Line
from scripts.pictures.units import written

LEFT, BOTTOM, TOP, RIGHT = 62, 18, 6, 4
PALETTE = ("#56B4E9", "#E69F00", "#CC79A7", "#0072B2", "#009E73", "#D55E00", "#F0E442", "#999999")
MOST_IN_LEGEND = 6
OFTEN_S = 700
"""Up to this range the axis has every minute."""

Below = dict[float, float]
"""What is stacked below, by the moment."""


@dataclass(frozen=True)
class Canvas:
    """The place of a graph in pixels, its time range in seconds, and the value at its upper edge."""

    width: float
    height: float
    start: float
    end: float
    step: float
    top: float

    @property
    def right(self) -> float:
        """Where the graph ends."""
        return self.width - RIGHT

    @property
    def bottom(self) -> float:
        """Where zero is."""
        return self.height - BOTTOM

    def x(self, moment: float) -> float:
        """Return where a moment is."""
        return LEFT + (moment - self.start) / (self.end - self.start) * (self.right - LEFT)

    def y(self, value: float) -> float:
        """Return where a value is."""
        return TOP + (self.bottom - TOP) * (1 - min(value / self.top, 1))


def over_time(panel: Json, data: Data, width: float, height: float) -> str:
    """Return lines or bars over time, with their legend."""
    config, lines = panel["fieldConfig"]["defaults"], data.lines
    custom = config["custom"]
    paint(panel, lines)
    is_stacked = custom["stacking"]["mode"] == "normal"
    legend, legend_px = legend_of(panel, lines, config)
    top = max(highest(lines, is_stacked=is_stacked), custom.get("axisSoftMax", 0), 1e-9) * 1.05
    canvas = Canvas(width, height - legend_px, data.start, data.end, data.step, top)
    draw = bars if custom["drawStyle"] == "bars" else curve
    parts = [grid(canvas, config)]
    below: Below = {}
    for line in lines:
        parts.append(draw(panel, line, below, canvas))
        if is_stacked:
            for moment, value in line.points:
                below[moment] = below.get(moment, 0) + (value if math.isfinite(value) else 0)
    if custom["thresholdsStyle"]["mode"] != "off":
        parts += thresholds(config, canvas)
    parts += events(data, canvas)
    return f'<svg width="{width:.0f}" height="{canvas.height:.0f}">{"".join(parts)}</svg>{legend}'


def highest(lines: Sequence[Line], *, is_stacked: bool) -> float:
    """Return the highest value that is drawn."""
    sums: Below = {}
    for line in lines:
        for moment, value in line.points:
            if math.isfinite(value):
                sums[moment] = sums.get(moment, 0) + value if is_stacked else max(sums.get(moment, 0), value)
    return max(sums.values(), default=0)


def thresholds(config: Json, canvas: Canvas) -> list[str]:
    """Return the lines of thresholds that are in sight."""
    return [
        f'<path d="M{LEFT} {canvas.y(step["value"]):.1f}H{canvas.right:.0f}" stroke="{step["color"]}" '
        'stroke-dasharray="6 5" fill="none"/>'
        for step in config["thresholds"]["steps"]
        if step["value"] is not None and step["value"] <= canvas.top
    ]


def events(data: Data, canvas: Canvas) -> list[str]:
    """Return annotations as dashed lines with a mark below."""
    found = []
    for moment, colour in data.events:
        at = canvas.x(moment)
        if at > LEFT:
            found.append(
                f'<path d="M{at:.1f} {TOP}V{canvas.bottom}" stroke="{colour}" stroke-dasharray="2 3" opacity=".7"/>'
                f'<path d="M{at - 3:.1f} {canvas.bottom + 5}h6l-3 -5z" fill="{colour}"/>'
            )
    return found


def ticks(top: float, unit: str) -> list[float]:
    """Return about four values for the lines of the grid."""
    if unit == "s" and top > 120:  # noqa: PLR2004 - whole minutes, from two on
        return [60 * value for value in ticks(top / 60, "short")]
    base = 1024 ** max(0, int(math.log(top, 1024))) if unit in {"bytes", "binBps"} and top > 1 else 1
    rough = top / base / 4
    power = 10 ** math.floor(math.log10(rough))
    step = base * power * next(one for one in (1, 2, 2.5, 5, 10) if one * power >= rough)
    if unit == "short" and step < 1:
        step = 1
    return [step * number for number in range(int(top / step) + 1)]


def grid(canvas: Canvas, config: Json) -> str:
    """Return the lines of the grid and the words at its axes."""
    parts = []
    for value in ticks(canvas.top, config["unit"]):
        at, label = canvas.y(value), written(value, config["unit"])
        parts.append(f'<path class="grid-line" d="M{LEFT} {at:.1f}H{canvas.right:.0f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 3.5:.1f}" text-anchor="end">{label}</text>')
    every = 60 if canvas.end - canvas.start < OFTEN_S else 120
    for passed in range(every, int(canvas.end - canvas.start), every):
        at = canvas.x(canvas.start + passed)
        text = f"{passed // 60} min"
        parts.append(f'<text x="{at:.1f}" y="{canvas.bottom + 14:.1f}" text-anchor="middle">{text}</text>')
    return "".join(parts)


def curve(panel: Json, line: Line, below: Below, canvas: Canvas) -> str:
    """Return a line; where there is no value it is broken."""
    is_dashed = line.colour == "#999999" and any(
        prop["id"] == "custom.lineStyle" for one in panel["fieldConfig"]["overrides"] for prop in one["properties"]
    )
    opacity = panel["fieldConfig"]["defaults"]["custom"]["fillOpacity"] / 100
    parts = []
    for run in unbroken(line, canvas.step):
        up = [(canvas.x(moment), canvas.y(value + below.get(moment, 0))) for moment, value in run]
        down = [(canvas.x(moment), canvas.y(below.get(moment, 0))) for moment, _ in reversed(run)]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in up)
        if not is_dashed:
            area = path + "L" + "L".join(f"{a:.1f} {b:.1f}" for a, b in down) + "Z"
            parts.append(f'<path d="{area}" fill="{line.colour}" opacity="{opacity:.2f}"/>')
        if len(run) == 1:
            parts.append(f'<circle cx="{up[0][0]:.1f}" cy="{up[0][1]:.1f}" r="2" fill="{line.colour}"/>')
        dash = ' stroke-dasharray="8 8"' if is_dashed else ""
        parts.append(f'<path d="{path}" fill="none" stroke="{line.colour}" stroke-width="1.3"{dash}/>')
    return "".join(parts)


def unbroken(line: Line, step: float) -> list[list[tuple[float, float]]]:
    """Return the points of a line in parts between which there is nothing."""
    runs: list[list[tuple[float, float]]] = []
    for moment, value in line.points:
        if not math.isfinite(value):
            continue
        if not runs or moment - runs[-1][-1][0] > 1.5 * step:
            runs.append([])
        runs[-1].append((moment, value))
    return runs


def bars(panel: Json, line: Line, below: Below, canvas: Canvas) -> str:
    """Return a bar for each count, before the moment at which it was asked for."""
    share = panel["fieldConfig"]["defaults"]["custom"]["fillOpacity"] / 100
    wide = max(1.0, (canvas.x(canvas.start + canvas.step) - canvas.x(canvas.start)) * 0.85)
    parts = []
    for moment, value in line.points:
        if math.isfinite(value) and value > 0 and moment > canvas.start:
            upper, lower = canvas.y(value + below.get(moment, 0)), canvas.y(below.get(moment, 0))
            parts.append(
                f'<rect x="{canvas.x(moment) - wide:.1f}" y="{upper:.1f}" width="{wide:.1f}" '
                f'height="{lower - upper:.1f}" fill="{line.colour}" opacity="{share:.2f}"/>'
            )
    return "".join(parts)


def legend_of(panel: Json, lines: Sequence[Line], config: Json) -> tuple[str, float]:
    """Return the table below a graph, and its height in pixels."""
    calcs = panel["options"]["legend"]["calcs"]
    names = {"lastNotNull": "last", "max": "max", "min": "min", "sum": "total"}
    rows = [f"<tr><td></td>{''.join(f'<td>{names[calc]}</td>' for calc in calcs)}</tr>"]
    for line in lines[:MOST_IN_LEGEND]:
        values = [value for _, value in line.points if math.isfinite(value)]
        cells = "".join(
            f"<td>{written(calculated(calc, values), config['unit'], config.get('decimals'))}</td>" for calc in calcs
        )
        rows.append(f'<tr><td><i style="background:{line.colour}"></i>{html.escape(line.name)}</td>{cells}</tr>')
    return f'<table class="legend">{"".join(rows)}</table>', 17.0 * len(rows) + 2


def calculated(calc: str, values: Sequence[float]) -> float:
    """Return what the legend says of a line."""
    if not values:
        return math.nan
    return {"lastNotNull": values[-1], "max": max(values), "min": min(values), "sum": sum(values)}[calc]


def paint(panel: Json, lines: Sequence[Line]) -> None:
    """Give lines their colours: fixed ones by name, others by the order of their names."""
    overrides = panel["fieldConfig"]["overrides"]
    fixed = {
        one["matcher"]["options"]: prop["value"]["fixedColor"]
        for one in overrides
        for prop in one["properties"]
        if prop["id"] == "color"
    }
    for line in lines:
        key = next((name for name in fixed if name == line.name or _is_like(name, line.name)), None)
        line.colour = (
            fixed[key] if key else PALETTE[sum(map(ord, line.labels.get("registry", line.name))) % len(PALETTE)]
        )
    taken: dict[str, str] = {}
    for line in lines:  # no two names of one colour, as long as there are enough
        if line.name not in fixed and not any(_is_like(name, line.name) for name in fixed):
            free = [colour for colour in PALETTE if colour not in taken.values()]
            if line.colour in taken.values() and free:
                line.colour = free[0]
            taken[line.name] = line.colour


def _is_like(pattern: str, name: str) -> bool:
    return pattern.startswith("/") and re.search(pattern.strip("/"), name) is not None
