"""Panels as HTML and SVG, at the places and in the colours that the dashboard gives them."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.pictures.units import written

ROW_PX, GAP_PX, WIDTH_PX = 30, 8, 1440
LEFT, BOTTOM, TOP = 62, 18, 6
PALETTE = ("#56B4E9", "#E69F00", "#CC79A7", "#0072B2", "#009E73", "#D55E00", "#F0E442", "#999999")
MOST_IN_LEGEND = 6
GREY = "#8e8e98"

Json = dict[str, Any]


@dataclass
class Line:
    """A series with its name; ``points`` are moments in seconds since 1970 and values."""

    name: str
    labels: dict[str, str]
    points: list[tuple[float, float]]
    colour: str = ""


@dataclass
class Data:
    """What a panel shows: lines by the letter of their query, in the time range; events are moments and colours."""

    start: float
    end: float
    step: float
    by_query: dict[str, list[Line]] = field(default_factory=dict)
    events: Sequence[tuple[float, str]] = ()

    @property
    def lines(self) -> list[Line]:
        """All lines."""
        return [line for lines in self.by_query.values() for line in lines]


def panel_html(panel: Json, data: Data, top: int) -> str:
    """Return a panel at its place; ``top`` is the row of the grid that is uppermost on the page."""
    at = panel["gridPos"]
    column = (WIDTH_PX - 16) / 24
    width, height = at["w"] * column - GAP_PX, at["h"] * (ROW_PX + GAP_PX) - GAP_PX
    place = f"left:{at['x'] * column:.0f}px;top:{(at['y'] - top) * (ROW_PX + GAP_PX)}px;width:{width:.0f}px;height:{height}px"
    title = html.escape(panel["title"])
    if panel["type"] == "row":
        return f'<div class="row" style="{place}">⌄ {title}</div>'
    return f'<section class="panel" style="{place}"><h2>{title}</h2>{inside(panel, data, width - 18, height - 38)}</section>'


def inside(panel: Json, data: Data, width: float, height: float) -> str:
    """Return what a panel shows; without anything, what it says then."""
    draw: Callable[[Json, Data, float, float], str] = {
        "stat": stat,
        "timeseries": over_time,
        "state-timeline": timeline,
        "bargauge": gauge,
        "table": table,
    }[panel["type"]]
    if not data.lines:
        nothing = html.escape(panel["fieldConfig"]["defaults"]["noValue"])
        size = 20 if panel["type"] == "stat" else 13
        return f'<div class="none" style="font-size:{size}px">{nothing}</div>'
    return draw(panel, data, width, height)


def mapped(value: float, mappings: Sequence[Json]) -> Json | None:
    """Return the text and colour that stand for a value."""
    for mapping in mappings:
        if mapping["type"] == "value" and (found := mapping["options"].get(f"{value:g}")):
            return dict(found)
        if mapping["type"] == "special" and math.isnan(value):
            return dict(mapping["options"]["result"])
    return None


def threshold(value: float, thresholds: Json) -> str:
    """Return the colour of a value."""
    colour = ""
    for step in thresholds["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return colour


def shown(value: float, config: Json) -> tuple[str, str]:
    """Return the text and the colour of a value, by the field's configuration."""
    found = mapped(value, config.get("mappings", ()))
    if found is not None:
        return html.escape(found["text"]), found["color"]
    return written(value, config["unit"], config.get("decimals")), threshold(value, config["thresholds"])


def stat(panel: Json, data: Data, width: float, height: float) -> str:
    """Return one number, or a name."""
    config = panel["fieldConfig"]["defaults"]
    texts = []
    for line in data.lines:
        text, colour = shown(line.points[-1][1], config)
        text = html.escape(line.name) if panel["options"]["textMode"] == "name" else text
        texts.append(f'<span style="color:{colour}">{text}</span>')
    size = min(44, 1.6 * width / max(len(re.sub("<.*?>", "", "".join(texts))), 1), height * 0.7)
    return f'<div class="stat" style="font-size:{size:.0f}px">{" ".join(texts)}</div>'


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


def ticks(top: float, unit: str) -> list[float]:
    """Return about four values for the lines of the grid."""
    base = 1024 ** max(0, int(math.log(top, 1024))) if unit in {"bytes", "binBps"} and top > 1 else 1
    rough = top / base / 4
    power = 10 ** math.floor(math.log10(rough))
    step = base * power * next(one for one in (1, 2, 2.5, 5, 10) if one * power >= rough)
    if unit == "short" and step < 1:
        step = 1
    return [step * number for number in range(int(top / step) + 1)]


def over_time(panel: Json, data: Data, width: float, height: float) -> str:
    """Return lines or bars over time, with their legend."""
    config, lines = panel["fieldConfig"]["defaults"], data.lines
    custom = config["custom"]
    paint(panel, lines)
    is_stacked = custom["stacking"]["mode"] == "normal"
    legend, legend_px = legend_of(panel, lines, config)
    height -= legend_px
    sums: dict[float, float] = {}
    for line in lines:
        for moment, value in line.points:
            if math.isfinite(value):
                sums[moment] = sums.get(moment, 0) + value if is_stacked else max(sums.get(moment, 0), value)
    top = max([*sums.values(), custom.get("axisSoftMax", 0), 1e-9]) * 1.05
    wide, tall = width - LEFT - 4, height - BOTTOM - TOP

    def x(moment: float) -> float:
        return LEFT + (moment - data.start) / (data.end - data.start) * wide

    def y(value: float) -> float:
        return TOP + tall * (1 - min(value / top, 1))

    parts = [grid(data, config, top, x, y, width)]
    below: dict[float, float] = {}
    for line in lines:
        draw = bars if custom["drawStyle"] == "bars" else curve
        parts.append(draw(panel, line, below if is_stacked else {}, data, x, y))
        if is_stacked:
            for moment, value in line.points:
                below[moment] = below.get(moment, 0) + (value if math.isfinite(value) else 0)
    if custom["thresholdsStyle"]["mode"] != "off":
        for step in config["thresholds"]["steps"]:
            if step["value"] is not None and step["value"] <= top:
                at, colour = y(step["value"]), step["color"]
                parts.append(
                    f'<path d="M{LEFT} {at:.1f}H{width - 4:.0f}" stroke="{colour}" stroke-dasharray="6 5" fill="none"/>'
                )
    parts += events(data, x, height)
    return f'<svg width="{width:.0f}" height="{height:.0f}">{"".join(parts)}</svg>{legend}'


def events(data: Data, x: Callable[[float], float], height: float) -> list[str]:
    """Return annotations as dashed lines with a mark below."""
    found = []
    for moment, colour in data.events:
        at = x(moment)
        found.append(
            f'<path d="M{at:.1f} {TOP}V{height - BOTTOM}" stroke="{colour}" stroke-dasharray="2 3" opacity=".7"/>'
            f'<path d="M{at - 3:.1f} {height - BOTTOM + 5}h6l-3 -5z" fill="{colour}"/>'
        )
    return found


def grid(
    data: Data, config: Json, top: float, x: Callable[[float], float], y: Callable[[float], float], width: float
) -> str:
    """Return the lines of the grid and the words at its axes."""
    parts = []
    for value in ticks(top, config["unit"]):
        at = y(value)
        parts.append(f'<path class="grid-line" d="M{LEFT} {at:.1f}H{width - 4:.0f}"/>')
        label = written(value, config["unit"], None)
        parts.append(f'<text x="{LEFT - 6}" y="{at + 3.5:.1f}" text-anchor="end">{label}</text>')
    bottom = y(0)
    minute = math.ceil(data.start / 60) * 60
    every = 60 if data.end - data.start < 700 else 120
    while minute <= data.end:
        label = f"+{(minute - data.start) / 60:.0f} min"
        parts.append(f'<text x="{x(minute):.1f}" y="{bottom + 14:.1f}" text-anchor="middle">{label}</text>')
        minute += every
    return "".join(parts)


def curve(
    panel: Json,
    line: Line,
    below: dict[float, float],
    data: Data,
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> str:
    """Return a line; where there is no value it is broken."""
    runs: list[list[tuple[float, float]]] = [[]]
    before: float | None = None
    for moment, value in line.points:
        if not math.isfinite(value) or (before is not None and moment - before > 1.5 * data.step):
            runs.append([])
        if math.isfinite(value):
            runs[-1].append((moment, value))
            before = moment
    is_dashed = line.colour == "#999999" and any(
        prop["id"] == "custom.lineStyle" for one in panel["fieldConfig"]["overrides"] for prop in one["properties"]
    )
    opacity = panel["fieldConfig"]["defaults"]["custom"]["fillOpacity"] / 100
    parts = []
    for run in runs:
        if not run:
            continue
        up = [(x(moment), y(value + below.get(moment, 0))) for moment, value in run]
        down = [(x(moment), y(below.get(moment, 0))) for moment, _ in reversed(run)]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in up)
        if not is_dashed:
            area = path + "L" + "L".join(f"{a:.1f} {b:.1f}" for a, b in down) + "Z"
            parts.append(f'<path d="{area}" fill="{line.colour}" opacity="{opacity:.2f}"/>')
        dash = ' stroke-dasharray="8 8"' if is_dashed else ""
        if len(run) == 1:
            parts.append(f'<circle cx="{up[0][0]:.1f}" cy="{up[0][1]:.1f}" r="2" fill="{line.colour}"/>')
        parts.append(f'<path d="{path}" fill="none" stroke="{line.colour}" stroke-width="1.3"{dash}/>')
    return "".join(parts)


def bars(
    panel: Json,
    line: Line,
    below: dict[float, float],
    data: Data,
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> str:
    """Return a bar for each count, before the moment at which it was asked for."""
    wide = max(1.0, (x(data.start + data.step) - x(data.start)) * 0.85)
    parts = []
    for moment, value in line.points:
        if math.isfinite(value) and value > 0 and moment > data.start:
            upper, lower = y(value + below.get(moment, 0)), y(below.get(moment, 0))
            parts.append(
                f'<rect x="{x(moment) - wide:.1f}" y="{upper:.1f}" width="{wide:.1f}" height="{lower - upper:.1f}" '
                f'fill="{line.colour}" opacity=".85"/>'
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


def timeline(panel: Json, data: Data, width: float, height: float) -> str:
    """Return a band of states for each name."""
    config = panel["fieldConfig"]["defaults"]
    height -= 20
    left, tall = 110.0, min(46.0, (height - BOTTOM) / len(data.lines))
    parts = []

    def x(moment: float) -> float:
        return left + (moment - data.start) / (data.end - data.start) * (width - left - 4)

    for index, line in enumerate(data.lines):
        top = index * tall
        parts.append(
            f'<text x="{left - 6}" y="{top + tall / 2 + 4:.1f}" text-anchor="end">{html.escape(line.name)}</text>'
        )
        for start, end, value in _runs(line, data.step):
            text, colour = shown(value, config)
            wide = x(end) - x(start)
            parts.append(
                f'<rect x="{x(start):.1f}" y="{top + tall * 0.1:.1f}" width="{wide:.1f}" height="{tall * 0.8:.1f}" '
                f'fill="{colour}" opacity=".75"/>'
            )
            if wide > 9 * len(text):
                parts.append(f'<text class="band" x="{x(start) + 5:.1f}" y="{top + tall / 2 + 4:.1f}">{text}</text>')
    keys = "".join(
        f'<span><i style="background:{one["color"]}"></i>{html.escape(one["text"])}</span>'
        for mapping in config["mappings"]
        for one in mapping["options"].values()
    )
    return f'<svg width="{width:.0f}" height="{height:.0f}">{"".join(parts)}</svg><div class="keys">{keys}</div>'


def _runs(line: Line, step: float) -> list[tuple[float, float, float]]:
    """Return stretches of one value: from, to, value."""
    runs: list[tuple[float, float, float]] = []
    for moment, value in line.points:
        if runs and runs[-1][2] == value and moment - runs[-1][1] <= 1.5 * step:
            runs[-1] = (runs[-1][0], moment, value)
        else:
            runs.append((moment - step if runs and moment - runs[-1][1] <= 1.5 * step else moment, moment, value))
    return runs


def gauge(panel: Json, data: Data, width: float, height: float) -> str:
    """Return a bar for each name."""
    config = panel["fieldConfig"]["defaults"]
    values = [(line.name, line.points[-1][1]) for line in data.lines]
    most = max((value for _, value in values if math.isfinite(value)), default=1) or 1
    parts = []
    for name, value in values:
        text, colour = shown(value, config)
        share = value / most * 100 if math.isfinite(value) else 0
        parts.append(
            f'<span>{html.escape(name)}</span><u><b style="width:{share:.1f}%;background:{colour}"></b></u>'
            f'<span style="color:{colour}">{text}</span>'
        )
    return f'<div class="gauge">{"".join(parts)}</div>'


def table(panel: Json, data: Data, width: float, height: float) -> str:
    """Return a table: the answers of all queries merged by their labels."""
    names = panel["transformations"][-1]["options"]["renameByName"]
    overrides = {
        one["matcher"]["options"]: {p["id"]: p["value"] for p in one["properties"]}
        for one in panel["fieldConfig"]["overrides"]
    }
    rows: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
    for letter, lines in data.by_query.items():
        column = "Value" if "Value" in names else f"Value #{letter}"
        for line in lines:
            rows.setdefault(tuple(sorted(line.labels.items())), {})[names[column]] = line.points[-1][1]
    sort = panel["options"]["sortBy"][0]
    visible = [name for name in names.values() if not overrides.get(name, {}).get("custom.hidden")]
    of_labels = {column: label for label, column in names.items() if not label.startswith("Value")}

    def key(row: tuple[tuple[tuple[str, str], ...], dict[str, float]]) -> Any:
        labels, values = row
        return (
            dict(labels)[of_labels[sort["displayName"]]]
            if sort["displayName"] in of_labels
            else values.get(sort["displayName"], -1.0)
        )

    parts = ["<tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in visible) + "</tr>"]
    for labels, values in sorted(rows.items(), key=key, reverse=sort["desc"]):
        cells = []
        for name in visible:
            config = {
                "thresholds": {"steps": [{"value": None, "color": "inherit"}]},
                "unit": "none",
                **overrides.get(name, {}),
            }
            if name in of_labels:
                text = html.escape(dict(labels).get(of_labels[name], ""))
                cells.append(f"<td><a>{text}</a></td>" if "links" in config else f"<td>{text}</td>")
            elif name in values:
                text, colour = shown(values[name], config)
                cells.append(f'<td style="color:{colour}">{text}</td>')
            else:
                cells.append("<td>-</td>")
        parts.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table class="table">{"".join(parts)}</table>'
