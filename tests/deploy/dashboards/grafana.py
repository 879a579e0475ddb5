"""What Grafana makes of a dashboard: which expressions it asks, with which variables put in, at which steps.

Source: Grafana's documentation, "Variable syntax", "Prometheus template variables" and "Dashboard JSON model".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "grafana" / "dashboards"
NAMES = ("mirrord", "mirrord-once")
SPECIAL = re.compile(r"[$^*{}\[\]'+?.()|]")
VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)")
ALL = "$__all"


def dashboard(name: str) -> Any:
    """Return a dashboard as it stands in its file."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def panels(board: Any) -> list[Any]:
    """Return the panels of a dashboard that show something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


class Asked(NamedTuple):
    """An expression of a dashboard, as it is written; ``where`` says of which panel or annotation it is."""

    where: str
    expr: str
    is_now: bool
    legend: str


def asked(board: Any) -> Iterator[Asked]:
    """Yield every expression of the panels and annotations of a dashboard."""
    for panel in panels(board):
        for target in panel["targets"]:
            where = f"{panel['id']} {panel['title']} {target['refId']}"
            yield Asked(where, target["expr"], target["instant"], target["legendFormat"])
    for annotation in board["annotations"]["list"]:
        if not annotation.get("builtIn"):
            yield Asked(f"annotation {annotation['name']}", annotation["expr"], False, annotation["titleFormat"])


@dataclass(frozen=True)
class View:
    """A dashboard as somebody looks at it.

    ``found`` are the values that variables offer, ``chosen`` those that were chosen, All where nothing was. The range
    and the steps are in seconds, ``scrape_s`` is the scrape interval that the data source is told.
    """

    board: Any
    found: Mapping[str, list[str]] = field(default_factory=dict)
    chosen: Mapping[str, list[str]] = field(default_factory=dict)
    range_s: int = 21_600
    interval_s: int = 15
    scrape_s: int = 15

    def put_in(self, expr: str) -> str:
        """Return an expression with the values of its variables."""
        return VARIABLE.sub(lambda match: self._value(match[1] or match[3], match[2]), expr)

    def _value(self, name: str, form: str | None) -> str:
        own = {
            "__range": f"{self.range_s}s",
            "__interval": f"{self.interval_s}s",
            "__interval_ms": f"{self.interval_s * 1000}",
            "__rate_interval": f"{max(self.interval_s + self.scrape_s, 4 * self.scrape_s)}s",
        }
        if name in own:
            return own[name]
        (variable,) = (one for one in self.board["templating"]["list"] if one["name"] == name)
        if variable["type"] == "textbox":
            assert form in {None, "raw"}
            return str(variable["query"])
        chosen = self.chosen.get(name, [ALL])
        if chosen == [ALL]:
            if variable["allValue"]:
                return str(variable["allValue"])
            chosen = self.found.get(name, [])
        return regex_of(chosen)


def regex_of(values: list[str]) -> str:
    """Return values of a variable as Grafana writes them into an expression of Prometheus."""
    escaped = [SPECIAL.sub(lambda match: rf"\\{match[0]}", value.replace("\\", r"\\\\")) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
