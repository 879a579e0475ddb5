"""Panels as HTML and SVG, at the places and in the colours that the dashboard gives them."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from scripts.pictures.data import Data, Json, Line
from scripts.pictures.graphs import BOTTOM, over_time
from scripts.pictures.units import written

ROW_PX, GAP_PX, WIDTH_PX = 30, 8, 1440


def panel_html(panel: Json, data: Data, top: int) -> str:
    """Return a panel at its place; ``top`` is the row of the grid that is uppermost on the page."""
    at = panel["gridPos"]
    column = (WIDTH_PX - 16) / 24
    width, height = at["w"] * column - GAP_PX, at["h"] * (ROW_PX + GAP_PX) - GAP_PX
    corner = f"left:{at['x'] * column:.0f}px;top:{(at['y'] - top) * (ROW_PX + GAP_PX)}px"
    place = f"{corner};width:{width:.0f}px;height:{height}px"
    title = html.escape(panel["title"])
    if panel["type"] == "row":
        return f'<div class="row" style="{place}">{title}</div>'
    content = inside(panel, data, width - 18, height - 38)
    return f'<section class="panel" style="{place}"><h2>{title}</h2>{content}</section>'


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


def gauge(panel: Json, data: Data, _width: float, _height: float) -> str:
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


def table(panel: Json, data: Data, _width: float, _height: float) -> str:
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
