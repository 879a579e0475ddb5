"""Looks at a dashboard through a Prometheus: variables, panels and annotations, asked as Grafana asks."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.deploy.dashboards.grafana import Asked, View
from tests.integration.prometheus import Prometheus

LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True)
class Looking:
    """A dashboard before a Prometheus that scrapes every second; ``range_s`` is the time range."""

    board: Any
    there: Prometheus
    range_s: int

    def view(self, chosen: Mapping[str, list[str]] | None = None) -> View:
        """Return the dashboard with what its variables find, one after the other, and some values chosen."""
        found: dict[str, list[str]] = {}
        for variable in self.board["templating"]["list"]:
            if variable["type"] == "query":
                query = View(self.board, found, chosen or {}).put_in(variable["query"]["query"])
                found[variable["name"]] = self._values(query)
        return View(self.board, found, chosen or {}, range_s=self.range_s, interval_s=1, scrape_s=1)

    def series(self, one: Asked, view: View) -> list[Any]:
        """Return the series that an expression comes to, each with its ``metric`` and ``values``."""
        return self.ask(one.expr, view, is_now=one.is_now)

    def ask(self, expr: str, view: View, *, is_now: bool, step: float = 1, end: float | None = None) -> list[Any]:
        """Return the series of an expression: for this moment, or for the range up to ``end``, now if it is None."""
        query, end = view.put_in(expr), end or time.time()
        if is_now:
            found = self.there.ask("query", query=query, time=end)["result"]
            return [{"metric": series["metric"], "values": [series["value"]]} for series in found]
        start = end - self.range_s
        return list(self.there.ask("query_range", query=query, start=start, end=end, step=step)["result"])

    def _values(self, query: str) -> list[str]:
        """Return what a query of a variable offers: `label_values(selector, label)`."""
        selector, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
        return [str(value) for value in self.there.ask(f"label/{label}/values", **{"match[]": selector})]


def legend(form: str, labels: Mapping[str, str]) -> str:
    """Return the name of a series: its legend with the values of its labels."""
    if form == "__auto":
        return ", ".join(labels.values())
    return LABEL.sub(lambda match: labels.get(match[1], ""), form)
