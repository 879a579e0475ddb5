"""What dashboards are made of: queries, panels, links and annotations, in the JSON that Grafana reads.

Every panel names its data source by a variable, has a description and says what it means when there is nothing to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

# Okabe and Ito's colours, told apart by everybody. A colour never stands alone: words or numbers say the same.
GOOD: Final = "#009E73"
NOTICE: Final = "#E69F00"
BAD: Final = "#D55E00"
BLUE: Final = "#56B4E9"
DEEP_BLUE: Final = "#0072B2"
PURPLE: Final = "#CC79A7"
GREY: Final = "#999999"

SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
REPOSITORY: Final = "https://github.com/mirrord/mirrord/blob/main/docs"


@dataclass(frozen=True, slots=True)
class Query:
    """An expression of a panel.

    ``is_now``: ask for this moment alone instead of the whole time range, so that nothing old is shown as if it held.
    """

    expr: str
    legend: str = ""
    is_now: bool = False

    def json(self, number: int, *, is_table: bool = False) -> Json:
        """Return a target; the first one is A."""
        return {
            "datasource": SOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "format": "table" if is_table else "time_series",
            "instant": self.is_now,
            "legendFormat": self.legend or "__auto",
            "range": not self.is_now,
            "refId": chr(ord("A") + number),
        }


def counted(by: str, counter: str) -> str:
    """Return how much a counter grew within each step, by labels: the sum over all steps is what was counted.

    `increase()` over `$__rate_interval` would count what happens in the scrape between two steps in both of them.
    """
    return f"sum by ({by}) (rate({counter}[$__rate_interval])) * $__interval_ms / 1000"


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel without its place; ``width`` of 24 columns, ``height`` in rows of 30 pixels."""

    title: str
    kind: str
    description: str
    width: int
    height: int
    body: Json

    def json(self, number: int, x: int, y: int) -> Json:
        """Return the panel at its place."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": SOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            **self.body,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """A question, and the panels that answer it."""

    title: str
    panels: tuple[Panel, ...]


def place(rows: Sequence[Row]) -> list[Json]:
    """Return all panels, from left to right and top to bottom.

    The n-th row has the number 100 n, its panels those after it: links to a panel outlive changes in other rows.
    """
    placed: list[Json] = []
    y = 0
    for number, row in enumerate(rows, 1):
        place_of_row = {"h": 1, "w": 24, "x": 0, "y": y}
        placed.append(
            {
                "id": 100 * number,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": place_of_row,
                "panels": [],
            }
        )
        x, y, tallest = 0, y + 1, 0
        for index, panel in enumerate(row.panels, 1):
            if x + panel.width > 24:  # noqa: PLR2004 - the columns of Grafana's grid
                x, y, tallest = 0, y + tallest, 0
            placed.append(panel.json(100 * number + index, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return placed


def steps(*later: tuple[float, str], first: str = GOOD) -> Json:
    """Return thresholds: the first colour, and those that begin at a value."""
    lower: list[Json] = [{"color": first, "value": None}]
    return {"mode": "absolute", "steps": [*lower, *({"color": color, "value": value} for value, color in later)]}


PLAIN: Final = steps(first=BLUE)


def words(told: Mapping[float, tuple[str, str]], *, not_a_number: str | None = None) -> list[Json]:
    """Return mappings of values to a word and a colour."""
    options = {
        f"{value:g}": {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(told.items())
    }
    found: list[Json] = [{"type": "value", "options": options}] if options else []
    if not_a_number is not None:
        result = {"text": not_a_number, "color": GREY, "index": len(options)}
        found.append({"type": "special", "options": {"match": "nan", "result": result}})
    return found


def by_name(name: str, properties: Mapping[str, object]) -> Json:
    """Return an override for a series or column of that name."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def coloured(**colours: str) -> list[Json]:
    """Return overrides that give series of these names their colours, the same in every panel."""
    return [by_name(name, {"color": {"mode": "fixed", "fixedColor": colour}}) for name, colour in colours.items()]


def dashed(pattern: str) -> Json:
    """Return an override that draws series of these names as dashed grey lines without a filling."""
    look = {
        "custom.lineStyle": {"fill": "dash", "dash": [8, 8]},
        "custom.fillOpacity": 0,
        "color": {"mode": "fixed", "fixedColor": GREY},
    }
    properties = [{"id": key, "value": value} for key, value in look.items()]
    return {"matcher": {"id": "byRegexp", "options": pattern}, "properties": properties}


def to_rule(name: str) -> Json:
    """Return the link of a series or cell to its rule on the status page; ``name`` is the variable that has it."""
    return {"title": "The rule on the status page", "url": f"${{status_page}}/#rule={name}", "targetBlank": True}


OF_SERIES: Final = to_rule("${__field.labels.rule}")
OF_CELL: Final = to_rule("${__value.raw}")


def read_more(title: str, page: str) -> Json:
    """Return the link of a panel to a page of the documentation."""
    return {"title": title, "url": f"{REPOSITORY}/{page}", "targetBlank": True}
