"""Looks at a dashboard through a Prometheus: variables, panels and annotations, asked as Grafana asks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.deploy.dashboards.grafana import Asked, View
from tests.integration.prometheus import Prometheus


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
        expr, now = view.put_in(one.expr), time.time()
        if one.is_now:
            found = self.there.ask("query", query=expr, time=now)["result"]
            return [{"metric": series["metric"], "values": [series["value"]]} for series in found]
        return list(self.there.ask("query_range", query=expr, start=now - self.range_s, end=now, step=1)["result"])

    def _values(self, query: str) -> list[str]:
        """Return what a query of a variable offers: `label_values(selector, label)`."""
        selector, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
        return [str(value) for value in self.there.ask(f"label/{label}/values", **{"match[]": selector})]
